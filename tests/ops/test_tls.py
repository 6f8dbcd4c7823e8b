"""HTTPS: what is spoken, and a certificate that changes without a restart."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from conformance.server import free_port
from tests.ops.wire import error_code, eventually, read_all, read_answer


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def issue(authority, directory, name="127.0.0.1"):
    made = authority.issue_cert(name, "localhost")
    for file, data in (
        ("cert.pem", b"".join(pem.bytes() for pem in made.cert_chain_pems)),
        ("key.pem", made.private_key_pem.bytes()),
    ):
        fresh = directory / f"{file}.new"
        fresh.write_bytes(data)
        fresh.replace(directory / file)


class Server:
    def __init__(self, directory, workers, extra=()):
        self.port = free_port()
        self.log = directory / "server.log"
        config = directory / "a.toml"
        config.write_text(
            f'[tls]\ncertificate = "{directory}/cert.pem"\nkey = "{directory}/key.pem"\n'
            "reload_seconds = 0.3\nhandshake_seconds = 1\n"
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "registry",
                    "serve",
                    "-c",
                    str(config),
                    "--memory",
                    "--addr",
                    f"127.0.0.1:{self.port}",
                    "--workers",
                    str(workers),
                    *extra,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def connect(self, context, *, plain=False):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return sock if plain else context.wrap_socket(sock, server_hostname="127.0.0.1")

    def serial(self, context):
        with self.connect(context) as sock:
            return sock.getpeercert()["serialNumber"]

    def ready(self, context):
        """Whether all workers serve: one that still starts would read what a test writes next."""
        if f"serves https://127.0.0.1:{self.port}" not in self.log.read_text():
            return None
        with contextlib.suppress(OSError):
            return self.serial(context)

    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()


@pytest.fixture
def context(authority):
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


@pytest.fixture(params=[1, 2])
def server(request, authority, tmp_path, context):
    issue(authority, tmp_path)
    server = Server(tmp_path, request.param)
    try:
        assert eventually(lambda: server.ready(context), 15), server.log.read_text()
        yield server
    finally:
        server.end()
        assert "Traceback" not in server.log.read_text()


def ask(sock):
    sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    return read_answer(sock)[0]


def test_a_new_certificate_is_used_and_open_connections_go_on(server, authority, tmp_path, context):
    before = server.serial(context)
    with server.connect(context) as old:
        assert ask(old) == 200
        issue(authority, tmp_path)
        assert eventually(lambda: server.serial(context) != before)
        assert ask(old) == 200
        assert old.getpeercert()["serialNumber"] == before


def test_sighup_reloads_at_once(server, authority, tmp_path, context):
    before = server.serial(context)
    issue(authority, tmp_path)
    os.kill(server.process.pid, 1)
    assert eventually(lambda: server.serial(context) != before)


def test_a_bad_certificate_is_not_used_and_said(server, authority, tmp_path, context):
    before = server.serial(context)
    Path(tmp_path / "cert.pem").write_text("no certificate")
    assert eventually(lambda: "the old one still is" in server.log.read_text())
    assert server.serial(context) == before
    issue(authority, tmp_path)
    assert eventually(lambda: server.serial(context) != before)


def test_old_versions_are_refused_and_http11_is_agreed_on(server, context):
    context.set_alpn_protocols(["h2", "http/1.1"])
    with server.connect(context) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"
        assert sock.version() in ("TLSv1.2", "TLSv1.3")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        server.connect(context)


def test_a_handshake_that_never_comes_is_given_up(server, context):
    with server.connect(context, plain=True) as sock:
        began = time.monotonic()
        assert read_all(sock) == b""
        assert 0.5 < time.monotonic() - began < 30


def test_errors_of_malformed_requests_reach_the_client(server, context):
    with server.connect(context) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert error_code(read_all(sock).partition(b"\r\n\r\n")[2]) == "UNSUPPORTED"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("broken", "said"), [("key.pem", "no certificate with its key"), (None, "can't be read")]
)
def test_it_does_not_start_without_a_good_certificate(authority, tmp_path, workers, broken, said):
    if broken:
        issue(authority, tmp_path)
        (tmp_path / broken).write_text("broken")
    server = Server(tmp_path, workers)
    assert server.process.wait(20) == 3
    assert said in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_healthcheck_speaks_https_where_it_is_configured(server, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "registry",
            "healthcheck",
            "-c",
            str(tmp_path / "a.toml"),
            "--addr",
            f"127.0.0.1:{server.port}",
        ],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
