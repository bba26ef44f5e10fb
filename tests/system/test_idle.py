"""A server that nobody asks for anything leaves the machine alone."""

import re
import time
from pathlib import Path

from harness.case import SystemTest
from harness.server import poll

WINDOW_SECONDS = 1.0
MOST_WAKEUPS = 20  # a second, of all threads


def wakeups(server):
    """How often its threads have slept and gone on."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    status = [(task / "status").read_text() for task in tasks]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)[1]) for text in status)


class IdleTest(SystemTest):
    def test_an_idle_server_hardly_wakes(self):
        server = self.start("-t", "1")
        self.wire(server).set(b"k", b"v")
        looks = [(time.monotonic(), wakeups(server))]

        def is_quiet():
            now, count = time.monotonic(), wakeups(server)
            begin, before = looks[0]
            if now - begin < WINDOW_SECONDS:
                return False
            looks[0] = (now, count)
            return (count - before) / (now - begin) <= MOST_WAKEUPS

        poll(is_quiet, what=f"a second with at most {MOST_WAKEUPS} wake-ups")
