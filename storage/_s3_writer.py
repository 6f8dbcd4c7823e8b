"""Content on its way into the bucket: parts in flight while the next bytes come."""

import contextlib
from typing import final

from storage._s3_bucket import Bucket, ConditionFailed
from storage._s3_budget import Share
from storage._s3_parts import Parts
from storage._s3_plan import MIN_PART, PartPlan
from storage._s3_progress import Progress, Tail, new_token
from storage._s3_standing import Standing
from storage._s3_unfinished import clear, note, tail_key
from storage._s3_wire import Piece, both
from storage.ports import AlreadyExists, NotFound, Unavailable

Data = bytes | bytearray | memoryview


@final
class S3Writer:
    """As the port's ``ContentWriter``.

    Content below one part is kept in memory and put as an object at the end. Else its parts are
    sent as they fill up. Where the content is finished already nothing is sent: what is written
    is compared with it. What is kept in memory is taken from ``share`` before.
    """

    def __init__(
        self, bucket: Bucket, plan: PartPlan, key: str, progress: Progress, share: Share
    ) -> None:
        self._bucket = bucket
        self._plan = plan
        self._key = key
        self._saved = progress
        self._token = progress.token
        self._offset = progress.offset
        self._buffer: list[Piece] = []
        self._buffered = 0
        self._share = share
        self._reserved = 0
        self._parts = Parts(bucket, plan, key, progress, share)
        self._standing: Standing | None = None
        self._wrote = False
        self._finished: int | None = None

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._offset

    async def resume(self) -> None:
        """Find what the progress tells of; ``NotFound`` if it is gone."""
        saved = self._saved
        standing, found = await both(
            Standing.find(self._bucket, self._key, saved.offset), self._find(saved)
        )
        if standing is None and not found:
            # Whoever finishes it makes the object first, and then takes the rest away.
            standing = await Standing.find(self._bucket, self._key, saved.offset)
            if standing is None:
                raise NotFound(self._key)
        if standing is not None:
            self._standing = standing
            self._drop()

    async def write(self, data: Data) -> None:
        """As the port's ``write``."""
        if self._finished is not None:
            raise ValueError(f"{self._key}: it is finished")
        piece = bytes(data) if isinstance(data, bytearray) else data
        if not piece:
            return
        if self._standing is None:
            await self._make_room(len(piece))
        if self._standing is None:
            await self._reserve(len(piece))
            self._buffer.append(piece)
            self._buffered += len(piece)
        else:
            await self._standing.compare(piece)
        self._offset += len(piece)
        self._wrote = True
        if self._buffered >= self._plan.size(self._parts.next):
            await self._send()

    async def checkpoint(self) -> str:
        """As the port's ``checkpoint``."""
        if self._finished is None and self._offset:
            await self._save()
        return self._saved.encode()

    async def finish(self, *, settled: bool = True) -> int:  # noqa: ARG002  every write is settled
        """As the port's ``finish``."""
        if self._finished is None:
            self._finished = await self._finish()
            tails = self._saved.tail is not None or bool(self._saved.parts)
            await clear(self._bucket, self._key, self._token, tails=tails)
        return self._finished

    async def close(self) -> None:
        """Wait for what is in flight; drop an upload that no progress tells of."""
        await self._parts.settle()
        self._drop()
        self._share.close()
        if self._standing is not None:
            await self._standing.close()
        if self._finished is None and self._parts.upload != self._saved.upload:
            with contextlib.suppress(Unavailable):
                await self._bucket.abort(self._key, self._parts.upload)
                await clear(self._bucket, self._key, self._token, tails=False)

    # resuming

    async def _find(self, saved: Progress) -> bool:
        """Whether upload and tail are there, as far as the progress tells of any."""
        try:
            await both(self._read_tail(saved.tail), self._check_upload(saved))
        except NotFound:
            return False
        return bool(saved.parts or saved.tail)

    async def _read_tail(self, tail: Tail | None) -> None:
        if tail is None:
            return
        await self._reserve(tail.size)
        value = await self._bucket.get(tail_key(self._key, tail.slot))
        if value.version != tail.etag or len(value.data) != tail.size:
            raise NotFound(self._key)
        self._buffer = [value.data]
        self._buffered = tail.size

    async def _check_upload(self, saved: Progress) -> None:
        if saved.upload:
            await self._bucket.check_upload(self._key, saved.upload)

    # sending

    async def _send(self) -> None:
        """Send what is buffered as a part; wait only while too many are in flight."""
        if not self._parts.upload and not await self._begin():
            return
        await self._parts.room()
        body, reserved = self._buffer, self._reserved
        self._buffer, self._buffered, self._reserved = [], 0, 0
        self._parts.send(body, reserved)

    async def _make_room(self, size: int) -> None:
        """Send a part as it is, if it may be small and there is no memory for more."""
        small = self._plan.size(self._parts.next) == self._plan.first
        if small and self._buffered >= MIN_PART and not self._share.fits(size):
            await self._send()

    async def _reserve(self, size: int) -> None:
        """Have memory for so many bytes more; all that a larger part takes before its first."""
        wanted, part = self._buffered + size, self._plan.size(self._parts.next)
        if part > self._plan.first:
            wanted = max(wanted, part)
        if wanted > self._reserved:
            await self._share.take(wanted - self._reserved)
            self._reserved = wanted

    def _drop(self) -> None:
        """Forget what is buffered."""
        self._share.give(self._reserved)
        self._buffer, self._buffered, self._reserved = [], 0, 0

    async def _begin(self) -> bool:
        """Begin the multipart upload; ``False`` if finished content was found instead."""
        self._token = new_token()
        standing, _ = await both(self._look(), note(self._bucket, self._key, self._token))
        if not standing:
            await self._parts.begin(self._token)
        return not standing

    async def _look(self) -> bool:
        """Before anything is stored: whether there is finished content. Then compare with it."""
        start = self._offset - self._buffered
        self._standing = await Standing.find(self._bucket, self._key, start)
        if self._standing is None:
            return False
        for piece in self._buffer:
            await self._standing.compare(piece)
        self._drop()
        return True

    async def _save(self) -> None:
        if self._buffered >= MIN_PART:
            await self._send()
        elif self._standing is None and not (self._saved.offset or self._parts.upload):
            await self._look()
        if self._standing is not None:
            self._saved = Progress(1, self._offset)
            return
        tail, parts = await both(self._keep_tail(), self._parts.all())
        self._saved = Progress(
            1, self._offset - self._buffered, self._parts.upload, self._token, parts, tail
        )

    async def _keep_tail(self) -> Tail | None:
        before = self._saved.tail
        if not self._buffered:
            return None
        if before and self._offset == self._saved.offset:
            return before
        slot = 1 - before.slot if before else 0
        etag = await self._bucket.put(tail_key(self._key, slot), self._buffer)
        return Tail(0 if slot == 0 else 1, self._buffered, etag)

    # finishing

    async def _finish(self) -> int:
        if self._standing is None and self._parts.upload:
            return await self._complete()
        if self._standing is None:
            try:
                await self._bucket.put(self._key, self._buffer, absent=True)
            except ConditionFailed:
                return await self._compare_all()
            return self._offset
        if self._wrote and self._standing.size != self._offset:
            raise AlreadyExists(self._key)
        return self._standing.size

    async def _compare_all(self) -> int:
        """What stands there already may be the same: then its writer's answer was lost."""
        standing = await Standing.find(self._bucket, self._key, 0)
        if standing is None:
            raise Unavailable(self._key, "it came and went")
        try:
            if self._wrote:
                if standing.size != self._offset:
                    raise AlreadyExists(self._key)
                for piece in self._buffer:
                    await standing.compare(piece)
        finally:
            await standing.close()
        return standing.size

    async def _complete(self) -> int:
        if self._buffered:
            await self._send()
        try:
            parts = await self._parts.all()
            pairs = [(part.etag, part.crc) for part in parts]
            await self._bucket.complete(self._key, self._parts.upload, pairs)
        except (ConditionFailed, NotFound):
            return await self._completed_before()
        return self._offset

    async def _completed_before(self) -> int:
        """The upload is gone, or the object is there: it may be that this very upload made it."""
        head = await self._bucket.head(self._key)
        if head.token == self._token and head.stat.size == self._offset:
            return self._offset
        if not self._wrote:
            return head.stat.size
        raise AlreadyExists(self._key)
