"""A TCP relay on loopback between a client and a registry."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self, final

_BUFFER_BYTES = 256 * 1024
_HEAD_LIMIT_BYTES = 64 * 1024


@final
class Relay:
    """Forward connections from a free loopback port to one server, counting bytes.

    `sent` counts bytes from client to server, `received` the other way, over all connections
    since the last `reset`. `one_request_per_connection` adds `Connection: close` to the request
    that opens a connection, so that a client which would keep one connection alive (and with it
    one server worker) makes a new one for each request.

    `hold_after` stops the flow to the server in mid-stream, so that a test can kill a client or
    the server when a known part of an upload has arrived.

    Connections are threads: meant for the tens of connections of a test, not for load.
    """

    def __init__(self, target: str, *, one_request_per_connection: bool = False) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._close_each = one_request_per_connection
        self._lock = threading.Lock()
        self._sent = self._received = 0
        self._hold_at: int | None = None
        self._held = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def sent(self) -> int:
        """Bytes that went from clients to the server since `reset`."""
        return self._sent

    @property
    def received(self) -> int:
        """Bytes that went from the server to clients since `reset`."""
        return self._received

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self._sent = self._received = 0

    def hold_after(self, count: int) -> None:
        """Let at least `count` more bytes through to the server, then no more until `release`."""
        with self._lock:
            self._hold_at = self._sent + count
            self._held.clear()
            self._flowing.clear()

    def wait_until_held(self, timeout: float) -> bool:
        """Wait until the flow stopped because of `hold_after`; false after `timeout` seconds."""
        return self._held.wait(timeout)

    def release(self) -> None:
        """Let bytes flow again, also those that were held back."""
        with self._lock:
            self._hold_at = None
            self._flowing.set()

    def cut(self) -> None:
        """Break every open connection, both sides; new ones are still accepted."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop accepting and break every connection. Calling it again does nothing."""
        self.release()
        # shutdown, because closing alone leaves a thread that waits in accept() on Linux.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=30)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with client, server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            answers = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                if self._close_each:
                    head = _with_connection_close(_read_head(client))
                    self._count(len(head), to_server=True)
                    server.sendall(head)
                self._pump(client, server, True)  # noqa: FBT003
            answers.join()
            with self._lock:
                self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:  # noqa: FBT001
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        try:
            while count := source.recv_into(buffer):
                if to_server and self._hold_at is not None and self._sent >= self._hold_at:
                    self._held.set()
                    self._flowing.wait()
                sink.sendall(buffer[:count])
                self._count(count, to_server=to_server)
        except OSError:
            # One side is gone: the other has to see it too, whichever direction it uses.
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        else:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _count(self, count: int, *, to_server: bool) -> None:
        with self._lock:
            if to_server:
                self._sent += count
            else:
                self._received += count


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_LIMIT_BYTES:
        piece = connection.recv(_BUFFER_BYTES)
        if not piece:
            break
        head += piece
    return head


def _with_connection_close(head: bytes) -> bytes:
    return head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
