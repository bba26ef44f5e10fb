"""The transcripts, over a socket: the same files that tests/protocol plays in-process."""

import glob
import os

from harness import settings, transcript
from harness.case import SystemTest, ours_only
from harness.server import DEBUG_COMMANDS, is_larder

PATIENCE_SECONDS = 3  # what a scenario may wait where the clock cannot be moved
LONGEST_SECONDS = 100  # and in a full run


class TranscriptTest(SystemTest):
    def play(self, name):
        servers = {}
        for scenario in transcript.read(name):
            options = tuple(scenario.options)
            if scenario.wait_seconds and is_larder(settings.server):
                options += DEBUG_COMMANDS
            elif scenario.wait_seconds > (LONGEST_SECONDS if settings.is_full else PATIENCE_SECONDS):
                continue
            if "-I" in options:
                options += ("-o", "slab_chunk_max=1")  # a server refuses chunks larger than the largest value
            # A flush leaves counters alone, so one server may serve all scenarios with the same options.
            server = servers.get(options) or servers.setdefault(options, self.start(*options))
            if "-F" not in options:
                with server.wire() as wire:
                    self.assertEqual(wire.ask(b"flush_all\r\n"), b"OK")
            with self.subTest(scenario.title):
                transcript.Player(server).play(scenario)


def _add(name):
    @ours_only("the transcripts say what 1.6.45 does")
    def test(self):
        self.play(name)

    setattr(TranscriptTest, "test_" + name.removesuffix(".txt").replace("-", "_").replace(".", "_"), test)


for _path in sorted(glob.glob(os.path.join(transcript.FOLDER, "*.txt"))):
    _add(os.path.basename(_path))
