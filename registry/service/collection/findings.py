"""What a collector has found out about one thing, and done with it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from registry.spec.names import Place

NOWHERE: Final = Place("")
"""In no repository."""


class Kind(StrEnum):
    """What was looked at."""

    BLOB = "blob"
    """A digest's pointer and bytes."""

    MEMBER = "member"
    """A blob in a repository."""

    ENTRY = "entry"
    """An entry that leads to something that is not there."""

    DATA = "data"
    """The bytes of an upload that no pointer names."""


class Done(StrEnum):
    """What became of it."""

    CONDEMNED = "condemned"
    KEPT = "kept"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, what was done, and why. ``size`` are the bytes that were freed with it."""

    kind: Kind
    name: str
    done: Done
    reason: str
    place: Place = NOWHERE
    size: int = 0


Report = Callable[[Finding], None]
"""Is told of each finding."""


def nobody(_: Finding) -> None:
    """Report to nobody."""
