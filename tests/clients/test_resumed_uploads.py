"""An upload that a crash interrupts goes on from the offset that the registry tells."""

import hashlib
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from conformance.server import is_ready
from tests.clients import raw
from tests.clients.content import MIB

pytestmark = pytest.mark.timeout(120)

REPOSITORY = "resumed/upload"
CHUNK = 4 * MIB
CONTENT = random.Random(5).randbytes(24 * MIB)  # noqa: S311 - reproducible, not secret
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Upload:
    """One upload session, as a client sees it."""

    def __init__(self, address: str) -> None:
        self.address = address
        answer = raw.ask("POST", address, f"/v2/{REPOSITORY}/blobs/uploads/")
        assert answer.status == 202
        self.location = answer.headers["Location"]

    def offset(self) -> int:
        """Ask how many bytes the registry has."""
        answer = raw.ask("GET", self.address, self.location)
        assert answer.status == 204, answer
        first, _, last = answer.headers["Range"].partition("-")
        assert first == "0"
        self.location = answer.headers["Location"]
        # "0-0" says both "nothing" and "one byte": no upload here stops after one.
        return 0 if last == "0" else int(last) + 1

    def send(self, start: int, end: int) -> None:
        """Send one chunk and wait until it is acknowledged."""
        headers = {
            "Content-Range": f"{start}-{end - 1}",
            "Content-Type": "application/octet-stream",
        }
        body = CONTENT[start:end]
        answer = raw.ask("PATCH", self.address, self.location, body=body, headers=headers)
        assert answer.status == 202, answer
        self.location = answer.headers["Location"]

    def send_part(self, start: int, end: int, *, framing: str) -> socket.socket:
        """Start a PATCH for all that follows `start`, but send only up to `end`."""
        host, _, port = self.address.rpartition(":")
        connection = socket.create_connection((host, int(port)), timeout=30)
        head = f"PATCH {self.location} HTTP/1.1\r\nHost: {self.address}\r\n"
        body = CONTENT[start:end]
        if framing == "chunked":
            head += "Transfer-Encoding: chunked\r\n"
            body = f"{len(body):x}\r\n".encode() + body + b"\r\n"
        else:
            head += f"Content-Length: {len(CONTENT) - start}\r\n"
            head += f"Content-Range: {start}-{len(CONTENT) - 1}\r\n"
        connection.sendall(f"{head}\r\n".encode() + body)
        return connection

    def finish(self) -> None:
        """Send what is missing in chunks, close the upload, and read the blob back."""
        start = self.offset()
        while start < len(CONTENT):
            end = min(start + CHUNK, len(CONTENT))
            self.send(start, end)
            start = end
        joint = "&" if "?" in self.location else "?"
        answer = raw.ask("PUT", self.address, f"{self.location}{joint}digest={DIGEST}")
        assert answer.status == 201, answer
        assert raw.blob_digest(self.address, REPOSITORY, DIGEST) == DIGEST


def until(condition, timeout=60):
    """Wait until `condition()` is true and return what it gave."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


def is_broken(connection: socket.socket) -> bool:
    """Tell whether the other end is gone, whatever it said before."""
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionError:
        return True


def worker_of(server, connection: socket.socket) -> int:
    """Find which of the server's processes holds the other end of a connection."""
    port = connection.getsockname()[1]

    def find() -> int | None:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2].endswith(f":{port:04X}") and fields[9] != "0":
                wanted = f"socket:[{fields[9]}]"
                for pid in [server.pid, *server.worker_pids()]:
                    files = Path(f"/proc/{pid}/fd").iterdir()
                    if any(str(file.readlink()) == wanted for file in files if file.is_symlink()):
                        return pid
        return None

    return until(find)


@pytest.fixture
def server(registry_server):
    return registry_server("filesystem", workers=2)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload_goes_on_after_its_client_died(server, framing):
    """What arrived before the connection broke counts; the rest may be sent on any connection."""
    upload = Upload(server.address)
    upload.send(0, CHUNK)
    upload.send_part(CHUNK, 3 * CHUNK, framing=framing).close()
    # The server notices the broken connection in its own time; what it then has stays.
    until(lambda: upload.offset() == 3 * CHUNK)
    upload.finish()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload_goes_on_after_its_worker_was_killed(server, framing):
    """A chunk that was acknowledged survives its worker; another one takes the rest."""
    upload = Upload(server.address)
    upload.send(0, CHUNK)
    with upload.send_part(CHUNK, 3 * CHUNK, framing=framing) as connection:
        victim = worker_of(server, connection)
        assert victim in server.worker_pids()
        os.kill(victim, signal.SIGKILL)
        until(lambda: is_broken(connection))
    until(lambda: is_ready(server.address))
    assert CHUNK <= upload.offset() <= 3 * CHUNK
    upload.finish()
    # The supervisor put another worker in its place.
    until(lambda: len(set(server.worker_pids()) - {victim}) == 2)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload_goes_on_after_the_server_was_killed(server, framing):
    """The same after kill -9 of the whole server and a new start on the same data."""
    upload = Upload(server.address)
    upload.send(0, CHUNK)
    with upload.send_part(CHUNK, 3 * CHUNK, framing=framing):
        time.sleep(0.2)  # for the kill to come while the chunk is being taken
        server.kill()
    server.start()
    assert CHUNK <= upload.offset() <= 3 * CHUNK
    upload.finish()


def test_nothing_of_an_interrupted_upload_is_visible(server):
    """Before the closing PUT no blob and no repository can be seen, also after a crash."""
    upload = Upload(server.address)
    upload.send(0, CHUNK)
    upload.send(CHUNK, len(CONTENT))
    server.kill()
    server.start()
    blob = f"/v2/{REPOSITORY}/blobs/{DIGEST}"
    assert raw.ask("HEAD", server.address, blob).status == 404
    assert raw.tags(server.address, REPOSITORY) == []
    upload.finish()
