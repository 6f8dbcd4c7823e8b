"""Names that clients choose or send back: repositories, tags, upload sessions, references.

Each is a `str` that can only be had from `parse()`, so a plain `str` past the wire is a bug.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Self

from registry.spec.digest import Digest
from registry.spec.errors import NameInvalid, TagInvalid, UploadUnknown

MAX_NAME = 250
"""Longest repository name, in characters. The specification's note: many clients bound
`host/name` to 255, so a longer name could not be pulled from any host."""

_NAME = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
).fullmatch
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}").fullmatch
_SESSION = re.compile(r"[0-9a-f]{64}").fullmatch


@lru_cache(maxsize=1024)
def _well_formed(text: str) -> str:
    """Check a repository's name, which the next request is likely to have again."""
    if len(text) > MAX_NAME:
        raise NameInvalid(text, f"it is longer than {MAX_NAME} characters")
    if _NAME(text) is None:
        raise NameInvalid(
            text,
            "use lower-case letters and digits, joined by single . _ - or by __, in parts "
            "separated by single /",
        )
    return text


class RepositoryName(str):
    """A repository's name, as the specification's "Pulling manifests" defines it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text`; raise NameInvalid when it is malformed or longer than `MAX_NAME`."""
        return cls(_well_formed(text))

    @property
    def project(self) -> str:
        """The first segment of the path: the project that owns the repository."""
        return self.partition("/")[0]


class Place(str):
    """Where a repository's content is kept: the name that it has for services and in storage keys.

    No client ever names one or is shown one. It comes from a decision that allows the request
    (`auth.policy.Allow`), so what was not allowed can't be reached. It reads like a repository's
    name, with the project's id in the place of the project's name: a project that is made anew
    under an old name has other places.
    """

    __slots__ = ()

    @property
    def tenant(self) -> str:
        """The first segment: the id of the project."""
        # Of a text without a slash, ``partition`` returns the very object.
        return str(self.partition("/")[0])


class Tag(str):
    """A tag, as the specification's "Pulling manifests" defines it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text`; raise TagInvalid when it is malformed."""
        if _TAG(text) is None:
            raise TagInvalid(text)
        return cls(text)


class SessionId(str):
    """The id of an upload session: 64 lower-case hexadecimal digits, the only form we give out.

    What the digits say is the business of who issues and checks them (`registry.service`).
    Other spellings of the same number are unknown sessions, so that no two texts name one.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text`; raise UploadUnknown when it cannot be one of our sessions."""
        if _SESSION(text) is None:
            raise UploadUnknown(text)
        return cls(text)


Reference = Digest | Tag


def parse_reference(text: str) -> Digest | Tag:
    """Read the last part of a manifest's URL: a digest when it has a colon, else a tag.

    No tag holds a colon and every digest does. Raises DigestInvalid, DigestUnsupported or
    TagInvalid.
    """
    return Digest.parse(text) if ":" in text else Tag.parse(text)
