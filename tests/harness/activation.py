"""Starts a program with sockets, as systemd's socket activation does: this file is also the launcher.

    activation.py DESCRIPTORS NAMES PROGRAM ARGUMENTS...

becomes PROGRAM with those descriptors (cut at commas) as 3 and on, LISTEN_FDS, LISTEN_FDNAMES and its own LISTEN_PID.
"""

import fcntl
import os
import sys


def launcher(sockets, names=""):
    """What Server() and subprocess take: the words in front of the program, and the descriptors."""
    descriptors = [one.fileno() for one in sockets]
    return [sys.executable, os.path.abspath(__file__), ",".join(map(str, descriptors)), names], descriptors


def main():
    descriptors, names, *program = sys.argv[1:]
    # Out of the way first: some may be where others are to be.
    high = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in descriptors.split(",") if one]
    os.closerange(3, 100)
    for number, descriptor in enumerate(high, 3):
        os.dup2(descriptor, number)
    os.closerange(100, 100 + 2 * len(high))
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=os.environ.get("LISTEN_FDS", str(len(high))))
    if names:
        os.environ["LISTEN_FDNAMES"] = names
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
