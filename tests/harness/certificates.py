"""Certificates for tests, made by openssl while the tests run: an authority, and what it vouches for."""

import atexit
import functools
import os
import shutil
import ssl
import subprocess
import tempfile

from harness.case import need_program


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, name):
        self.openssl = need_program("openssl")
        self.folder = tempfile.mkdtemp(prefix="larder-test-")
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        self.cert = self._make("ca", "-x509", "-days", "2", "-subj", f"/CN={name}")[0]

    def path(self, name):
        return os.path.join(self.folder, name)

    def _run(self, *args):
        subprocess.run([self.openssl, *args], check=True, timeout=60, capture_output=True)

    def _make(self, name, *args):
        key, out = self.path(name + ".key"), self.path(name + ".pem")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                  "-out", out, *args)
        os.chmod(key, 0o644)  # the server may be another user
        return out, key

    @functools.lru_cache(maxsize=None)
    def issue(self, name):
        """(certificate, key) for `name` at 127.0.0.1."""
        request, key = self._make(name, "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
        cert = self.path(name + ".crt")
        self._run("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.path("ca.key"), "-days", "2",
                  "-CAcreateserial", "-copy_extensions", "copy", "-out", cert)
        return cert, key

    def context(self, version=None, client=None):
        """What a client that trusts this authority uses; `client` is its own (certificate, key)."""
        context = ssl.create_default_context(cafile=self.cert)
        if version:
            context.minimum_version = context.maximum_version = version
        if client:
            context.load_cert_chain(*client)
        return context


@functools.lru_cache(maxsize=None)
def authority(name):
    """The authority of this name, made when it is first asked for and removed when the tests end."""
    return Authority(name)
