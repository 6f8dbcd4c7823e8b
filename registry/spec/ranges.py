"""The three grammars of byte ranges, kept apart.

- `Content-Range` of a chunk that a client uploads (spec, end-5 and end-6): `ContentRange`.
- `Range` of an answer about an upload session: `upload_range()`.
- `Range` of a GET and `Content-Range` of its answer (RFC 9110 §14): `parse_range()`.

All positions are bytes from 0, and inclusive at both ends.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Self

import msgspec

from registry.spec._headers import unsatisfied_range, upload_range
from registry.spec.errors import RangeUnsatisfiable, UploadInvalid, shown

__all__ = [
    "MAX_RANGES",
    "ByteRange",
    "ContentRange",
    "content_range",
    "parse_range",
    "unsatisfied_range",
    "upload_range",
]

MAX_RANGES = 32
"""Most ranges of one GET that are served as ranges."""

_MAX_HEADER = 1024
_CHUNK = re.compile(r"([0-9]{1,19})-([0-9]{1,19})").fullmatch
_CHUNK_HTTP = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:\*|[0-9]{1,19})").fullmatch
_INT_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{0,19})").fullmatch
_SUFFIX_RANGE = re.compile(r"-([0-9]{1,19})").fullmatch


class ContentRange(msgspec.Struct, frozen=True, gc=False):
    """The bytes `start` to `end` of a blob that one chunk holds; never empty."""

    start: int
    end: int

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read the `Content-Range` of a PATCH or of a closing PUT.

        The specification's form is `<start>-<end>`. RFC 9110's `bytes <start>-<end>/<total>`
        with a known or unknown (`*`) total is taken too, as CNCF Distribution does. Raises
        UploadInvalid (400) for anything else, also for an end before the start: such a header
        says nothing about order, so 416 would send the client into a useless recovery.
        """
        match = _CHUNK(header) or _CHUNK_HTTP(header)
        if match is None:
            raise UploadInvalid(
                f"Content-Range {shown(header)} is malformed: write it as <start>-<end>, in bytes"
            )
        start, end = int(match[1]), int(match[2])
        if end < start:
            raise UploadInvalid(f"Content-Range {shown(header)} ends before it starts")
        return cls(start, end)

    @property
    def length(self) -> int:
        """Bytes in the chunk, at least 1."""
        return self.end - self.start + 1


class ByteRange(msgspec.Struct, frozen=True, gc=False):
    """The bytes `start` to `end` of stored content; never empty."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes in the range, at least 1."""
        return self.end - self.start + 1


def content_range(byte_range: ByteRange, size: int) -> str:
    """Give the `Content-Range` of a 206 answer about content of `size` bytes."""
    return f"bytes {byte_range.start}-{byte_range.end}/{size}"


def parse_range(header: str | None, size: int) -> tuple[ByteRange, ...] | None:
    """Read the `Range` of a GET for content of `size` bytes (RFC 9110 §14.1, §14.2).

    Gives the ranges in the client's order, cut to the size; those that lie outside are left
    out. None means: ignore the header and send the whole content with 200. So it is for no
    header, another unit, a malformed one, more than `MAX_RANGES` ranges, and ranges that
    overlap (containers/image asks for many ranges at once but never for the same byte twice,
    while overlapping ranges multiply the answer: CVE-2011-3192).

    Raises RangeUnsatisfiable when no range fits, and when one ends before it starts: RFC 9110
    §14.2 lets a server ignore or reject the latter, and the conformance suite wants 416.
    """
    if header is None or len(header) > _MAX_HEADER:
        return None
    unit, equals, text = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    specs = [part.strip(" \t") for part in text.split(",")]
    if len(specs) > MAX_RANGES:
        return None
    found: list[ByteRange] = []
    for spec in specs:
        ends = _ends(spec, size)
        if ends is None:
            return None
        if ends[0] < size:
            found.append(ByteRange(ends[0], min(ends[1], size - 1)))
    if not found:
        raise RangeUnsatisfiable(size)
    return None if _overlap(found) else tuple(found)


def _ends(spec: str, size: int) -> tuple[int, int] | None:
    """Read one range of a `Range` header; None when it is malformed."""
    if match := _INT_RANGE(spec):
        start = int(match[1])
        end = int(match[2]) if match[2] else max(size - 1, start)
        if end < start:
            raise RangeUnsatisfiable(size)
        return start, end
    if match := _SUFFIX_RANGE(spec):
        length = int(match[1])
        # A suffix of no bytes is unsatisfiable (RFC 9110 §14.1.2): put it past the end.
        return (max(size - length, 0), size - 1) if length and size else (size, size)
    return None


def _overlap(ranges: list[ByteRange]) -> bool:
    in_order = sorted(ranges, key=lambda each: each.start)
    return any(before.end >= after.start for before, after in pairwise(in_order))
