"""The records of upload sessions: who writes, how far each is, and how one ends."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.quotas.quotas import Quotas
from registry.service.records import Corrupt, UploadRecord
from registry.service.remembered import Kept
from registry.service.sessions import OPENING, age
from registry.service.unreadable import tell_unreadable
from registry.spec.errors import UploadConflict, UploadUnknown
from registry.spec.names import SessionId
from registry.spec.quota import Amounts
from registry.spec.upload import State
from storage import keys
from storage.coordination import Coordinator, LeaseHeld
from storage.ports import AlreadyExists, ContentStore, NotFound, PreconditionFailed

_CLOSED = 1024 * 1024
"""Bytes for the names of sessions that this process closed and that left no trace in the store."""


@dataclass(slots=True)
class Standing:
    """A session as the store has it: its record, and the version that the next save replaces.

    ``data`` is the key for its bytes.
    ``lost`` once another writer has saved it meanwhile: nothing that this one does counts any more.
    ``apart``: this request's bytes go to a key that no record tells of, and are not saved before
    they are named. ``tenant`` is written down with what is saved. ``charge`` pays for what is.
    ``marked`` once this request has marked it as FINISHING.
    """

    record: UploadRecord
    data: str
    version: str | None = None
    lost: bool = False
    apart: bool = False
    tenant: str = ""
    charge: Charge = NO_CHARGE
    marked: bool = False


class SessionRecords:
    """Reads and swaps the records of sessions. Each change is one compare-and-swap."""

    def __init__(self, store: ContentStore, coordinator: Coordinator, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas
        self._coordinator = coordinator
        self.closed: Kept[bool] = Kept(_CLOSED, lambda _: 150)
        """Sessions that this process closed, and that left no trace in the store."""

    @asynccontextmanager
    async def writing(self, session: SessionId, tenant: str) -> AsyncIterator[Standing]:
        """Be the only one that writes to the session; ``UploadConflict`` where another does.

        It is one of the project with the id ``tenant``, whose quota pays for it.
        """
        async with AsyncExitStack() as stack:
            charge = await stack.enter_async_context(self._quotas.charging(tenant))
            try:
                # A client whose request broke comes again at once, and may meet the lease that a
                # dead replica left behind.
                lapse = self._coordinator.lapse
                lease = self._coordinator.hold(_lease(session), wait=lapse + 1 if lapse else 0)
                await stack.enter_async_context(lease)
            except LeaseHeld:
                raise UploadConflict((await self.load(session)).record.offset) from None
            standing = await self.load(session)
            standing.tenant, standing.charge = tenant, charge
            yield standing

    async def offset(self, session: SessionId) -> int:
        """How many bytes are safe; ``UploadUnknown`` where the session is over."""
        record = (await self.load(session)).record
        over = record.state in (State.ABORTED, State.COMMITTED)
        if over or (record.offset == 0 and await exists(self._store, keys.data(session))):
            raise UploadUnknown(session)
        return record.offset

    async def load(self, session: SessionId) -> Standing:
        """The session as it is. One without a record is open, until it is too late to begin."""
        try:
            value = await self._store.get(keys.upload(session))
        except NotFound:
            if age(session) > OPENING:
                raise UploadUnknown(session) from None
            closed = self.closed.find(session) is not None
            record = UploadRecord(state=State.COMMITTED if closed else State.OPEN)
            return Standing(record, keys.data(session))
        record = UploadRecord.decode(value.data)
        return Standing(record, record.data or keys.data(session), value.version)

    async def save(
        self,
        session: SessionId,
        standing: Standing,
        record: UploadRecord,
        *,
        durable: bool = False,
    ) -> None:
        """Swap the session's record for ``record``; ``UploadConflict`` where it has moved on.

        A record that is there already is this one, saved by a call whose answer was lost.
        """
        key, data = keys.upload(session), record.encode()
        try:
            if standing.version is None:
                version = await self._store.create(key, data, durable=durable)
            else:
                version = await self._store.replace(key, data, standing.version, durable=durable)
        except (AlreadyExists, PreconditionFailed):
            found = await self.load(session)
            if found.record != record or found.version is None:
                standing.lost = True
                raise UploadConflict(await self.offset(session)) from None
            version = found.version
        standing.record, standing.version = record, version

    async def checkpoint(
        self, session: SessionId, standing: Standing, record: UploadRecord
    ) -> None:
        """Save how far the session is. Its bytes count from then on, as the session's.

        One that was marked stays so: its bytes may have paid for a blob, whatever comes yet.
        """
        before, charge = standing.record, standing.charge
        charged = before.charged
        if before.state is State.FINISHING:
            record = msgspec.structs.replace(record, state=before.state, owner=before.owner)
        grown = record.offset - charged if charge.limited else 0
        record = msgspec.structs.replace(record, tenant=standing.tenant, charged=charged + grown)
        async with charge.storing(Amounts(bytes=grown)) as storing:
            try:
                await self.save(session, standing, record)
            except UploadConflict:
                storing.was_there()
                raise

    async def prepare(self, session: SessionId, standing: Standing, size: int) -> None:
        """See to it that the blob of so many bytes that the session becomes can be paid for.

        Where as much is free it is paid for anew, and the session's bytes are given back with its
        record: that spares a write. Else the session is marked, so that nobody
        else gives its bytes back, and they become those of the blob. That is durable: a session
        that is open has paid for nothing. Who takes up one that was marked before pays for the
        blob anew: its bytes may have paid for one already. May be repeated.
        """
        record, charge = standing.record, standing.charge
        if standing.marked or not (charge.limited and record.charged):
            return
        if record.state is State.OPEN and charge.spare(Amounts(bytes=size)):
            return
        standing.marked = True
        owner = secrets.token_hex(8)
        marked = msgspec.structs.replace(record, state=State.FINISHING, owner=owner)
        await self.save(session, standing, marked, durable=True)
        if record.state is State.OPEN:
            charge.adopt(record.charged)

    async def forget(self, session: SessionId, standing: Standing) -> None:
        """Forget a session that is over: its content can't change any more.

        Where its bytes counted, and paid for no blob, they are given back: by whoever removes its
        record as it was loaded, since another may have taken it up.
        """
        if standing.version is None:
            return
        key, record, charge = keys.upload(session), standing.record, standing.charge
        left = record.charged if record.state is State.OPEN else charge.adopted
        if not (left and charge.limited):
            await self._store.delete(key, durable=False)
            return
        seen = await charge.round()
        with suppress(PreconditionFailed):
            if await self._store.delete(key, version=standing.version, durable=False):
                charge.removed(Amounts(bytes=left), seen)

    async def abort(self, session: SessionId, standing: Standing, state: State) -> None:
        """End the session, then free its bytes; its record stays until its id can't be used.

        In this order: what another writer has recorded meanwhile is not freed, nor given back.
        """
        await self._end(session, standing, state)
        await self._store.abandon(standing.data, standing.record.progress)

    async def _end(self, session: SessionId, standing: Standing, state: State) -> None:
        record, charge = standing.record, standing.charge
        # Those that counted differ from what any other writer saves: one of them gives back.
        owner = secrets.token_hex(8) if record.charged else ""
        seen = await charge.round() if owner else 0
        ended = UploadRecord(progress=record.progress, state=state, owner=owner, data=record.data)
        await self.save(session, standing, ended, durable=bool(owner))
        if owner and record.state is State.OPEN and not await self._became(standing):
            # After a power cut a marked one may be open again; its content stands then.
            charge.removed(Amounts(bytes=record.charged), seen)

    async def discard(self, session: SessionId, standing: Standing) -> None:
        """Free the session's bytes, then forget it."""
        if standing.record.charged:
            await self._end(session, standing, State.ABORTED)
        await self._store.abandon(standing.data, standing.record.progress)
        await self._store.delete(keys.upload(session), durable=False)

    async def drop(self, oldest: int, over: Callable[[SessionId, UploadRecord], bool]) -> int:
        """Drop the sessions that are ``over``, of those that are ``oldest`` seconds old or more.

        One whose record can't be read is left, and logged.
        """
        dropped = 0
        async for key in every_key(self._store, keys.UPLOADS):
            session = SessionId(keys.last_segment(key))
            if age(session) < oldest:
                continue
            try:
                dropped += await self._drop(session, over)
            except Corrupt as error:
                tell_unreadable(key, error)
        return dropped

    async def _drop(
        self, session: SessionId, over: Callable[[SessionId, UploadRecord], bool]
    ) -> bool:
        with suppress(LeaseHeld, UploadUnknown):
            if over(session, (await self.load(session)).record):
                async with self._coordinator.hold(_lease(session)):
                    standing = await self.load(session)
                    if over(session, standing.record):
                        tenant = standing.record.tenant
                        async with self._quotas.charging(tenant) as standing.charge:
                            await self.discard(session, standing)
                        return True
        return False

    async def _became(self, standing: Standing) -> bool:
        """Whether the bytes of an open session may be those of a blob: its end was not told.

        Those that its record holds are not: who makes a blob of them marks it before.
        """
        return not standing.record.content and await exists(self._store, standing.data)


def _lease(session: SessionId) -> str:
    return f"upload/{session}"
