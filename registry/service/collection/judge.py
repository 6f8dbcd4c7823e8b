"""Looks at one member or one pointer, decides by ``registry.spec.life``, and does what that says.

Every step is one call of the store, in the order that ``tests.model.collectors`` goes through with
all others at work. What a look must be followed by is said where it is done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from registry.service.collection.findings import NOWHERE, Done, Finding, Kind, Report
from registry.service.collection.needs import Known
from registry.service.entries import remove, value
from registry.service.listing import every_key
from registry.service.memberships import Member, Memberships, member_name
from registry.service.pointers import Pointers
from registry.service.presence import exists, stat
from registry.service.records import DeletedRecord
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.life import Event, Life, Verdict, judge
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, Stat

Leads = Callable[[str], Awaitable[bool]]
"""Tells whether what an entry leads to is there."""


class Needed(Enum):
    """Whether something is needed. UNSURE: somebody may be writing what needs it."""

    YES = 1
    NO = 2
    UNSURE = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """When to look again, in seconds (negative: not at all); whether to look at the pointer now.

    ``gone``: a member that counted is gone, and it was this look that took it.
    """

    wait: float
    released: bool = False
    gone: bool = False


OVER = Outcome(-1.0)


class Judge:
    """Decides, and acts unless it is told to only ``look``."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        members: Memberships,
        pointers: Pointers,
        terms: Terms,
        report: Report,
        known: Known,
        *,
        look: bool = False,
    ) -> None:
        """``known``: what was pushed to the repository whose members are looked at, and mounted."""
        self._known = known
        self._store = store
        self._coordinator = coordinator
        self._members = members
        self._pointers = pointers
        self._terms = terms
        self._report = report
        self._look = look

    async def member(self, place: Place, digest: Digest) -> Outcome:
        """Look at a blob of a repository, and at what needs it there."""
        member = await self._members.read(place, digest)
        if member is None:
            key = keys.reference(digest, place)
            left = (
                await self._entry(key, lambda key: self._is_member(digest, key)),
                await self.needed(place, digest),
            )
            return Outcome(self._terms.grace if Needed.UNSURE in left else -1.0, released=True)
        age, needed = self._age(member.life, member.since), Needed.NO
        if age >= self._terms.grace:
            needed = await self.needed(place, digest)
        verdict = self._judge(member.life, age, needed)
        event = verdict.event
        if event is None:
            return Outcome(verdict.wait)
        if self._look:
            self._tell(Kind.MEMBER, digest, event, place)
            return OVER
        if event is Event.EXPIRE:
            return await self._expire_member(place, digest, member)
        if event is Event.CONDEMN:
            # No process may go on to tell of it from memory: then it would not be revived.
            async with self._coordinator.change(member_name(place, digest)):
                swapped = await self._members.swap(place, digest, member, event)
        else:
            swapped = await self._members.swap(place, digest, member, event)
        if swapped is None:
            return Outcome(self._terms.grace)
        self._tell(Kind.MEMBER, digest, event, place)
        return Outcome(verdict.wait)

    async def _expire_member(self, place: Place, digest: Digest, seen: Member) -> Outcome:
        """Take the entry that leads to it before itself, each at the version that was seen.

        The entry is looked at before the swap: one that is young was written by who makes it a
        member again, or is about to.
        """
        key = keys.reference(digest, place)
        entry = await stat(self._store, key)
        if entry is not None and self._young(entry):
            return Outcome(self._terms.grace)
        own = await self._members.swap(place, digest, seen, Event.EXPIRE)
        if own is None:
            return Outcome(self._terms.grace)
        if entry is not None:
            await remove(self._store, key, entry.version)
        await remove(self._store, keys.blob(place, digest), own)
        self._tell(Kind.MEMBER, digest, Event.EXPIRE, place)
        return Outcome(-1.0, released=True, gone=seen.life is not Life.DELETING)

    async def pointer(self, digest: Digest) -> Outcome:
        """Look at a pointer, and at which repositories hold the blob."""
        found = await self._pointers.read(digest)
        if found is None:
            return OVER
        pointer, content, version = found
        age, held = self._age(pointer.state, pointer.since), Needed.NO
        if age >= self._terms.grace:
            held = await self.held(digest)
        verdict = self._judge(pointer.state, age, held)
        event = verdict.event
        if event is None:
            return Outcome(verdict.wait)
        if self._look:
            self._tell(Kind.BLOB, digest, event, size=pointer.size)
            return OVER
        swapped = await self._pointers.swap(digest, pointer, content, version, event)
        if swapped is None:
            return Outcome(self._terms.grace)
        if event is Event.EXPIRE:
            if pointer.data:
                await self._store.delete(pointer.data)
            await remove(self._store, keys.pointer(digest), swapped[1])
        size = pointer.size if event is Event.EXPIRE else 0
        self._tell(Kind.BLOB, digest, event, size=size)
        return Outcome(verdict.wait)

    async def needed(self, place: Place, digest: Digest) -> Needed:
        """Whether a manifest of the repository needs the blob, one that can be had back included.

        Entries that are met on the way and lead to none are taken away.
        """
        if digest in self._known.unread:
            return Needed.YES
        return await self._any(
            keys.needed(place, digest), lambda key: self._is_manifest(place, key)
        )

    async def no_more(self, place: Place, digest: Digest, manifest: str) -> Needed:
        """Take away the entry of a manifest that was deleted; NO once it is gone."""
        key = keys.needed(place, digest) + manifest
        return await self._entry(key, lambda key: self._is_manifest(place, key))

    async def held(self, digest: Digest) -> Needed:
        """Whether a repository holds the blob, in whatever state. As ``needed``."""
        if digest in self._known.mounted:
            return Needed.YES
        return await self._any(keys.holders(digest), lambda key: self._is_member(digest, key))

    async def _any(self, prefix: str, leads: Leads) -> Needed:
        """Whether an entry leads to something that is there."""
        answer = Needed.NO
        async for key in every_key(self._store, prefix):
            found = await self._entry(key, leads)
            if found is Needed.YES:
                return found
            if found is Needed.UNSURE:
                answer = found
        return answer

    async def _entry(self, key: str, leads: Leads) -> Needed:
        """Whether an entry leads to something; take it away if not.

        Who writes an entry has its patience to write what it leads to, or writes it again with
        another mark. So one that is old and leads nowhere, looked at in this order, can go.
        """
        if await leads(key):
            return Needed.YES
        entry = await stat(self._store, key)
        if entry is None or self._young(entry):
            return Needed.NO if entry is None else Needed.UNSURE
        if await leads(key):
            return Needed.YES
        if not self._look:
            if not await remove(self._store, key, entry.version):
                return Needed.UNSURE
            self._report(Finding(Kind.ENTRY, key, Done.REMOVED, "what it leads to is not there"))
        return Needed.NO

    async def _is_manifest(self, place: Place, key: str) -> bool:
        manifest = Digest(keys.last_segment(key))
        return await exists(self._store, keys.manifest(place, manifest)) or (
            await self._can_be_had_back(place, manifest)
        )

    async def _is_member(self, digest: Digest, key: str) -> bool:
        return await exists(self._store, keys.blob(keys.reference_place(key), digest))

    async def _can_be_had_back(self, place: Place, manifest: Digest) -> bool:
        found = await value(self._store, keys.deleted(place, manifest))
        if found is None:
            return False
        return DeletedRecord.unpack(found.data)[0].until > self._terms.clock()

    def _judge(self, life: Life, age: float, needed: Needed) -> Verdict:
        if needed is Needed.UNSURE:
            return Verdict(None, self._terms.grace)
        # Removals are made at a version: none is under way that could hit another's.
        return judge(life, age, grace=self._terms.grace, settle=0.0, needed=needed is Needed.YES)

    def _age(self, life: Life, since: float) -> float:
        # When to condemn is said by when the candidate is due; safety does not rest on it. What is
        # condemned must have been so for the grace before what was pushed, or mounted, was listed.
        return self._terms.grace if life is Life.LIVE else self._known.as_of - since

    def _young(self, entry: Stat) -> bool:
        return self._terms.clock() - entry.modified < self._terms.grace

    def _tell(
        self, kind: Kind, digest: Digest, event: Event, place: Place = NOWHERE, size: int = 0
    ) -> None:
        unneeded = (
            "no manifest of the repository needs it"
            if kind is Kind.MEMBER
            else "no repository holds it"
        )
        done, reason = {
            Event.CONDEMN: (Done.CONDEMNED, unneeded),
            Event.KEEP: (Done.KEPT, "it is needed again"),
            Event.EXPIRE: (Done.REMOVED, f"{unneeded}, for the whole grace"),
        }[event]
        self._report(Finding(kind, digest, done, reason, place, size))
