"""The load's own clients: what they send, what they accept, what they refuse."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import run, transfer, wire
from benchmarks.content import Blob, LayerSource
from benchmarks.figures import Results
from benchmarks.sides import Side
from benchmarks.wire import AnswerError, Endpoint, read_answer, target_of
from benchmarks.works import WORKS, Setting


class Recorder(BaseHTTPRequestHandler):
    """Takes any push without checking it, and answers each GET with zeros of the same length."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.answer(202)

    def do_PATCH(self) -> None:
        self.answer(202)

    def do_PUT(self) -> None:
        self.answer(201)

    def do_GET(self) -> None:
        self.answer(200, bytes(self.server.received))  # type: ignore[attr-defined]

    def answer(self, status: int, body: bytes = b"") -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if data:
            self.server.received = len(data)  # type: ignore[attr-defined]
            self.server.digest = hashlib.sha256(data).hexdigest()  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Location", "/v2/r/blobs/uploads/1?state=x")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def recorder() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def endpoint(server: ThreadingHTTPServer) -> Endpoint:
    return Endpoint("127.0.0.1", server.server_port)


@pytest.mark.parametrize("repeats", [1, 4])
def test_pushed_bytes_have_the_layer_digest(
    tmp_path: Path, recorder: ThreadingHTTPServer, repeats: int
):
    layer = LayerSource(tmp_path / "base", 1 << 20, repeats).layer()
    transfer.push(endpoint(recorder), "r", layer)
    assert layer.digest == "sha256:" + recorder.digest  # type: ignore[attr-defined]
    assert layer.size == recorder.received  # type: ignore[attr-defined]


def test_layers_of_one_source_differ(tmp_path: Path):
    source = LayerSource(tmp_path / "base", 1 << 16)
    assert source.layer().digest != source.layer().digest


def test_pull_of_other_bytes_of_the_same_length_is_refused(
    tmp_path: Path, recorder: ThreadingHTTPServer
):
    layer = LayerSource(tmp_path / "base", 1 << 16).layer()
    transfer.push(endpoint(recorder), "r", layer)
    transfer.pull(endpoint(recorder), "r", layer)
    with pytest.raises(AnswerError, match="another digest"):
        transfer.verify(endpoint(recorder), "r", layer)


@pytest.mark.parametrize("work", [w for w in WORKS if not w.needs_wrk], ids=lambda w: w.name)
def test_a_side_that_answers_with_other_bytes_has_no_figure(
    tmp_path: Path, recorder: ThreadingHTTPServer, work
):
    setting = Setting("t", LayerSource(tmp_path / "base", 1 << 16), pushes_each=1, manifest_puts=1)
    setting.push_seconds, done = 0.0, Results()
    run.alternate([Side("liar", endpoint(recorder))], [work], 1, setting, done)
    assert done.samples == []
    assert len(done.failures) == 1


def test_order_of_sides_changes_with_the_round():
    sides = [Side(name, Endpoint("127.0.0.1", 1)) for name in "abc"]
    assert [[s.name for s in run.rotated(sides, n)] for n in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def read(*pieces: bytes) -> wire.Answer:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=lambda: [theirs.sendall(p) for p in pieces])
        thread.start()
        try:
            return read_answer(ours)
        finally:
            thread.join()


def test_answer_in_pieces_is_put_together():
    answer = read(b"HTTP/1.1 200 OK\r\nContent-", b"Length: 5\r\nETag: x\r\n\r\nab", b"cde")
    assert (answer.status, answer.headers["etag"], answer.body) == (200, "x", b"abcde")


def test_chunked_answer_is_put_together():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(head, b"3\r\nabc\r", b"\n2;x=y\r\nde\r\n0\r", b"\n\r\n").body == b"abcde"


def test_bodyless_answers_end_at_their_head():
    assert read(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n").body == b""


def test_unexpected_status_is_an_error():
    with pytest.raises(AnswerError, match="status 404 instead of 200"):
        read(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").expect(200)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/r/blobs/uploads/1", "/v2/r/blobs/uploads/1?digest=d"),
        ("http://127.0.0.1:1/v2/r/blobs/uploads/1?s=1", "/v2/r/blobs/uploads/1?s=1&digest=d"),
    ],
)
def test_location_is_followed_absolute_and_relative(location: str, target: str):
    assert target_of(location, "digest=d") == target


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1:5000", "http://127.0.0.1/v2/x"])
def test_peer_that_cannot_be_measured_is_refused(url: str):
    with pytest.raises(ValueError, match="is not a registry's address"):
        Endpoint.parse(url)


def test_blob_digest_is_of_its_data():
    assert Blob.of(b"").digest.endswith("b855")
