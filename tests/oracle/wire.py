"""A raw HTTP/1.1 client that sends what it is told, byte for byte, and reads answers strictly.

Libraries mend requests on their way (paths, headers, framing) and forgive answers; a test of a
server wants neither. Every answer that is read here is checked for its framing and for the
shape of its errors. One connection is used by one thread at a time.
"""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    }
)
"""The specification's error codes; UNKNOWN and UNAVAILABLE may come with 5xx only."""

Headers = Sequence[tuple[str, str]]


class BadAnswerError(AssertionError):
    """What the server sent is no HTTP answer as RFC 9112 has it."""


class ClosedError(ConnectionError):
    """The server closed the connection where an answer was to come."""


@dataclass(frozen=True, repr=False)
class Reply:
    """One whole answer. `interim` are the 1xx statuses that came before it."""

    status: int
    headers: Headers
    body: bytes
    version: str = "1.1"
    interim: tuple[int, ...] = ()

    def __repr__(self) -> str:
        body = repr(self.body[:600]) + ("..." if len(self.body) > 600 else "")
        return f"Reply({self.status}, {list(self.headers)}, {body}, interim={self.interim})"

    def all(self, name: str) -> list[str]:
        """Give each value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Give the value of a header that comes at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"there is no {name} in {self}"
        return value

    def json(self) -> Any:
        """Give the body, decoded."""
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this answer."""
        connection = (self.get("Connection") or "").lower()
        return connection == "close" or (self.version == "1.0" and connection != "keep-alive")

    def code(self) -> str:
        """Check that the body is an OCI error and give its (first) code."""
        content_type = self.get("Content-Type") or ""
        assert content_type.split(";")[0] == "application/json", f"not OCI JSON: {self}"
        document = self.json()
        assert list(document) == ["errors"], document
        assert document["errors"], document
        for error in document["errors"]:
            assert {"code", "message"} <= set(error) <= {"code", "message", "detail"}, error
            allowed = CODES | {"UNKNOWN", "UNAVAILABLE"} if self.status >= 500 else CODES
            assert error["code"] in allowed, error
            assert isinstance(error["message"], str), error
            assert len(error["message"]) > 10, error
        return str(document["errors"][0]["code"])

    def refused(self, status: int, code: str) -> Self:
        """Check that the answer is this refusal."""
        assert self.status == status, f"{self.status} instead of {status}: {self}"
        assert self.code() == code, f"{self.code()} instead of {code}: {self}"
        return self

    def expect(self, status: int) -> Self:
        """Check the status."""
        assert self.status == status, f"{self.status} instead of {status}: {self}"
        return self


