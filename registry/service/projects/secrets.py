"""Secrets that machines carry: made here, long and random, shown once, kept as a hash.

One reads ``mrg_<kind>_<id>_<random>``: a prefix that scanners of code can look for, what it is for,
the id of its record, and 256 random bits. Since nobody can guess these, what is kept is a plain
SHA-256; only what people choose needs a slow hash (decision 13). That of a webhook signs what is
sent and opens nothing: it is kept as it is.
"""

import hmac
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from auth.credentials import issued_secret
from registry.service.projects.records import SecretRecord

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class SecretKind(StrEnum):
    """What a secret is for."""

    ACCESS_TOKEN = "pat"  # noqa: S105 -- a name
    ROBOT = "bot"
    OFFLINE = "off"
    WEBHOOK = "whk"


@dataclass(frozen=True, slots=True)
class Presented:
    """A secret that a client showed: what it says of itself. ``text`` is all of it."""

    kind: SecretKind
    id: str
    text: str

    def matches(self, record: SecretRecord) -> bool:
        """Whether it is the one that was kept, in constant time; whether it is still good too."""
        kept = hmac.compare_digest(_hash(self.text), record.sha256)
        return kept and (record.expires is None or time.time() < record.expires)

    def __repr__(self) -> str:
        return f"Presented({self.kind}, {self.id})"


def mint(kind: SecretKind, *, expires: float | None = None) -> tuple[str, SecretRecord]:
    """Make a secret: its text, to be shown once, and its record."""
    number = secrets.token_hex(8)
    random = "".join(secrets.choice(_ALPHABET) for _ in range(43))
    text = f"mrg_{kind}_{number}_{random}"
    return text, SecretRecord(number, _hash(text), time.time(), expires)


def presented(text: str) -> Presented | None:
    """Read what a client showed; ``None`` if it is no such secret."""
    found = issued_secret(text)
    return Presented(SecretKind(found[0]), found[1], text) if found else None


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
