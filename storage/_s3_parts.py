"""The parts of one multipart upload, some of them in flight."""

import asyncio
from collections.abc import Sequence
from typing import final

from storage._s3_bucket import Bucket
from storage._s3_budget import Share
from storage._s3_plan import MAX_PARTS, PartPlan
from storage._s3_progress import Part, Progress
from storage._s3_wire import Piece
from storage.outlast import outlast
from storage.ports import NotFound, StorageError, Unavailable


@final
class Parts:
    """Sends parts, a few at a time, and knows what the store has of them."""

    def __init__(
        self, bucket: Bucket, plan: PartPlan, key: str, progress: Progress, share: Share
    ) -> None:
        """Go on behind the parts of ``progress``. What is sent is given back to ``share``."""
        self._bucket = bucket
        self._plan = plan
        self._key = key
        self._share = share
        self.upload = progress.upload
        self._sent: list[Part | None] = list(progress.parts)
        self._running: set[asyncio.Task[None]] = set()
        self._failure: StorageError | None = None

    @property
    def next(self) -> int:
        """The number of the next part, from 1."""
        return len(self._sent) + 1

    async def begin(self, token: str) -> None:
        """Begin the upload."""

        async def begin() -> None:
            self.upload = await self._bucket.begin(self._key, token)

        await outlast(begin())

    async def room(self) -> None:
        """Wait while there are as many in flight as may be."""
        if self.next > MAX_PARTS:
            raise Unavailable(self._key, f"it is too large: a store takes {MAX_PARTS} parts")
        while len(self._running) >= self._plan.ahead(self.next):
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        self._check()

    def send(self, body: Sequence[Piece], reserved: int) -> None:
        """Put a part in flight, for which so many bytes are held."""
        number = self.next
        self._sent.append(None)
        task = asyncio.ensure_future(self._put(number, body, reserved))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def all(self) -> Sequence[Part]:
        """Wait for those in flight and return all; ``Unavailable`` if one could not be sent."""
        await self.settle()
        self._check()
        return tuple([part for part in self._sent if part is not None])

    async def settle(self) -> None:
        """Wait until none is in flight."""
        while self._running:
            await asyncio.wait(self._running)

    def _check(self) -> None:
        if isinstance(self._failure, NotFound):
            raise NotFound(self._key)
        if self._failure is not None:
            message = str(self._failure).removeprefix(f"{self._key}: ")
            raise Unavailable(self._key, message) from self._failure

    async def _put(self, number: int, body: Sequence[Piece], reserved: int) -> None:
        try:
            sums = await asyncio.to_thread(self._bucket.sums, body)
            etag, crc = await self._bucket.put_part(self._key, self.upload, number, body, sums)
            self._sent[number - 1] = Part(etag, crc)
        except StorageError as error:
            self._failure = error
        finally:
            self._share.give(reserved)
