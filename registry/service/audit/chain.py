"""Events as lines that vouch for each other. Pure: no I/O, no clock.

Each process that writes has a chain of its own. An event's line holds the hash of the line before
it and its number; the line's own hash is over all of that. A line of the store is byte by byte the
line of the log::

    {"hash":"<64 hex>","log":"audit","writer":"<16 hex>","n":7,"prev":"<64 hex>","time":…}

The hash is HMAC-SHA256 (RFC 2104) of the line without its ``hash`` field. With an empty key anyone
can compute it: what is changed by accident shows, and what is changed on purpose only where the
log's lines, or the head, are known from elsewhere.

Lines are written in batches, at one key for each project in it. The *head* says how far the writer
has come, and, once it is *sealed*, that nothing follows.
"""

import hmac
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

import msgspec

from registry.service.audit.events import AuditEvent

T = TypeVar("T")

GENESIS: Final = "0" * 64
"""What the first event of a chain has for the hash of the one before it."""

_LINE: Final = re.compile(rb'\{"hash":"([0-9a-f]{64})",([^\n]+)').fullmatch


class Damaged(Exception):
    """A line is not as it was written."""


class Entry(
    AuditEvent, frozen=True, kw_only=True, omit_defaults=True, tag_field="log", tag="audit"
):
    """An event at its place in the chain of ``writer``: number ``n``, from 1, after ``prev``."""

    writer: str
    n: int
    prev: str


class Head(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="log", tag="audit-head"
):
    """How far a writer has come: so many events in so many batches, the last one with this hash.

    ``sealed``: it has ended, and writes no more.
    """

    writer: str
    time: float
    events: int = 0
    batches: int = 0
    last: str = GENESIS
    sealed: bool = False

    def line(self, key: bytes) -> bytes:
        """The head as it is stored."""
        return seal(msgspec.json.encode(self), key)

    @classmethod
    def read(cls, line: bytes, key: bytes) -> Self:
        """The inverse of ``line``; ``Damaged``."""
        return _decoded(unseal(line, key)[1], cls)


def seal(body: bytes, key: bytes) -> bytes:
    """Put a JSON object's hash before its fields."""
    return b'{"hash":"%b",%b' % (_hash(body, key).encode(), body[1:])


def unseal(line: bytes, key: bytes) -> tuple[str, bytes]:
    """Return the hash and the object of a line; ``Damaged`` where the two do not agree."""
    found = _LINE(line)
    if found is None:
        raise Damaged("it is no line of the audit log")
    body = b"{" + found[2]
    if not hmac.compare_digest(_hash(body, key), found[1].decode()):
        raise Damaged("it was changed, or written with another key")
    return found[1].decode(), body


def _hash(body: bytes, key: bytes) -> str:
    return hmac.digest(key, body, "sha256").hex()


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"it can't be read: {error}") from error


class Chain:
    """Writes events down, one after the other."""

    def __init__(self, writer: str, key: bytes = b"") -> None:
        """Begin the chain of ``writer``."""
        self.writer = writer
        self.key = key
        self.events = 0
        self.last = GENESIS

    def add(self, event: AuditEvent) -> bytes:
        """Return the event's line, printable ASCII without its line feed."""
        n = self.events + 1
        entry = Entry(**msgspec.structs.asdict(event), writer=self.writer, n=n, prev=self.last)
        line = seal(_ascii(entry), self.key)
        self.last = line[9:73].decode()
        self.events = n
        return line


def _ascii(entry: Entry) -> bytes:
    try:
        body = msgspec.json.encode(entry)
        if body.isascii() and b"\x7f" not in body:
            return body
    except UnicodeEncodeError:  # bytes of a client that are no UTF-8, kept as lone surrogates
        pass
    text = json.dumps(msgspec.to_builtins(entry), separators=(",", ":"))
    text = re.sub(r"\\ud[89a-f][0-9a-f]{2}(?:\\ud[c-f][0-9a-f]{2})?", _no_half, text)
    return text.replace("\x7f", "\\u007f").encode()


