"""Pushes and pulls of large layers: bytes go by sendfile and readinto, with constant memory."""

import hashlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

from benchmarks.content import MEBIBYTE, Layer
from benchmarks.wire import AnswerError, Endpoint, target_of

TIMEOUT = 600.0
CHUNK = 32 * 1024


def push(endpoint: Endpoint, repository: str, layer: Layer, *, chunked: bool = False) -> None:
    """POST, one PATCH that streams all bytes, a closing PUT; every status is asserted.

    With `chunked` the bytes come in chunks of 32 KiB and no length is told, as from docker.
    """
    connection = _connect(endpoint)
    try:
        connection.request(
            "POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"}
        )
        location = _expect(connection, 202)["Location"]
        connection.putrequest("PATCH", target_of(location), skip_accept_encoding=True)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(layer.size))
        connection.putheader("Content-Type", "application/octet-stream")
        connection.endheaders()
        send = _send_chunks if chunked else socket.socket.sendfile
        for _ in range(layer.repeats):
            with layer.path.open("rb") as file:
                send(connection.sock, file, 0, layer.base_size)
        last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(layer.suffix), layer.suffix)
        connection.send(last if chunked else layer.suffix)
        location = _expect(connection, 202)["Location"]
        target = target_of(location, f"digest={layer.digest}")
        connection.request("PUT", target, headers={"Content-Length": "0"})
        _expect(connection, 201)
    finally:
        connection.close()


def pull(
    endpoint: Endpoint,
    repository: str,
    layer: Layer,
    *,
    check: Callable[[memoryview], None] | None = None,
) -> None:
    """GET the blob into a buffer of 1 MiB; its length is asserted, `check` sees each piece."""
    view = memoryview(bytearray(MEBIBYTE))
    connection = _connect(endpoint)
    try:
        connection.request("GET", f"/v2/{repository}/blobs/{layer.digest}")
        response = connection.getresponse()
        if response.status != 200:
            raise AnswerError(f"pull: status {response.status}: {response.read(300)!r}")
        received = 0
        while count := response.readinto(view):
            received += count
            if check:
                check(view[:count])
        if received != layer.size:
            raise AnswerError(f"pull: {received} bytes instead of {layer.size}")
    finally:
        connection.close()


def verify(endpoint: Endpoint, repository: str, layer: Layer) -> None:
    """Pull the blob and compare the digest of what came."""
    digest = hashlib.sha256()
    pull(endpoint, repository, layer, check=digest.update)
    if "sha256:" + digest.hexdigest() != layer.digest:
        raise AnswerError("pull: the bytes have another digest")


def together(tasks: Sequence[Callable[[], object]]) -> float:
    """Run the tasks in threads that start together; seconds until the last is done.

    Socket calls release the interpreter's lock, so threads are enough. The first failure is
    raised when all have ended.
    """
    failures: list[BaseException] = []
    gate = threading.Barrier(len(tasks) + 1)

    def run(task: Callable[[], object]) -> None:
        gate.wait()
        try:
            task()
        except BaseException as error:  # noqa: BLE001  raised again below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return seconds


def _send_chunks(sock: socket.socket, file: BinaryIO, offset: int, count: int) -> None:
    for start in range(offset, offset + count, CHUNK):
        size = min(CHUNK, offset + count - start)
        sock.sendall(b"%x\r\n" % size, socket.MSG_MORE)
        sock.sendfile(file, start, size)
        sock.sendall(b"\r\n", socket.MSG_MORE)


def _connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=TIMEOUT)


def _expect(connection: http.client.HTTPConnection, status: int) -> http.client.HTTPMessage:
    response = connection.getresponse()
    body = response.read()
    if response.status != status:
        raise AnswerError(f"status {response.status} instead of {status}: {body[:300]!r}")
    return response.headers
