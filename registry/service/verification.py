"""What content really is: its digest, as its bytes were hashed when they came, or read again."""

from registry.service.hashing import hashed
from registry.service.intake import Intake
from registry.service.presence import exists
from registry.service.records import UploadRecord
from registry.service.session_records import SessionRecords, Standing
from registry.service.sessions import algorithm_of
from registry.spec.digest import Digest, Hasher
from registry.spec.names import SessionId
from storage import keys
from storage.ports import ContentStore, ContentWriter


class Verification:
    """Finishes the content of uploads, and finds its digest."""

    def __init__(self, store: ContentStore, records: SessionRecords) -> None:
        self._store = store
        self._records = records

    async def finish(
        self,
        session: SessionId,
        standing: Standing,
        intake: Intake,
        digest: Digest,
        *,
        write: bool,
    ) -> tuple[Digest, int]:
        """Finish the content if its digest is the expected one; return its digest and size.

        Unless it is to ``write`` its bytes, they are kept elsewhere.
        """
        actual = await intake.digest()
        if actual is not None and actual.algorithm == digest.algorithm:
            if actual != digest or not write:
                return actual, intake.offset
            await self._records.prepare(session, standing, intake.offset)
            return actual, await intake.finish()
        # The hash is not known, or the client names the algorithm last: read it again. Content that
        # stood there before may be named by a digest already, and stays.
        data = standing.data
        stood = await exists(self._store, data)
        size = await intake.finish()
        named = standing.apart or digest.algorithm == algorithm_of(session)
        if named:
            actual = await self._hash_again(data, digest.algorithm)
        else:
            standing.data = keys.data_by(session, digest.algorithm)
            actual = await self._copy(data, standing.data, digest)
        if not stood and (actual != digest or not named):
            await self._store.delete(data)
        return actual, size

    async def _copy(self, data: str, copy: str, digest: Digest) -> Digest:
        """Copy content to another key if it has that digest; return the one that it has."""
        async with self._store.append(copy, "") as writer:
            actual = await self._hash_again(data, digest.algorithm, writer)
            if actual == digest:
                await writer.finish(settled=False)
                return actual
        await self._store.abandon(copy, "")
        return actual

    async def _hash_again(
        self, data: str, algorithm: str, writer: ContentWriter | None = None
    ) -> Digest:
        """Read content for its digest; ``writer`` gets the bytes as well."""
        hasher = Hasher(algorithm)
        async with self._store.open(data) as reader:
            async for piece in hashed(reader, hasher):
                if writer is not None:
                    await writer.write(piece)
        return hasher.digest()


def running_hash(record: UploadRecord, algorithm: str) -> Hasher | None:
    """The running hash; ``None`` where its state could not be kept, or is not that of the bytes."""
    if not record.written:
        return Hasher(algorithm)
    hasher = Hasher.restore(record.hashed) if record.hashed is not None else None
    return hasher if hasher is not None and hasher.length == record.offset else None
