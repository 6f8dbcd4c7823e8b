"""The records of upload sessions: who writes, how far each is, and how one ends."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.records import UploadRecord
from registry.service.remembered import Kept
from registry.service.sessions import OPENING, age
from registry.spec.errors import UploadConflict, UploadUnknown
from registry.spec.names import SessionId
from registry.spec.upload import State
from storage import keys
from storage.coordination import Coordinator, LeaseHeld
from storage.ports import AlreadyExists, ContentStore, NotFound, PreconditionFailed

_CLOSED = 1024 * 1024
"""Bytes for the names of sessions that this process closed and that left no trace in the store."""


@dataclass(slots=True)
class Standing:
    """A session as the store has it: its record, and the version that the next save replaces.

    ``lost`` once another writer has saved it meanwhile: nothing that this one does counts any more.
    ``tenant`` is written down with what is saved.
    """

    record: UploadRecord
    version: str | None = None
    lost: bool = False
    tenant: str = ""


class SessionRecords:
    """Reads and swaps the records of sessions. Each change is one compare-and-swap."""

    def __init__(self, store: ContentStore, coordinator: Coordinator) -> None:
        self._store = store
        self._coordinator = coordinator
        self.closed: Kept[bool] = Kept(_CLOSED, lambda _: 150)
        """Sessions that this process closed, and that left no trace in the store."""

    @asynccontextmanager
    async def writing(self, session: SessionId) -> AsyncIterator[Standing]:
        """Be the only one that writes to the session; ``UploadConflict`` where another does."""
        async with AsyncExitStack() as stack:
            try:
                # A client whose request broke comes again at once, and may meet the lease that a
                # dead replica left behind.
                lapse = self._coordinator.lapse
                lease = self._coordinator.hold(_lease(session), wait=lapse + 1 if lapse else 0)
                await stack.enter_async_context(lease)
            except LeaseHeld:
                raise UploadConflict((await self.load(session)).record.offset) from None
            yield await self.load(session)

    async def offset(self, session: SessionId) -> int:
        """How many bytes are safe; ``UploadUnknown`` where the session is over."""
        record = (await self.load(session)).record
        over = record.state in (State.ABORTED, State.COMMITTED)
        if over or (record.offset == 0 and await self.stands(session)):
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
            return Standing(UploadRecord(state=State.COMMITTED if closed else State.OPEN))
        return Standing(UploadRecord.decode(value.data), value.version)

    async def save(self, session: SessionId, standing: Standing, record: UploadRecord) -> None:
        """Swap the session's record for ``record``; ``UploadConflict`` where it has moved on.

        A record that is there already is this one, saved by a call whose answer was lost.
        """
        key, data = keys.upload(session), record.encode()
        try:
            if standing.version is None:
                version = await self._store.create(key, data, durable=False)
            else:
                version = await self._store.replace(key, data, standing.version, durable=False)
        except (AlreadyExists, PreconditionFailed):
            found = await self.load(session)
            if found.record != record or found.version is None:
                standing.lost = True
                raise UploadConflict(await self.offset(session)) from None
            version = found.version
        standing.record, standing.version = record, version

    async def abort(self, session: SessionId, standing: Standing, state: State) -> None:
        """End the session, then free its bytes; its record stays until its id can't be used.

        In this order: what another writer has recorded meanwhile is not freed.
        """
        progress = standing.record.progress
        await self.save(session, standing, UploadRecord(progress=progress, state=state))
        await self._store.abandon(keys.data(session), progress)

    async def discard(self, session: SessionId, standing: Standing) -> None:
        """Free the session's bytes, then forget it."""
        await self._store.abandon(keys.data(session), standing.record.progress)
        await self._store.delete(keys.upload(session), durable=False)

    async def drop(self, oldest: int, over: Callable[[SessionId, UploadRecord], bool]) -> int:
        """Drop the sessions that are ``over``, of those that are ``oldest`` seconds old or more."""
        dropped = 0
        async for key in every_key(self._store, keys.UPLOADS):
            session = SessionId(keys.last_segment(key))
            if age(session) < oldest:
                continue
            with suppress(LeaseHeld, UploadUnknown):
                if over(session, (await self.load(session)).record):
                    async with self._coordinator.hold(_lease(session)):
                        standing = await self.load(session)
                        if over(session, standing.record):
                            await self.discard(session, standing)
                            dropped += 1
        return dropped

    async def stands(self, session: SessionId) -> bool:
        """Whether the session's content was finished."""
        return await exists(self._store, keys.data(session))


def _lease(session: SessionId) -> str:
    return f"upload/{session}"
