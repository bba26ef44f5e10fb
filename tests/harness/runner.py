"""Runs unittest suites one by one and prints each test with its time."""

import re
import sys
import time
import unittest


class _Result(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.passed = 0
        self.problems = 0
        self.began = 0.0
        self.said = None  # outcome of the running test; a subtest or a cleanup may add to it

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.said = None

    def _note(self, outcome, detail=""):
        if self.said != "FAIL":
            self.said = outcome
        if detail:
            self.out.write(detail.rstrip() + "\n")

    def addSuccess(self, test):
        self._note("ok")

    def addFailure(self, test, err):
        self._note("FAIL", self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._note("FAIL", f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note("skip", f"  ({reason})")

    def addExpectedFailure(self, test, err):
        self._note("ok")

    def addUnexpectedSuccess(self, test):
        self._note("FAIL", "was expected to fail")

    def stopTest(self, test):
        super().stopTest(test)
        if self.said == "FAIL":
            self.problems += 1
        elif self.said != "skip":
            self.passed += 1
        self.out.write(f"{self.said or 'ok':4} {time.monotonic() - self.began:7.2f} s  {name_of(test)}\n")
        self.out.flush()


def name_of(test):
    return re.sub(r"^(test_)?", "", test.id())


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def load(folders, pattern):
    """All tests of these folders (packages under tests/) whose name has a match of `pattern`."""
    wanted = re.compile(pattern)
    tests = []
    for folder in folders:
        tests += _flat(unittest.TestLoader().discover(folder, "test_*.py", top_level_dir="."))
    return [t for t in tests if wanted.search(name_of(t))]


def run(tests, out=sys.stdout):
    """Returns whether all passed.  The last line is `N passed, N failed, N skipped`."""
    result = _Result(out)
    began = time.monotonic()
    for test in tests:
        unittest.TestSuite([test]).run(result)  # one each: module and class fixtures are not used here
    out.write(f"{len(tests)} tests in {time.monotonic() - began:.1f} s\n")
    out.write(f"{result.passed} passed, {result.problems} failed, {len(result.skipped)} skipped\n")
    return result.problems == 0 and not (result.passed == 0)
