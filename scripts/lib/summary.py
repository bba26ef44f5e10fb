"""summary.py RESULTS — time by part, the slowest tests, what failed; then "N passed, N failed"."""

import collections
import sys

SLOWEST = 12


def table(title, rows):
    print(f"\n{title}")
    for seconds, text in rows:
        print(f"  {seconds:8.1f} s  {text}")


def main():
    tests = []
    with open(sys.argv[1]) as results:
        for line in results:
            part, status, seconds, name = line.rstrip("\n").split("\t", 3)
            tests.append((part, status, float(seconds), name))
    count = collections.Counter(status for _, status, _, _ in tests)
    by_part = collections.defaultdict(list)
    for test in tests:
        by_part[test[0]].append(test)
    table("time by part (of tests side by side: the sum)",
          [(sum(t[2] for t in group), f"{part}: {len(group)} tests")
           for part, group in by_part.items()])
    slowest = sorted((t for t in tests if t[0] not in ("build", "setup")), key=lambda t: -t[2])
    table("slowest tests", [(t[2], f"{t[0]}: {t[3]}") for t in slowest[:SLOWEST]])
    failed = [t for t in tests if t[1] == "failed"]
    if failed:
        table("failed", [(t[2], f"{t[0]}: {t[3]}") for t in failed])
    print()
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
