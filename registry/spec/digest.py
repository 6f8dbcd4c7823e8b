"""Content digests and the incremental hashing that an upload can carry from server to server."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Self

from registry.spec import _sha2
from registry.spec.errors import DigestInvalid, DigestUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHMS: Mapping[str, int] = {"sha256": 64, "sha512": 128}
"""Supported algorithms, each with the number of hexadecimal digits of its digest."""

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}").fullmatch
_GRAMMAR = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):[a-zA-Z0-9=_-]+").fullmatch
_MAX_TEXT = 255


class Digest(str):
    """`<algorithm>:<hex>`, as image-spec's descriptor.md, "Digests", defines it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check `text`.

        Raises DigestUnsupported when it is well-formed but of another algorithm (BLAKE3 among
        them), DigestInvalid otherwise.
        """
        if _DIGEST(text) is None:
            raise _refusal(text)
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Hash `data`; raise DigestUnsupported for an unknown algorithm."""
        if algorithm not in ALGORITHMS:
            raise DigestUnsupported(algorithm)
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self[:6]

    @property
    def hex(self) -> str:
        """The digits after the colon."""
        return self[7:]


def _refusal(text: str) -> DigestInvalid | DigestUnsupported:
    """Say what is wrong with text that is no digest of ours."""
    if len(text) > _MAX_TEXT:
        return DigestInvalid(text, f"it is longer than {_MAX_TEXT} characters")
    well_formed = _GRAMMAR(text)
    if well_formed is None:
        return DigestInvalid(text, "write it as sha256:<64 hexadecimal digits>")
    algorithm: str = well_formed[1]
    digits = ALGORITHMS.get(algorithm)
    if digits is None:
        return DigestUnsupported(algorithm)
    return DigestInvalid(text, f"{algorithm} has {digits} hexadecimal digits, all lower-case")


class Hasher:
    """Hashes a stream of bytes, and can be written down and taken up again elsewhere.

    One thread at a time may use it: `update()` releases the interpreter's lock.
    """

    __slots__ = ("_context", "algorithm", "update")

    def __init__(self, algorithm: str = "sha256") -> None:
        """Begin a hash; raise DigestUnsupported for an unknown algorithm."""
        if algorithm not in ALGORITHMS:
            raise DigestUnsupported(algorithm)
        self._take(_sha2.new(algorithm), algorithm)

    def _take(self, context: _sha2.Context, algorithm: str) -> None:
        self.algorithm = algorithm
        self._context = context
        self.update = context.update
        """Hash more bytes: `update(data)` with bytes, a bytearray or a contiguous memoryview."""

    @property
    def length(self) -> int:
        """Bytes hashed so far."""
        return self._context.length

    def digest(self) -> Digest:
        """Give the digest of the bytes so far; more may follow."""
        return Digest(f"{self.algorithm}:{self._context.hexdigest()}")

    def export(self) -> str | None:
        """Write the state down as short ASCII text that any machine can `restore()`.

        None when this interpreter's SHA-2 keeps its state to itself: the bytes must then be
        read again. The text holds up to one block (64 or 128 bytes) of the content.
        """
        return self._context.export()

    @classmethod
    def restore(cls, text: str) -> Self:
        """Take up a state that `export()` wrote.

        Raises ValueError when the text is no such state, or when no state can be taken up
        here: read the bytes again.
        """
        context = _sha2.restore(text)
        self = cls.__new__(cls)
        self._take(context, context.algorithm)
        return self
