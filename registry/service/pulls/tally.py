"""Counting pulls in memory: all that a pull costs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.spec.digest import Digest
from registry.spec.names import Place, Reference

MOST: Final = 20_000
"""Tags and digests that are counted between two flushes, about 300 bytes each."""

_NAME: Final = 200


@dataclass(slots=True)
class Tally:
    """How often something was pulled; when last (Unix seconds), by whom, and what that got."""

    count: int
    last: float
    by: str
    digest: Digest


Counted = Mapping[tuple[Place, Reference], Tally]


class Tallies:
    """Counts the pulls of a process between two flushes. Never waits, never grows beyond ``most``.

    While it is full, pulls of what is not in it yet are not counted; ``dropped`` tells how many.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        """Count up to ``most`` tags and digests; ``clock`` gives Unix seconds."""
        self.dropped = 0
        self.nearly_full: Callable[[], object] = lambda: None
        """Called when it should be flushed soon."""

        self._most = most
        self._clock = clock
        self._counted: dict[tuple[Place, Reference], Tally] = {}

    def note(self, place: Place, reference: Reference, digest: Digest, by: str) -> None:
        """``by`` pulled the manifest ``digest``, and asked for it by ``reference``."""
        tally = self._counted.get((place, reference))
        if tally is None:
            self._begin(place, reference, digest, by)
            return
        tally.count += 1
        tally.last = self._clock()
        tally.by = by
        tally.digest = digest

    def _begin(self, place: Place, reference: Reference, digest: Digest, by: str) -> None:
        room = self._most - len(self._counted)
        if not room:
            self.dropped += 1
            return
        if room == self._most // 2:
            self.nearly_full()
        self._counted[place, reference] = Tally(1, self._clock(), by, digest)

    def last(self, place: Place, reference: Reference) -> float | None:
        """When it was last pulled, as far as that is not flushed yet."""
        tally = self._counted.get((place, reference))
        return tally.last if tally is not None else None

    def take(self) -> Counted:
        """Return what was counted, and begin anew."""
        taken, self._counted = self._counted, {}
        return taken


def shown(by: str) -> str:
    """A principal's name as it is kept: cut, so that no client makes a record large."""
    return by if len(by) <= _NAME else f"{by[: _NAME - 1]}…"
