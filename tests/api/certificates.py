"""Certificates for tests of TLS, and the server that most of them share."""
import os
import shutil
import ssl
import subprocess

import pytest

import harness
from harness import IS_ROOT, MODES, NOBODY

KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "ed25519": ["ed25519"]}


class Certificate:
    """A self-signed certificate for 127.0.0.1 in files that a server of either mode can read, and nobody else."""

    def __init__(self, directory, name, kind="rsa", owner=None):
        self.certificate, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        line = ["openssl", "req", "-x509", "-newkey", *KEYS[kind], "-nodes", "-keyout", self.key, "-out", self.certificate,
                "-days", "30", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
        subprocess.run(line, check=True, capture_output=True)
        self.key.chmod(0o600)
        if owner is not None:
            os.chown(self.key, owner, owner)

    @property
    def flags(self):
        return ["--tls-certificate", str(self.certificate), "--tls-key", str(self.key)]

    @property
    def lines(self):
        return f"tls_certificate = {self.certificate}\ntls_key = {self.key}\n"

    @property
    def client(self):
        """A client that trusts this certificate and no other."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.set_alpn_protocols(["http/1.1"])
        return context


def owner_of(mode):
    return int(NOBODY) if IS_ROOT and mode == "user" else None


@pytest.fixture(scope="module", params=MODES)
def secure_server(request, launch):
    directory = harness.pathlib.Path(harness.tempfile.mkdtemp(prefix="api-tests-"))
    directory.chmod(0o755)
    made = Certificate(directory, "shared", owner=owner_of(request.param))
    running = launch(*made.flags, tls=made.client, user=request.param == "user")
    yield running
    running.stop()
    shutil.rmtree(directory)
