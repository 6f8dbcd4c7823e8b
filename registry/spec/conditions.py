"""Conditional requests on manifests and blobs (RFC 9110 §13): entity tags are digests."""

from __future__ import annotations

import re
from typing import Self

import msgspec

from registry.spec._headers import etag
from registry.spec.errors import Unsupported, shown

__all__ = ["ABSENT", "MAX_TAGS", "Conditions", "EntityTags", "etag", "still"]

MAX_TAGS = 100
"""Most entity tags of one header."""

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class EntityTags(msgspec.Struct, frozen=True, gc=False):
    """The entity tags of one header: `anything` for `*`, else strong and weak ones, quoted."""

    anything: bool = False
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read `*` or a list of entity tags; raise Unsupported when it is neither.

        A malformed header is refused, not ignored: a write that the client made conditional
        must not go through unconditionally.
        """
        text = header.strip(" \t")
        if text == "*":
            return cls(anything=True)
        strong: list[str] = []
        weak: list[str] = []
        position = _skip(text, 0)
        while position < len(text):
            match = _TAG.match(text, position)
            if match is None or len(strong) + len(weak) == MAX_TAGS:
                raise _malformed(header)
            (weak if match[1] else strong).append(match[2])
            position = _skip(text, match.end())
            if position < len(text) and "," not in text[match.end() : position]:
                raise _malformed(header)
        if not strong and not weak:
            raise _malformed(header)
        return cls(strong=tuple(strong), weak=tuple(weak))

    def match_strong(self, current: str | None) -> bool:
        """Compare strongly with the current digest (§8.8.3.2): weak tags never match."""
        return current is not None and (self.anything or etag(current) in self.strong)

    def match_weak(self, current: str | None) -> bool:
        """Compare weakly with the current digest (§8.8.3.2)."""
        return self.match_strong(current) or (current is not None and etag(current) in self.weak)


def _skip(text: str, position: int) -> int:
    """Step over white space and commas; lists may have empty elements (§5.6.1)."""
    while position < len(text) and text[position] in " \t,":
        position += 1
    return position


def _malformed(header: str) -> Unsupported:
    return Unsupported(
        f"condition {shown(header)} is malformed: give * or at most {MAX_TAGS} entity tags such "
        'as "sha256:...", in double quotes and separated by commas'
    )


class Conditions(msgspec.Struct, frozen=True, gc=False):
    """The conditions of one request. True as a boolean when there are any."""

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None

    @classmethod
    def parse(cls, if_match: str | None, if_none_match: str | None) -> Self:
        """Read both headers; raise Unsupported (400) when one is malformed."""
        return cls(
            None if if_match is None else EntityTags.parse(if_match),
            None if if_none_match is None else EntityTags.parse(if_none_match),
        )

    def __bool__(self) -> bool:
        return self.if_match is not None or self.if_none_match is not None

    def check_write(self, current: str | None) -> bool:
        """Tell whether a PUT or DELETE may go on, where `current` is the digest now there.

        `If-Match` compares strongly and needs something there; `If-None-Match` compares weakly
        and `*` means "only if nothing is there" (§13.1.1, §13.1.2, in the order of §13.2.2).
        False means 412, PreconditionFailed.
        """
        if self.if_match is not None and not self.if_match.match_strong(current):
            return False
        return self.if_none_match is None or not self.if_none_match.match_weak(current)

    def check_read(self, current: str | None) -> bool:
        """Tell whether `If-Match` lets a GET or HEAD go on (§13.1.1). False means 412."""
        return self.if_match is None or self.if_match.match_strong(current)

    def not_modified(self, current: str | None) -> bool:
        """Tell whether a GET or HEAD is answered with 304 (`If-None-Match`, §13.1.2)."""
        return self.if_none_match is not None and self.if_none_match.match_weak(current)


ABSENT = Conditions(if_none_match=EntityTags(anything=True))
"""That nothing is there."""


def still(digest: str) -> Conditions:
    """That `digest` is there; `""`: that nothing is."""
    return Conditions(EntityTags(strong=(etag(digest),))) if digest else ABSENT
