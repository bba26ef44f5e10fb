#!/usr/bin/python3
"""idle_clients.py PORT COUNT — holds COUNT connections that asked for something once and are silent since.

Prints "ready" when all are answered, and lets go when its standard input ends.
"""

import ctypes
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1
AT_ONCE = 100


def open_some(port, count):
    connections = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]
    for connection in connections:
        connection.sendall(b"get nothing\r\n")
    for connection in connections:
        reply = b""
        while not reply.endswith(b"END\r\n"):
            piece = connection.recv(100)
            if not piece:
                sys.exit("the server closed an idle connection")
            reply += piece
    return connections


def main():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    port, count = map(int, sys.argv[1:])
    connections = []
    while len(connections) < count:
        connections += open_some(port, min(AT_ONCE, count - len(connections)))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
