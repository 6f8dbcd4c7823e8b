"""What is known of unfinished content, as it travels in the upload session's record."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec import Meta

from storage._s3_plan import MAX_PARTS

MAX_PROGRESS: Final = 1024 * 1024
"""The longest progress, in characters: 10,000 parts take about 500,000."""

_Text = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"\A[!-~]+\Z")]
_ETag = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\A[!#-~]+\Z")]
_Size = Annotated[int, Meta(ge=0, le=1 << 60)]


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part that the store has: its ETag, and its CRC32 where the store verified one."""

    etag: _ETag
    crc: Annotated[str, Meta(max_length=16, pattern=r"\A[A-Za-z0-9+/=]*\Z")] = ""


class Tail(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The bytes behind the last part, too few for one: an object of their own, in a slot.

    There are two slots, taken in turn: what is written next does not touch what the last
    progress tells of, and at most two objects are ever left behind. The ETag tells whether it is
    still the object that this progress means.
    """

    slot: Literal[0, 1]
    size: Annotated[int, Meta(ge=1, le=1 << 32)]
    etag: _ETag


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``size`` bytes are in parts of the multipart upload ``upload``, if it was begun.

    Content that was found finished has a size and no upload. ``token`` is what the object
    will carry, so that it can be told whose it is.
    """

    v: Literal[1]
    size: _Size = 0
    upload: Annotated[str, Meta(max_length=1024, pattern=r"\A[!-~]*\Z")] = ""
    token: Annotated[str, Meta(max_length=64, pattern=r"\A[0-9a-f]*\Z")] = ""
    parts: Annotated[Sequence[Part], Meta(max_length=MAX_PARTS)] = ()
    tail: Tail | None = None

    @property
    def offset(self) -> int:
        """The bytes that it tells of."""
        return self.size + (self.tail.size if self.tail else 0)

    def encode(self) -> str:
        """The text for the session's record; ``""`` for no bytes at all."""
        return msgspec.json.encode(self).decode() if self.offset else ""

    @classmethod
    def parse(cls, key: str, text: str) -> Self:
        """The inverse of ``encode``. ``ValueError`` if no writer gave it."""
        if text == "":
            return cls(1)
        try:
            if len(text) > MAX_PROGRESS:
                raise msgspec.ValidationError("too long")
            found = msgspec.json.decode(text.encode(), type=cls)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            raise ValueError(f"{key}: {text[:80]!r} is no writer's progress: {error}") from None
        if not found.offset or bool(found.upload) != bool(found.parts):
            raise ValueError(f"{key}: {text[:80]!r} is no writer's progress")
        return found


def new_token() -> str:
    """A token that no other upload has."""
    return secrets.token_hex(16)