class Connection:
    """One TCP connection, with TLS where there is a `context`."""

    def __init__(
        self, address: str, timeout: float = 20, context: ssl.SSLContext | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it in order; what was sent before arrives."""
        self.socket.close()

    def reset(self) -> None:
        """Break it off as a crashed client's machine does (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def head(self, method: str, target: str, headers: Headers = (), version: str = "1.1") -> bytes:
        """Give the bytes of a request's head; Host comes from the address unless it is given."""
        lines = [f"{method} {target} HTTP/{version}"]
        if version != "1.0" and not any(name.lower() == "host" for name, _ in headers):
            lines.append(f"Host: {self.address}")
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = None,
        version: str = "1.1",
    ) -> Reply:
        """Send a request and read its answer.

        `bytes` go with Content-Length, other iterables chunked. When the server answers and
        closes before it has taken the whole body, its answer is returned.
        """
        headers = list(headers)
        given = {name.lower() for name, _ in headers}
        chunked = body is not None and not isinstance(body, (bytes, bytearray))
        if chunked and "transfer-encoding" not in given:
            headers.append(("Transfer-Encoding", "chunked"))
        elif not chunked and "content-length" not in given:
            needed = body is not None or method in ("POST", "PUT", "PATCH")
            if needed and "transfer-encoding" not in given:
                headers.append(("Content-Length", str(len(body or b""))))  # type: ignore[arg-type]
        head = self.head(method, target, headers, version)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if not chunked:
                self.send(head + (body or b""))  # type: ignore[operator]
            else:
                self.send(head)
                for piece in body or ():
                    if piece:
                        self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.send(b"0\r\n\r\n")
        return self.read(method)

    def read(self, method: str = "GET") -> Reply:
        """Read one answer to a request with that method; ClosedError at the end of the stream."""
        interim: list[int] = []
        while True:
            version, status, headers = self._read_head()
            if status >= 200:
                break
            interim.append(status)
        reply = Reply(status, headers, b"", version, tuple(interim))
        return Reply(status, headers, self._read_body(method, reply), version, tuple(interim))

    def _read_head(self) -> tuple[str, int, Headers]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > 65536:
                raise BadAnswerError(f"no end of head in {bytes(self._buffer[:200])!r}")
            self._fill()
        raw, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        first, *lines = raw.decode("ascii").split("\r\n")
        protocol, _, remainder = first.partition(" ")
        status = remainder[:3]
        if protocol not in ("HTTP/1.1", "HTTP/1.0") or not status.isdigit():
            raise BadAnswerError(f"no status line: {first!r}")
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or not line.isprintable():
                raise BadAnswerError(f"no header line: {line!r}")
            headers.append((name, value.strip()))
        return protocol[5:], int(status), headers

    def _read_body(self, method: str, reply: Reply) -> bytes:
        length, coding = reply.get("Content-Length"), reply.get("Transfer-Encoding")
        if length is not None and coding is not None:
            raise BadAnswerError(f"both Content-Length and Transfer-Encoding: {reply}")
        if reply.status in (204, 304) and coding is not None:
            raise BadAnswerError(f"a {reply.status} with Transfer-Encoding: {reply}")
        if method == "HEAD" or reply.status in (204, 304):
            return b""
        if coding is not None:
            raise BadAnswerError(f"this registry knows each answer's length: {reply}")
        if length is None:
            raise BadAnswerError(f"no Content-Length: {reply}")
        while len(self._buffer) < int(length):
            self._fill()
        body = bytes(self._buffer[: int(length)])
        del self._buffer[: int(length)]
        return body

    def nothing_more(self, seconds: float = 0.2) -> bool:
        """Whether no further byte comes within that time; the end of the stream is none."""
        if self._buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def ended(self, seconds: float = 5) -> bool:
        """Whether the server ends the connection within that time, sending nothing more."""
        self.socket.settimeout(seconds)
        try:
            return not self._buffer and not self.socket.recv(1)
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def _fill(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError as error:
            raise ClosedError("the server reset the connection") from error
        if not data:
            raise ClosedError(f"the server closed the connection after {bytes(self._buffer)!r}")
        self._buffer += data


class Client:
    """Requests to one server over one connection, opened anew when it ended.

    With `fresh=True` each request has a connection of its own, so that several workers behind
    one port take turns.
    """

    def __init__(
        self,
        address: str,
        *,
        fresh: bool = False,
        timeout: float = 20,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._context = context
        self._fresh = fresh
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connect(self) -> Connection:
        """Open a connection of one's own."""
        return Connection(self.address, self.timeout, self._context)

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """Send a request and read its answer; OSError when there is none."""
        connection = self._connection or self.connect()
        self._connection = None
        try:
            reply = connection.request(method, target, headers, body)
        except BaseException:
            connection.close()
            raise
        if self._fresh or reply.closes:
            connection.close()
        else:
            self._connection = connection
        return reply

    def get(self, target: str, *headers: tuple[str, str]) -> Reply:
        return self.request("GET", target, headers)

    def head(self, target: str, *headers: tuple[str, str]) -> Reply:
        return self.request("HEAD", target, headers)

    def delete(self, target: str, *headers: tuple[str, str]) -> Reply:
        return self.request("DELETE", target, headers)

    def post(self, target: str, *headers: tuple[str, str], body: Any = None) -> Reply:
        return self.request("POST", target, headers, body)

    def patch(self, target: str, *headers: tuple[str, str], body: Any = b"") -> Reply:
        return self.request("PATCH", target, headers, body)

    def put(self, target: str, *headers: tuple[str, str], body: Any = b"") -> Reply:
        return self.request("PUT", target, headers, body)
