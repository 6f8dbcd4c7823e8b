"""Candidates: what an event may have left unneeded, and when to look at it.

They lie in a queue in the store, in the order in which they are due, so the collector reads what is
due and nothing else. One that is wrong costs a look; one that is lost (a process died with what it
had noted) is found by a full mark.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from registry.service.records import Record
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage import keys
from storage.ports import ObjectStore

BATCH: Final = 500
"""Digests in one candidate at the most."""

_MOST: Final = 50_000
"""Blobs that a process notes at the most; then the oldest are written down early."""

_LONGEST: Final = 600.0
"""Seconds for which a blob may be noted and not yet written down."""


class Candidate(Record, frozen=True):
    """What to look at: a deleted manifest and blobs of the repository ``place``; pointers."""

    place: str = ""
    manifest: str = ""
    members: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()


class Candidates:
    """Writes candidates down, and notes blobs that no manifest needs yet.

    Most blobs are needed by a manifest a moment after they were pushed. So they are noted in
    memory, and written down only if no manifest has come to this process for a while.
    """

    def __init__(self, store: ObjectStore, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._noted: OrderedDict[tuple[Place, Digest], float] = OrderedDict()
        self._spare: OrderedDict[str, float] = OrderedDict()

    @property
    def patience(self) -> float:
        """Seconds within which what a candidate tells of is to happen."""
        return self._terms.patience

    async def add(
        self,
        repository: Place,
        *,
        manifest: str = "",
        members: Sequence[str] = (),
        pointers: Sequence[str] = (),
        wait: float = 0.0,
    ) -> None:
        """Write down what is to be looked at in ``wait`` seconds."""
        for start in range(0, max(len(members), len(pointers), 1), BATCH):
            part = slice(start, start + BATCH)
            candidate = Candidate(repository, manifest, tuple(members[part]), tuple(pointers[part]))
            await self.write(candidate, self._terms.clock() + wait)

    async def write(self, candidate: Candidate, due: float) -> None:
        """Write a candidate down, to be looked at from ``due`` on (Unix seconds)."""
        key = keys.candidate(max(0, int(due * 1000)), secrets.token_hex(8))
        await self._store.put(key, candidate.encode())

    def note(self, repository: Place, digest: Digest) -> None:
        """A repository was made to hold a blob."""
        self._noted[repository, digest] = self._terms.clock()
        self._noted.move_to_end((repository, digest))

    def needed(self, repository: Place, digests: Sequence[Digest]) -> None:
        """A manifest needs the blobs."""
        for digest in digests:
            self._noted.pop((repository, digest), None)

    def spare(self, data: str) -> None:
        """The bytes at the key ``data`` were not given a name: their content had one already.

        They are deleted at the next flush. What can't be deleted then is left to a full mark before
        that name may be gone: an upload's end that is repeated could name them instead.
        """
        self._spare[data] = self._terms.clock()
        if len(self._spare) > _MOST:
            self._spare.popitem(last=False)

    async def flush(self, *, everything: bool = False) -> int:
        """Write down what was noted long enough ago, or ``everything``; return how many blobs.

        They are looked at when the grace is over since they were noted. Then spare bytes go.
        """
        now = self._terms.clock()
        oldest = now - min(self._terms.grace / 2, _LONGEST)
        taken: dict[Place, list[Digest]] = {}
        count, last = 0, 0.0
        while self._noted:
            (place, digest), since = next(iter(self._noted.items()))
            if not (everything or since <= oldest or len(self._noted) > _MOST):
                break
            del self._noted[place, digest]
            taken.setdefault(place, []).append(digest)
            count, last = count + 1, since
        try:
            for place in list(taken):
                wait = max(0.0, last + self._terms.grace - now)
                await self.add(place, members=taken[place], wait=wait)
                del taken[place]
        finally:
            # What could not be written down is tried again.
            for place, digests in taken.items():
                for digest in digests:
                    self._noted[place, digest] = last
        await self._delete_spare()
        return count

    async def _delete_spare(self) -> None:
        oldest = self._terms.clock() - self._terms.grace / 2
        while self._spare:
            data, since = next(iter(self._spare.items()))
            if since > oldest:
                await self._store.delete(data)
            self._spare.pop(data, None)