def _no_half(found: re.Match[str]) -> str:
    """Show half of a surrogate pair as text: alone it is no character, and can't be read back."""
    whole = len(found[0]) == 12 and found[0][3] in "89ab"
    return found[0] if whole else found[0].replace("\\", "\\\\")


def entries(data: bytes, key: bytes) -> Iterator[tuple[str, Entry] | Damaged]:
    """Yield the hash and the event of each line of a batch, or what is wrong with it."""
    for line in data.splitlines():
        try:
            digest, body = unseal(line, key)
            yield digest, _decoded(body, Entry)
        except Damaged as error:
            yield error


@dataclass(frozen=True, slots=True)
class Part:
    """What a batch holds of one project's events: where that is kept, and its bytes."""

    key: str
    tenant: str
    data: bytes


@dataclass(slots=True)
class Verification:
    """Checks what one writer wrote, batch by batch.

    ``head`` is as it was before the batches were listed. ``findings`` say what is wrong, for
    people. ``unvouched`` counts events that no head tells of: those of a last batch, if the writer
    ended between the batch and the head.
    """

    writer: str
    key: bytes
    head: Head | Damaged | None
    findings: list[str] = field(default_factory=list)
    events: int = 0
    unvouched: int = 0
    _last: str = GENESIS
    _batch: int = 0
    _reached: tuple[int, str] = (0, GENESIS)

    def batch(self, number: int, parts: Iterable[Part]) -> None:
        """Check the next batch: all its parts, in any order. Numbers only grow."""
        if number != self._batch + 1:
            self._tell(f"batches {self._batch + 1} to {number - 1} are missing")
        self._batch = number
        found: list[tuple[Entry, str, str]] = []
        for part in parts:
            found += self._part(part)
        for entry, digest, where in sorted(found, key=lambda each: each[0].n):
            self._follow(entry, digest, where)
        if isinstance(self.head, Head) and number <= self.head.batches:
            self._reached = self.events, self._last

    def _part(self, part: Part) -> Iterator[tuple[Entry, str, str]]:
        before = 0
        for number, each in enumerate(entries(part.data, self.key), 1):
            where = f"line {number} of {part.key}"
            if isinstance(each, Damaged):
                self._tell(f"{where}: {each}")
                continue
            digest, entry = each
            if entry.writer != self.writer or entry.tenant != part.tenant:
                self._tell(f"{where} belongs elsewhere")
                continue
            if entry.n <= before:
                self._tell(f"{where} is out of order")
            before = max(before, entry.n)
            yield entry, digest, where

    def _follow(self, entry: Entry, digest: str, where: str) -> None:
        if entry.n <= self.events:
            self._tell(f"event {entry.n} ({where}) is there again, or out of order")
            return
        if entry.n > self.events + 1:
            self._tell(f"events {self.events + 1} to {entry.n - 1} are missing")
        elif entry.prev != self._last:
            self._tell(f"event {entry.n} ({where}) does not follow event {self.events}")
        self.events, self._last = entry.n, digest

    def end(self, latest: Head | None = None) -> Sequence[str]:
        """Compare with the head, and return all findings.

        ``latest`` is the head as it was after the batches were listed: its writer may have gone on.
        """
        head = self.head
        if head is None:
            self._tell("its head is missing: events at its end may be too")
        elif isinstance(head, Damaged):
            self._tell(f"its head: {head}")
        else:
            self._end(head, latest or head)
        return self.findings

    def _end(self, head: Head, latest: Head) -> None:
        if head.writer != self.writer:
            self._tell("its head belongs elsewhere")
        elif head.batches > self._batch or head.events > self.events:
            self._tell(f"events {self.events + 1} to {head.events} are missing at the end")
        elif self._reached != (head.events, head.last):
            self._tell("what it wrote is not what its head tells of")
        elif self._batch > latest.batches + (not latest.sealed):
            self._tell(f"batches after batch {latest.batches} were added, which its head ends with")
        else:
            self.unvouched = max(0, self.events - latest.events)

    def _tell(self, finding: str) -> None:
        self.findings.append(finding)
