"""Which blobs a repository holds: members, their states, and the entries that lead back.

A member that is live is an empty object, as ever. One that is in any other state holds a record
that tells which, and since when. ``refs/…`` leads from a blob to the repositories that hold it; it
is written before the membership and removed before it. A blob that was mounted at once with others
is in a record of them until it is a member (``mounts``).
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from registry.service.entries import Entries, mark, value
from registry.service.mounts import mounted
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.records import Holding
from registry.service.terms import Terms
from registry.spec.digest import Digest
from registry.spec.life import Event, Gone, Life, advance
from registry.spec.names import Place
from registry.spec.quota import NOTHING, Amounts
from storage import keys
from storage.ports import AlreadyExists, Items, ObjectStore, PreconditionFailed

_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class Member:
    """A membership as the store has it: its state, since when (Unix seconds; 0 for a live one)."""

    life: Life
    since: float
    version: str


class Memberships:
    """Looks at members and changes their state. Each change is one compare-and-swap."""

    def __init__(self, store: ObjectStore, entries: Entries, terms: Terms) -> None:
        self._store = store
        self._entries = entries
        self._terms = terms

    async def look(self, repository: Place, digest: Digest) -> bool:
        """Whether the blob is a member of the repository, as a client may be told.

        That is a promise: one that was condemned is live again when this returns.
        """
        for _ in range(_ROUNDS):
            member = await self.read(repository, digest)
            if member is None or not member.life.visible:
                return False
            if member.life is Life.LIVE or await self.swap(
                repository, digest, member, Event.PROMISE
            ):
                return True
        raise PreconditionFailed(keys.blob(repository, digest))

    async def find(self, repository: Place, digest: Digest) -> Member | None:
        """As ``read``; what was mounted at once, and is to be a member, is a live one."""
        member = await self.read(repository, digest)
        if member is not None and member.life.visible:
            return member
        if digest in await mounted(self._store, repository):
            return Member(Life.LIVE, 0.0, "")
        # What had left the record by then may have been made a member after that look.
        return await self.read(repository, digest)

    async def read(self, repository: Place, digest: Digest) -> Member | None:
        """The member in whatever state; ``None`` where there is none."""
        found = await value(self._store, keys.blob(repository, digest))
        if found is None:
            return None
        if not found.data:
            return Member(Life.LIVE, 0.0, found.version)
        holding = Holding.decode(found.data)
        return Member(holding.state, holding.since, found.version)

    async def swap(
        self, repository: Place, digest: Digest, member: Member, event: Event
    ) -> str | None:
        """Change the state as ``event`` does; return the new version.

        ``None`` where another was first.
        """
        after = advance(member.life, event)
        record = b""
        if after is not Life.LIVE:
            record = Holding(after, self._terms.clock(), secrets.token_hex(8)).encode()
        try:
            return await self._store.replace(keys.blob(repository, digest), record, member.version)
        except PreconditionFailed:
            return None

    def written(self, repository: Place, digest: Digest) -> tuple[Items, Items]:
        """What makes a repository hold a blob: the first before the second."""
        return (
            [(keys.reference(digest, repository), mark())],
            [(keys.blob(repository, digest), b"")],
        )

    async def enter(
        self, repository: Place, digest: Digest, size: int, charge: Charge = NO_CHARGE
    ) -> None:
        """Make the repository hold the blob of ``size`` bytes, in whatever state the member was.

        ``QuotaExceeded`` where ``charge`` has no room for it.
        """
        references, members = self.written(repository, digest)
        if not charge.limited:
            await self._entries.put(references, members)
            return
        await charge.hold(Amounts(bytes=size))
        await self._entries.put(references)
        await self.join(repository, digest, size, charge)

    async def join(
        self,
        repository: Place,
        digest: Digest,
        size: int,
        charge: Charge,
        wanted: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Make the blob a member, where that counts; what leads back to it was written before.

        ``charge`` pays for ``size`` bytes if it was none, which the write itself finds out. A
        member in any state but DELETING has been paid for. One that is not live stays what it is
        where it is not ``wanted``, which is asked after that was seen.
        """
        key, amounts = keys.blob(repository, digest), Amounts(bytes=size)
        for _ in range(_ROUNDS):
            async with charge.storing(amounts) as storing:
                try:
                    await self._store.create(key, b"")
                except AlreadyExists:
                    storing.was_there()
                else:
                    return
            member = await self.read(repository, digest)
            if member is None:
                continue
            if member.life is Life.LIVE:
                return
            if wanted is not None and not await wanted():
                return
            dead = member.life is Life.DELETING
            async with charge.storing(amounts if dead else NOTHING) as storing:
                if await self.swap(repository, digest, member, Event.WRITE):
                    return
                storing.was_there()
        raise PreconditionFailed(key)

    async def settle(
        self, repository: Place, digest: Digest, stands: Callable[[], Awaitable[bool]]
    ) -> None:
        """Make a blob a member that was mounted at once with others, and was paid for then.

        One that is in another state is made live only if it ``stands`` in the record after that was
        seen: who deletes a blob removes the record first.
        """
        references, _ = self.written(repository, digest)
        for _ in range(_ROUNDS):
            began = self._terms.pace()
            await self._entries.put(references)
            await self.join(repository, digest, 0, NO_CHARGE, stands)
            if self._terms.pace() - began <= self._terms.patience:
                return
        raise PreconditionFailed(keys.blob(repository, digest))

    async def hide(self, repository: Place, digest: Digest) -> bool:
        """Take the blob out of the repository, for clients. ``False`` if it holds none."""
        for _ in range(_ROUNDS):
            member = await self.read(repository, digest)
            if member is None:
                return False
            try:
                if await self.swap(repository, digest, member, Event.HIDE):
                    return True
            except Gone:
                return False
        raise PreconditionFailed(keys.blob(repository, digest))


def member_name(repository: Place, digest: Digest) -> str:
    """What the coordinator calls a membership."""
    return f"blob/{repository}/{digest}"
