"""Debian's memcached and larder get the same bytes in the same pieces, and answer the same."""

import os
import re

from differential.binary_player import BinaryPair
from differential.binary_rules import BINARY_RULES
from differential.binary_stream import BinaryGenerator
from differential.meta_player import MetaPair
from differential.meta_rules import META_RULES
from differential.meta_stream import MetaGenerator
from differential.player import Mismatch, Pair, play_stream, shrink
from differential.rules import RULES
from differential.stream import Generator
from harness import REPOSITORY, settings
from harness.case import SystemTest, need_reference, ours_only
from harness.server import Server

COUNTERS = (
    "cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses delete_misses delete_hits incr_misses incr_hits "
    "decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses store_too_large store_no_memory "
    "evictions"
).split()


def seed_of_this_run():
    return settings.seed if settings.seed is not None else int.from_bytes(os.urandom(4), "big")


class DifferentialTest(SystemTest):
    def play_random(self, pair_type, generator_type, option):
        commands = settings.commands or (200_000 if settings.is_full else 20_000)
        seed = seed_of_this_run()
        print(f"  (seed {seed}, {commands} commands)", flush=True)
        played = []

        def rounds():
            for together in generator_type(seed).batches(commands):
                played.append(together)
                yield together

        with pair_type(need_reference(), settings.server) as pair:
            try:
                play_stream(pair, rounds())
            except Mismatch as mismatch:
                smallest = shrink(pair, played, budget_seconds=30)[1]
                self.fail(f"seed {seed}: {smallest or mismatch}\n"
                          f"(tests/differential/play {option} --seed {seed} --shrink)")

    def test_random_stream_is_answered_alike(self):
        self.play_random(Pair, Generator, "")

    def test_random_meta_stream_is_answered_alike(self):
        self.play_random(MetaPair, MetaGenerator, "--meta")

    def test_random_binary_stream_is_answered_alike(self):
        self.play_random(BinaryPair, BinaryGenerator, "--binary")

    def test_counters_agree_after_a_stream_of_valid_commands(self):
        commands = settings.commands or (50_000 if settings.is_full else 10_000)
        seed = seed_of_this_run()
        print(f"  (seed {seed}, {commands} commands)", flush=True)
        with Pair(need_reference(), settings.server) as pair:
            play_stream(pair, Generator(seed, is_valid_only=True).batches(commands))
            counted = []
            for server in pair.servers:
                with server.wire() as wire:
                    stats = dict(wire.stats())
                counted.append({name: int(stats[name]) for name in COUNTERS})
            self.assertEqual(*counted, f"seed {seed}")

    def test_nasty_cases_are_answered_alike(self):
        with Pair(need_reference(), settings.server) as pair:
            for title, request, new in nasty_cases():
                for piece in (len(request), 7, 1) if len(request) < 10000 else (len(request), 65543):
                    with self.subTest(title, piece=piece):
                        old_answer, new_answer = [play_alone(s, request, piece) for s in pair.servers]
                        wanted = old_answer if new is None or pair.is_same_kind else new
                        self.assertEqual(new_answer, wanted)

    @ours_only("memcached has no such file")
    def test_compatibility_notes_name_every_rule(self):
        with open(os.path.join(REPOSITORY, "docs", "COMPATIBILITY.md"), encoding="utf-8") as file:
            section = file.read().partition("## Differences the differential test knows")[2].partition("\n## ")[0]
        self.assertEqual(re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE),
                         [*RULES, *META_RULES, *BINARY_RULES])


def nasty_cases():
    """[(title, request, what larder must answer or None for the same as memcached)] of nasty.txt."""
    from harness import transcript

    cases = []
    for scenario in transcript.read(os.path.join("..", "differential", "nasty.txt")):
        request = b"".join(p for e in scenario.exchanges for p in e.requests)
        replies = b"".join(p for e in scenario.exchanges for p in e.replies)
        cases.append((scenario.title, request, replies or None))
    return cases


def play_alone(server, request, piece):
    """All that an emptied server answers on a connection of its own, which ends by our half closing."""
    with server.wire() as wire:
        wire.ask(b"flush_all\r\n")
    with server.wire() as wire:
        try:
            for at in range(0, len(request), piece):
                wire.send(request[at : at + piece])
            wire.sock.shutdown(1)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed on purpose by some cases
        except OSError as error:
            if error.errno != 107:  # not connected any more
                raise
        return re.sub(rb"VERSION 1\.6\.\d+", b"VERSION 1.6", wire.until_close())
