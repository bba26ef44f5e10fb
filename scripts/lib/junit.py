"""junit.py PART FILE RESULTS — appends the tests of a JUnit file of ctest to a results file."""

import sys
import xml.etree.ElementTree as ElementTree


def status(case):
    said = case.get("status")
    if said == "run" and case.find("failure") is None:
        return "passed"
    return "skipped" if said in ("notrun", "disabled") and case.find("skipped") is not None \
        else "failed"


def main():
    part, path, results = sys.argv[1:]
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    with open(results, "a") as out:
        for case in cases:
            out.write(f"{part}\t{status(case)}\t{float(case.get('time') or 0):.2f}\t"
                      f"{case.get('name')}\n")
    return 0 if cases else 1


if __name__ == "__main__":
    sys.exit(main())
