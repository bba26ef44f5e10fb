"""A service manager's end of NOTIFY_SOCKET."""

import os
import shutil
import socket
import tempfile


class Manager:
    """Receives what a service says; `env` is for its start."""

    def __init__(self, abstract=False):
        self.folder = tempfile.mkdtemp(prefix="larder-test-")
        os.chmod(self.folder, 0o755)
        path = os.path.join(self.folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path if abstract else path)
        self.socket.settimeout(20)
        self.env = {"NOTIFY_SOCKET": ("@" if abstract else "") + path}

    def heard(self):
        """The next message, {'READY': '1', ...}."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def close(self):
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)
