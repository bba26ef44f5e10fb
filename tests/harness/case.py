"""The base of all system tests, and the marks a test can carry."""

import functools
import os
import shutil
import unittest

from harness import REFERENCE, settings
from harness.server import Server, is_reference


class SystemTest(unittest.TestCase):
    maxDiff = 4000

    def start(self, *args, **options):
        """A server for this test, stopped (and its end checked) when the test ends."""
        server = Server(*args, **options)
        self.addCleanup(self._stop, server)
        return server

    def _stop(self, server):
        if server.exit_code is None:
            server.stop()

    def wire(self, server, seconds=20):
        wire = server.wire(seconds)
        self.addCleanup(wire.close)
        return wire


def full_only(test):
    """Takes minutes: only with --full."""

    @functools.wraps(test)
    def wrapper(*args, **options):
        if not settings.is_full:
            raise unittest.SkipTest("full runs only")
        return test(*args, **options)

    return wrapper


def ours_only(reason):
    """A promise of larder's that memcached does not make, or behaviour newer than Debian's memcached."""

    def mark(test):
        @functools.wraps(test)
        def wrapper(*args, **options):
            if is_reference(settings.server):
                raise unittest.SkipTest(f"larder only: {reason}")
            return test(*args, **options)

        return wrapper

    return mark


def missing(what):
    """Ends the test because a tool is not installed: skipped, or failed with --strict."""
    if settings.is_strict:
        raise AssertionError(f"not installed: {what} (see tests/README.md)")
    raise unittest.SkipTest(f"not installed: {what}")


def need_program(name):
    return shutil.which(name) or missing(name)


def need_reference():
    return REFERENCE if os.access(REFERENCE, os.X_OK) else missing(REFERENCE)
