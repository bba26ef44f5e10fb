"""Users for -S, kept in both ways: a file of passwords, and Cyrus SASL's own database."""

import os
import shutil
import socket
import subprocess
import tempfile

from harness import REFERENCE, settings
from harness.case import need_program
from harness.server import Server

CONF = """mech_list: plain
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {}
"""


class Users:
    """A folder with both; `passwords` is {user: password}.  A context manager: leaving it removes the folder."""

    def __init__(self, passwords):
        self.folder = tempfile.mkdtemp(prefix="larder-test-")
        os.chmod(self.folder, 0o755)
        self.file = os.path.join(self.folder, "users")
        with open(self.file, "w", encoding="utf-8") as file:
            file.writelines(f"{user}:{password}\n" for user, password in passwords.items())
        self.passwords = passwords

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def file_env(self):
        """The environment with which a server reads the file.  Debian's memcached is built without."""
        return {"MEMCACHED_SASL_PWDB": self.file}

    def cyrus_env(self):
        """The environment with which a server asks Cyrus SASL."""
        add = shutil.which("saslpasswd2", path=os.environ.get("PATH", "") + ":/usr/sbin") or need_program("saslpasswd2")
        database = os.path.join(self.folder, "sasldb")
        with open(os.path.join(self.folder, "memcached.conf"), "w", encoding="utf-8") as file:
            file.write(CONF.format(database))
        for user, password in self.passwords.items():
            subprocess.run([add, "-p", "-c", "-f", database, "-a", "memcached", "-u", socket.gethostname(), user],
                           input=password.encode(), check=True, timeout=60, capture_output=True)
        os.chmod(database, 0o644)  # the server may be another user
        return {"SASL_CONF_PATH": self.folder}

    def servers(self, *arguments):
        """A running server with -S after the other: memcached with Cyrus, ours with Cyrus, ours with the file."""
        cyrus = self.cyrus_env()
        ways = {(REFERENCE, "cyrus"): cyrus, (settings.server, "cyrus"): cyrus}
        if settings.server != REFERENCE:
            ways[settings.server, "file"] = self.file_env()
        for (binary, how), env in ways.items():
            with Server("-S", *arguments, binary=binary, env=env) as server:
                yield f"{binary} with users in {how}", server
