"""Upload sessions: bytes in order, from any worker, until a digest closes them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from registry.service.blobs import SMALL, Blob, Blobs
from registry.service.data_keys import DataKeys
from registry.service.intake import Chunk, Intake
from registry.service.pointers import ContentGone
from registry.service.presence import exists
from registry.service.quotas.quotas import Quotas
from registry.service.records import UploadRecord
from registry.service.session_records import SessionRecords, Standing
from registry.service.sessions import LIFETIME, OPENING, Sessions, age, algorithm_of
from registry.service.terms import Terms
from registry.service.verification import Verification, running_hash
from registry.spec.digest import Digest, Hasher
from registry.spec.errors import (
    BlobUnknown,
    DigestMismatch,
    QuotaExceeded,
    RangeInvalid,
    UploadUnknown,
)
from registry.spec.names import Place, SessionId
from registry.spec.quota import Amounts
from registry.spec.upload import Event, State, advance, check_append
from storage import keys
from storage.coordination import Coordinator
from storage.outlast import outlast
from storage.ports import (
    AlreadyExists,
    ContentStore,
    ContentWriter,
    NotFound,
    StorageError,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session is: the next byte's offset."""

    session: SessionId
    offset: int


class Uploads:
    """Opens, feeds, closes and cancels upload sessions.

    A session belongs to one repository and one principal; to anyone else it is unknown. One
    request at a time writes to it: a lease sees to that, and where a lease was lost (a process
    frozen for longer than it lasts), the record does, which is only ever swapped for the one that
    was loaded. A session has no record before its first bytes are safe, nor after it was finished.

    Small content that comes with one request is stored with its name, and nothing else tells that
    its session was ever used. The process that closed it says that it is unknown, as of any that
    is over; another takes it for one that has no bytes yet, which does no harm.
    """

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        blobs: Blobs,
        terms: Terms,
        quotas: Quotas,
    ) -> None:
        """Keep sessions and their bytes in ``store``; finished ones become ``blobs``."""
        self._quotas = quotas
        self._store = store
        self._blobs = blobs
        self._sessions = Sessions(store)
        self._records = SessionRecords(store, coordinator, quotas)
        self._data_keys = DataKeys(store, terms)
        self._verification = Verification(store, self._records)

    async def start(self, repository: Place, principal: str, algorithm: str = "sha256") -> Progress:
        """Open a session (end-4a, end-4c). Nothing is stored before its first byte comes.

        ``QuotaExceeded`` where not one byte more fits into the project.
        """
        async with self._quotas.charging(repository.tenant) as charge:
            await charge.room()
        return Progress(await self._sessions.issue(repository, principal, algorithm), 0)

    async def status(self, repository: Place, session: SessionId, principal: str) -> Progress:
        """Return how many bytes are safe (end-13); ``UploadUnknown`` if there is no session."""
        await self._sessions.check(session, repository, principal)
        return Progress(session, await self._records.offset(session))

    async def append(
        self, repository: Place, session: SessionId, principal: str, chunk: Chunk
    ) -> Progress:
        """Take a chunk (end-5). When it returns the bytes are durable.

        ``RangeInvalid`` where the chunk does not start at the offset; ``UploadConflict`` where
        another request writes, or has written meanwhile. When the body breaks off, what came of it
        is kept, and the client goes on from the offset that ``status`` tells. ``QuotaExceeded``
        where it does not fit into the project: then the session is over.
        """
        await self._sessions.check(session, repository, principal)
        async with self._records.writing(session, repository.tenant) as standing:
            record, algorithm = standing.record, algorithm_of(session)
            standing.data = self._data_keys.choose(session, standing, algorithm)
            advance(record.state, Event.APPEND, session)
            check_append(record.offset, chunk.content_range, chunk.length)
            hasher = running_hash(record, algorithm)
            async with (
                self._fitting(session, standing, chunk),
                self._receiving(session, standing, hasher, self._store.value_bytes) as intake,
            ):
                if record.progress:
                    await intake.writer()
                try:
                    await self._take(session, standing, intake, chunk)
                finally:
                    await outlast(self._checkpoint(session, standing, intake))
            return Progress(session, intake.offset)

    async def finish(
        self,
        repository: Place,
        session: SessionId,
        principal: str,
        digest: Digest,
        chunk: Chunk,
    ) -> Blob:
        """Take the last chunk, if any, and close the session under ``digest`` (end-6).

        When it returns the blob is durable and the repository holds it. ``DigestMismatch`` ends
        the session, and nothing of it stays. Repeating a finish that succeeded succeeds again, as
        long as the repository holds the blob. ``QuotaExceeded`` as in ``append``.
        """
        await self._sessions.check(session, repository, principal)
        async with self._records.writing(session, repository.tenant) as standing:
            record = standing.record
            advance(record.state, Event.FINISH, session)
            try:
                if chunk.length != 0:
                    check_append(record.offset, chunk.content_range, chunk.length)
                elif record.offset == 0:
                    blob = await self._finished(repository, digest)
                    if blob is not None:
                        return blob
                return await self._close(repository, session, standing, digest, chunk)
            except (UploadUnknown, RangeInvalid, DigestMismatch, QuotaExceeded):
                # Where others had the content first, an end that broke off has dropped this one's.
                # And one that had succeeded may have taken the room that was left.
                blob = await self._finished(repository, digest)
                # A last chunk that comes again is none of an open session: whose bytes are they?
                if blob is None or (chunk.length != 0 and blob.data != standing.data):
                    raise
                await self._records.forget(session, standing)
                return blob

    async def upload(self, repository: Place, principal: str, digest: Digest, chunk: Chunk) -> Blob:
        """Take a whole blob in one request (end-4b). As ``start`` and ``finish`` in one."""
        session = await self._sessions.issue(repository, principal, digest.algorithm)
        async with self._quotas.charging(repository.tenant) as charge:
            data = keys.data(session)
            standing = Standing(UploadRecord(), data, tenant=repository.tenant, charge=charge)
            try:
                return await self._close(repository, session, standing, digest, chunk)
            except BaseException:
                await outlast(self._records.discard(session, standing))
                raise

    async def cancel(self, repository: Place, session: SessionId, principal: str) -> None:
        """Drop the session and its bytes (end-14). ``UploadUnknown`` if there is none."""
        await self._sessions.check(session, repository, principal)
        async with self._records.writing(session, repository.tenant) as standing:
            state = advance(standing.record.state, Event.CANCEL, session)
            over = standing.record.state is State.ABORTED
            if over or await exists(self._store, standing.data):
                raise UploadUnknown(session)
            await self._records.abort(session, standing, state)

    async def expire(self) -> int:
        """Drop every session whose time is over, and bytes that killed processes left without one.

        Return how many there were. May run at any time, in several processes. Costs one listing of
        the sessions that have a record, nothing for blobs that are there.
        """
        dropped = await self._records.drop(
            OPENING,
            lambda session, record: record.state is State.ABORTED or age(session) > LIFETIME,
        )
        return dropped + await self._store.sweep(LIFETIME + OPENING)

    async def drop_of(self, tenant: str) -> int:
        """Drop every session of a project that is no more; return their number.

        One that is being written to is left: its request ends, and the next one is refused.
        """
        return await self._records.drop(0, lambda _, record: record.tenant == tenant)

    async def _close(
        self,
        repository: Place,
        session: SessionId,
        standing: Standing,
        digest: Digest,
        chunk: Chunk,
    ) -> Blob:
        await self._data_keys.check_young(session, standing)
        standing.data = self._data_keys.choose(session, standing, digest.algorithm)
        hasher = running_hash(standing.record, digest.algorithm)
        async with (
            self._fitting(session, standing, chunk),
            self._receiving(session, standing, hasher, SMALL) as intake,
        ):
            try:
                await self._take(session, standing, intake, chunk)
            except BaseException:
                await outlast(self._checkpoint(session, standing, intake))
                raise
            # Where the last of it came with this request, the object that is named tells whose
            # bytes these were, when the request is repeated.
            resumed = standing.record.offset > 0 and chunk.length != 0
            whole = None if resumed or intake.offset > SMALL else intake.whole
            actual, size = await self._verification.finish(
                session, standing, intake, digest, write=whole is None
            )
        if actual != digest:
            state = advance(State.FINISHING, Event.MISMATCH, session)
            await self._records.abort(session, standing, state)
            raise DigestMismatch(digest, actual)
        await self._records.prepare(session, standing, size)
        charge = standing.charge
        if whole is None:
            try:
                blob = await self._blobs.publish(repository, digest, standing.data, size, charge)
            except ContentGone:
                raise UploadUnknown(session) from None
        else:
            blob = await self._blobs.publish_small(repository, digest, whole, charge)
        self._records.closed.keep(session, value=True)
        await self._records.forget(session, standing)
        return blob

    @asynccontextmanager
    async def _fitting(
        self, session: SessionId, standing: Standing, chunk: Chunk
    ) -> AsyncIterator[None]:
        """Take a chunk inside that fits into the project; else end the session.

        It can't be finished then; what is left of it would take the room that there is.
        """
        try:
            if chunk.length is not None:
                await standing.charge.hold(Amounts(bytes=chunk.length))
            yield
        except QuotaExceeded:
            if standing.lost or standing.version is not None:
                await outlast(self._records.abort(session, standing, State.ABORTED))
            raise

    async def _finished(self, repository: Place, digest: Digest) -> Blob | None:
        """The blob, where an earlier answer to this finish may have been lost on its way."""
        try:
            return await self._blobs.find(repository, digest)
        except BlobUnknown:
            return None

    @asynccontextmanager
    async def _receiving(
        self, session: SessionId, standing: Standing, hasher: Hasher | None, most: int
    ) -> AsyncIterator[Intake]:
        """Take bytes inside; up to ``most`` are held, for the session's record or the blob's."""
        record = standing.record
        try:
            async with AsyncExitStack() as stack:

                async def begin() -> ContentWriter:
                    context = self._store.append(standing.data, record.progress)
                    return await stack.enter_async_context(context)

                every, kept = self._store.checkpoint_bytes, record.content
                offset = record.offset - len(kept)
                intake = Intake(begin, offset, hasher, every, kept=kept, most=most)
                try:
                    yield intake
                finally:
                    await intake.settle()
        except BaseException as error:
            if standing.data not in (keys.data(session), standing.record.data):
                # Nobody knows the key, so nobody else would.
                with suppress(StorageError):
                    await outlast(self._store.abandon(standing.data, ""))
            if not isinstance(error, (AlreadyExists, NotFound)):
                raise
            # Its content was finished with other bytes, or is gone: the session is over.
            raise UploadUnknown(session) from None

    async def _take(
        self, session: SessionId, standing: Standing, intake: Intake, chunk: Chunk
    ) -> None:
        body = chunk.checked(standing.record.offset)
        if standing.charge.limited:
            body = standing.charge.metered(body)
        try:
            await intake.take(body, lambda: self._checkpoint(session, standing, intake))
        except (AlreadyExists, NotFound, QuotaExceeded):
            standing.lost = True  # nothing of it is kept
            raise

    async def _checkpoint(self, session: SessionId, standing: Standing, intake: Intake) -> None:
        if standing.lost or standing.apart or intake.offset == standing.record.offset:
            return
        if intake.whole is None:
            progress = await intake.checkpoint()
            data = "" if standing.data == keys.data(session) else standing.data
            record = UploadRecord(intake.offset, progress, intake.hashed(), data=data)
        else:
            record = UploadRecord(intake.offset, content=intake.whole)
        await self._records.checkpoint(session, standing, record)
