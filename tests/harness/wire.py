"""A memcached text connection for tests: bytes out, lines and blocks back, and small helpers on top."""

import socket


class Wire:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise EOFError(f"closed by the server; before that: {bytes(self.buffer[:200])!r}")
        self.buffer += data

    def line(self):
        """The next line without its \\r\\n."""
        start = 0
        while (end := self.buffer.find(b"\r\n", start)) < 0:
            start = max(0, len(self.buffer) - 1)
            self._more()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def until_close(self):
        """Everything up to the end of the connection."""
        try:
            while True:
                self._more()
        except (EOFError, ConnectionResetError):
            data = bytes(self.buffer)
            self.buffer.clear()
            return data

    def ask(self, request):
        """One request that is answered by one line."""
        self.send(request)
        return self.line()

    # What a client would have.

    def set(self, key, value, flags=0, exptime=0, verb=b"set"):
        self.send(b"%s %s %d %d %d\r\n%s\r\n" % (verb, key, flags, exptime, len(value), value))
        return self.line()

    def values(self):
        """The rest of a get's answer: {key: value}, and the line that ended it when that was not END."""
        found = {}
        while True:
            line = self.line()
            if line == b"END":
                return found
            if not line.startswith(b"VALUE "):
                raise AssertionError(f"not a VALUE: {line!r}")
            _, key, _, size = line.split(b" ")[:4]
            found[key] = self.exactly(int(size))
            if self.exactly(2) != b"\r\n":
                raise AssertionError("value is not followed by a line end")

    def get(self, *keys):
        self.send(b"get " + b" ".join(keys) + b"\r\n")
        return self.values()

    def stats(self, group=b""):
        """[(name, value), ...] in the server's order."""
        self.send((b"stats " + group).strip() + b"\r\n")
        rows = []
        while (line := self.line()) != b"END":
            if not line.startswith(b"STAT "):
                raise AssertionError(f"stats {group!r}: {line!r}")
            _, name, value = (line + b" ").split(b" ", 2)
            rows.append((name.decode(), value.decode().rstrip()))
        return rows

    def stat(self, name, group=b""):
        return int(dict(self.stats(group))[name])

    def is_closed(self):
        """Whether the server closes within the socket's timeout."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False
