"""How collection stands, what it makes of one blob, and how far a scrub is. Nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from registry.service.entries import Entries
from registry.service.memberships import Memberships
from registry.service.pointers import Pointers
from registry.service.scrub.scrubber import Progress, progress_of
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.errors import BlobUnknown
from registry.spec.life import Life
from registry.spec.names import Place
from storage import keys
from storage.ports import ObjectStore

MOST: Final = 10_000
"""Candidates that are counted at the most."""

_NEEDS: Final = 100


@dataclass(frozen=True, slots=True)
class Queue:
    """Candidates that are ``due`` and that are for ``later``; since when the first has been due.

    ``more``: there are more than were counted. Unix seconds.
    """

    due: int
    later: int
    first: float | None
    more: bool


@dataclass(frozen=True, slots=True)
class Fate:
    """A blob of a repository: its state, since when (Unix seconds, ``None`` for a live one).

    ``until``: it stays for as long at least. ``needed_by``: manifests of the repository that a
    collector has read; ``more``: there are others. What was pushed lately is not among them.
    """

    digest: Digest
    size: int | None
    life: Life
    since: float | None
    until: float | None
    needed_by: Sequence[Digest]
    more: bool


class Standing:
    """Tells how collection stands."""

    def __init__(self, store: ObjectStore, entries: Entries, terms: Terms) -> None:
        self._store = store
        self._members = Memberships(store, entries, terms)
        self._pointers = Pointers(store, terms)
        self.terms = terms

    async def queue(self) -> Queue:
        """Count what waits. Costs ten listings at the most, whatever is stored."""
        found: list[str] = []
        while len(found) < MOST:
            after = found[-1] if found else ""
            page = await self._store.list(keys.CANDIDATES, after=after, limit=1000)
            found += page
            if len(page) < 1000:
                break
        now = self.terms.clock() * 1000
        due = sum(keys.candidate_due(key) <= now for key in found)
        first = keys.candidate_due(found[0]) / 1000 if found else None
        return Queue(due, len(found) - due, first, len(found) >= MOST)

    async def scrub(self) -> Progress:
        """How far a scrub is, and when the last one ended."""
        return await progress_of(self._store)

    async def of(self, repository: Place, digest: Digest) -> Fate:
        """Tell what becomes of a blob. It is no promise: one that is condemned stays so.

        ``BlobUnknown`` where the repository holds none, in whatever state.
        """
        member = await self._members.find(repository, digest)
        if member is None or member.life is Life.DELETING:
            raise BlobUnknown(digest)
        found = await self._pointers.read(digest)
        prefix = keys.needed(repository, digest)
        needs = await self._store.list(prefix, limit=_NEEDS + 1)
        since = None if member.life is Life.LIVE else member.since
        return Fate(
            digest,
            None if found is None else found[0].size,
            member.life,
            since,
            None if since is None else since + self.terms.grace,
            [Digest(keys.last_segment(key)) for key in needs[:_NEEDS]],
            len(needs) > _NEEDS,
        )
