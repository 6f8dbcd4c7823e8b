"""The log: whole lines from several processes, never a secret, never the reason to wait.

A line is handed over on the event loop in well under a microsecond; a thread encodes what came
together and writes it ``DELAY`` seconds later. Where the reader of the log does not keep up, lines
are dropped and counted: requests never wait for a log.
"""

import fcntl
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from registry.config import LogConfig

T = TypeVar("T")

DELAY: Final = 0.05
"""Seconds that a line may wait for others to be written with it."""

_BATCH: Final = 1024
"""Lines of one write: few, so that a busy loop is asked for the interpreter seldom."""

_SECRETS: Final = (
    # An Authorization header, or its pieces, in whatever quoting a message has them.
    (re.compile(r"(?i)(authorization\W{1,6}(?:[a-z]+\s+)?)[^\s'\",;]+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer|basic|negotiate)\s+[\w.~+/=-]{4,}"), r"\1 ***"),
    (re.compile(r"\bmrg_[a-z]{3}_\w+(?:\.[\w-]*)?"), "***"),
    (re.compile(r"\beyJ[\w-]{4,}(?:\.[\w-]*){0,4}"), "***"),
    (
        re.compile(r"(?i)\b(\w*(?:token|password|passwd|secret|signature|api_?key)=)[^\s&'\"]+"),
        r"\1***",
    ),
    (re.compile(r"(://)[^/\s@:]+:[^/\s@]+@"), r"\1***@"),
)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def redact(text: str) -> str:
    """Replace by stars what looks like credentials."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def escape(text: str) -> str:
    """Make a text one line of printable ASCII, so that it can forge no line and move no cursor."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > 0xFFFF:  # JSON has no escape for these but the surrogate pair
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def rfc3339(seconds: float) -> str:
    """Write a time (Unix seconds) as RFC 3339 does, in UTC, with milliseconds."""
    whole = int(seconds)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        + f".{int((seconds - whole) * 1000):03d}Z"
    )


class Sink:
    """A file, or stderr or stdout, to which threads and processes append whole lines.

    A pipe takes only 4096 bytes at once without mixing them with another process's, so writers
    take turns by a lock on ``lock``, a descriptor that they all inherited.
    """

    def __init__(self, path: str = "", lock: int | None = None, *, fd: int = 2) -> None:
        """Open ``path`` for appending, or take ``fd``, stderr, if it is empty. ``OSError``."""
        self._path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._fd = self._open() if path else fd

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return os.isatty(self._fd)

    def write(self, data: bytes) -> None:
        """Write all of ``data``, however long the reader takes. ``OSError`` if that fails."""
        with self._turn:
            if self._lock is not None:
                fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            finally:
                if self._lock is not None:
                    fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def reopen(self) -> None:
        """Open the path anew: the file was moved away by whoever rotates logs."""
        if self._path:
            fresh = self._open()
            with self._turn:
                old, self._fd = self._fd, fresh
            os.close(old)


class Writer(Generic[T]):
    """Hands items to a thread that encodes and writes them in batches."""

    def __init__(
        self, sink: Sink, encode: Callable[[list[T]], bytes], *, limit: int = 20_000
    ) -> None:
        """Write what ``encode`` makes of a batch to ``sink``; hold at most ``limit`` items."""
        self.dropped = 0
        self._sink = sink
        self._encode = encode
        self._limit = limit
        self._waiting: deque[T] = deque()
        self._woken = threading.Event()
        self._armed = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Take ``item``, or drop it and count that, at once in either case."""
        waiting = self._waiting
        if len(waiting) >= self._limit:
            self.dropped += 1
            return
        waiting.append(item)
        if not self._armed:
            self._armed = True
            self._woken.set()

    def close(self, seconds: float = 2.0) -> None:
        """Write what is left, giving up after ``seconds``."""
        self._closing = True
        self._woken.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._woken.wait()
            if not self._closing:
                time.sleep(DELAY)
            self._woken.clear()
            # In this order: an item that comes after this line arms again.
            self._armed = False
            while self._waiting:
                self._write_some()
            if self._closing:
                return

    def _write_some(self) -> None:
        take = self._waiting.popleft
        part = [take() for _ in range(min(_BATCH, len(self._waiting)))]
        try:
            self._sink.write(self._encode(part))
        except Exception:  # noqa: BLE001  a full disk, or a defect: the next lines still count
            self.dropped += len(part)


class LineHandler(logging.Handler):
    """Turns events of ``logging`` into lines, redacted and escaped, and gives them to ``write``."""

    def __init__(self, write: Callable[[bytes], object], *, text: bool) -> None:
        """Write JSON lines, or with ``text`` lines for people."""
        super().__init__()
        self.during: Callable[[], dict[str, str]] | None = None
        """Tells what an event happened in: its trace."""

        self._give = write
        self._text = text

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event; a broken one is reported by ``logging`` itself, and stops nothing."""
        try:
            self._give(self._line(record))
        except Exception:  # noqa: BLE001  logging's own convention
            self.handleError(record)

    def _line(self, record: logging.LogRecord) -> bytes:
        message = redact(record.getMessage())
        trace = _trace(record)
        if self._text:
            lines = [f"{rfc3339(record.created)} {record.levelname:<7} {escape(message)}"]
            lines += [f"    {escape(line)}" for line in trace.splitlines()]
            return ("\n".join(lines) + "\n").encode("ascii")
        event: dict[str, Any] = {
            "log": "event",
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": message.encode("utf-8", "backslashreplace").decode(),
        }
        if self.during is not None:
            event |= self.during()
        if trace:
            event["exception"] = trace.encode("utf-8", "backslashreplace").decode()
        return ascii_lines(msgspec.json.encode(event) + b"\n")


def _trace(record: logging.LogRecord) -> str:
    """Return the exception with its traceback.

    aiohttp puts pieces of a request that it can't parse into its exceptions, also of a token that
    was cut so that it looks like none (CVE-class: credentials in logs): only their type is told.
    """
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error = record.exc_info[1]
    if any(base.__name__ == "HttpProcessingError" for base in type(error).__mro__):
        return type(error).__name__
    return redact("".join(traceback.format_exception(error)).rstrip())


def ascii_lines(lines: bytes) -> bytes:
    """Escape what is not printable ASCII in JSON lines; most have nothing, and that is quick."""
    if lines.isascii() and b"\x7f" not in lines:
        return lines
    return "\n".join(escape(line) for line in lines.decode().split("\n")).encode("ascii")


def configure(handler: logging.Handler, level: str) -> None:
    """Send all events of at least ``level`` to ``handler`` only."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Connection noise of the framework is no news unless somebody is looking for it.
    logging.getLogger("asyncio").setLevel("DEBUG" if level == "debug" else "WARNING")


def text_wanted(config: LogConfig, sink: Sink) -> bool:
    """Whether the log is for people."""
    return config.format == "text" or (config.format == "auto" and sink.isatty())


def shared_lock() -> int:
    """Make a descriptor for ``Sink`` that child processes inherit and lock in turn."""
    if sys.platform == "linux":
        return os.memfd_create("moorage-log", 0)
    raise OSError("several workers need Linux")  # pragma: no cover
