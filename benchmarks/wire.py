"""A light HTTP/1.1 client for small requests, so that the load is not what is measured.

The standard library's client spends more on parsing an answer than a fast server spends on
giving it. This one knows status, Content-Length, chunked bodies and keep-alive, and no more.
"""

import selectors
import socket
from collections.abc import Generator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

TIMEOUT = 60.0
_NO_BODY = frozenset({204, 304})


class AnswerError(AssertionError):
    """A side answered something else than the work needs."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a side listens (plain HTTP)."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is not a registry's address such as http://127.0.0.1:5000")
        return cls(parts.hostname, parts.port or 80)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """A connected socket with TCP_NODELAY and a time-out of a minute."""
        sock = socket.create_connection((self.host, self.port), timeout=TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def expect(self, *statuses: int) -> "Answer":
        """This answer, or AnswerError when its status is none of these."""
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise AnswerError(f"status {self.status} instead of {wanted}: {self.body[:300]!r}")
        return self


def request(
    endpoint: Endpoint, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]
) -> bytes:
    """The bytes of a request; with a Transfer-Encoding, `body` is in that coding already."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {endpoint.host}:{endpoint.port}"]
    lines += [f"{name}: {value}" for name, value in headers]
    coded = any(name == "Transfer-Encoding" for name, _ in headers)
    if not coded and (body or method in {"POST", "PUT", "PATCH"}):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def target_of(location: str, query: str = "") -> str:
    """The request target of a Location, absolute or relative, with one more query parameter."""
    parts = urlsplit(location)
    joined = "&".join(filter(None, (parts.query, query)))
    return parts.path + ("?" + joined if joined else "")


def read_answer(sock: socket.socket, *, head_only: bool = False) -> Answer:
    """The next answer on the socket."""
    data = sock.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(sock, data)
    status, headers = parse_head(data[:end])
    body = data[end + 4 :]
    if head_only or status in _NO_BODY:
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, headers, _read_chunks(sock, body))
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        body += _more(sock, body)
    return Answer(status, headers, body)


class Client:
    """One keep-alive connection, one request at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._sock = endpoint.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def ask(self, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]) -> Answer:
        """Send one request and give its answer, on a new connection if the old one was closed."""
        answer = self.send(request(self.endpoint, method, target, body, *headers))
        if answer.headers.get("connection", "").lower() == "close":
            self._sock.close()
            self._sock = self.endpoint.connect()
        return answer

    def send(self, data: bytes) -> Answer:
        """Send the bytes of a request and give the answer."""
        self._sock.sendall(data)
        return read_answer(self._sock, head_only=data.startswith(b"HEAD "))


Conversation = Generator[bytes, Answer, None]


def converse(endpoint: Endpoint, conversations: list[Conversation]) -> None:
    """Run each conversation (it yields a request and is sent the answer) on its own connection.

    One thread serves all of them, since threads of one interpreter would queue for its lock.
    """
    with selectors.DefaultSelector() as selector:
        try:
            for conversation in conversations:
                sock = endpoint.connect()
                selector.register(sock, selectors.EVENT_READ, conversation)
                sock.sendall(next(conversation))
            while selector.get_map():
                ready = selector.select(TIMEOUT)
                if not ready:
                    raise AnswerError(f"no answer in {TIMEOUT:.0f} s")
                for key, _ in ready:
                    sock = key.fileobj  # type: ignore[assignment]
                    try:
                        sock.sendall(key.data.send(read_answer(sock)))
                    except StopIteration:
                        selector.unregister(sock)
                        sock.close()
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _more(sock: socket.socket, so_far: bytes) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise AnswerError(f"the connection was closed after {so_far[:200]!r}")
    return data


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, their names in lower case, of what comes before the empty line."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers


def _read_chunks(sock: socket.socket, data: bytes) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in data:
            data += _more(sock, data)
        line, _, data = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        while len(data) < size + 2:
            data += _more(sock, data)
        if not size:
            return body
        body += data[:size]
        data = data[size + 2 :]
