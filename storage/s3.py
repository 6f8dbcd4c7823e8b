"""An object store in a bucket of S3: Amazon's, MinIO, Ceph, SeaweedFS and the like.

::

    <prefix>moorage.json         the layout's version
    <prefix><key>                every object, finished content too
    <prefix>~tails/<slot>/<key>  the last bytes of unfinished content, too few for a part
    <prefix>~begun/<key>/<token> a multipart upload to the key may be open
    <prefix>~probe/…             what the probe tries at the start, for a moment

Unfinished content is a multipart upload at its key, which no listing is ever needed to find: the
upload session's record has its id and its parts. What a crash leaves behind (uploads, tails) is
best removed by the bucket's lifecycle rules, after longer than a session may last.
"""
# ruff: noqa: D102 - what each method does is said once, in the port

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self, final

from aiohttp import TraceConfig

from storage._grammar import check_items, check_key, check_prefix, check_range, check_value
from storage._layout import StoreRefused
from storage._s3_bucket import Abilities, Bucket, ConditionFailed, Grave, Refused
from storage._s3_budget import Budget, Share
from storage._s3_graves import Graves
from storage._s3_layout import claim
from storage._s3_listing import by_directories, directories, in_byte_order
from storage._s3_plan import MIN_PART, PartPlan
from storage._s3_probe import probe
from storage._s3_progress import Progress
from storage._s3_reader import S3Reader
from storage._s3_settings import S3Settings
from storage._s3_sign import signer
from storage._s3_unfinished import abandon, sweep
from storage._s3_wire import Wire, all_of
from storage._s3_writer import S3Writer
from storage.outlast import outlast
from storage.ports import (
    AlreadyExists,
    ContentReader,
    ContentStore,
    ContentWriter,
    Items,
    NotFound,
    PreconditionFailed,
    PresignedStore,
    Stat,
    Unavailable,
    Value,
)

__all__ = ["MIN_PART", "Abilities", "PartPlan", "S3Settings", "S3Store"]

_log = logging.getLogger("moorage.storage")

VALUE: Final = 512 * 1024
"""Bytes whose number makes a PUT little dearer: it spares a tail, and what that takes."""

CHECKPOINT: Final = 256 * 1024 * 1024
"""Bytes after which a checkpoint is worth its price: parts in flight, and a tail of up to 5 MiB."""

_SLACK: Final = 4 * 512 * 1024
"""Bytes by which an upload may fill a part beyond its size: what the last write of it brings."""

_VERSION: Final = re.compile(r"[!#-~]{1,128}").fullmatch


def _ignore(operation: str, outcome: str, seconds: float) -> None:
    pass


@final
class S3Load:
    """How busy the driver is at this moment."""

    def __init__(self, wire: Wire, budget: Budget) -> None:
        self._wire = wire
        self._budget = budget

    @property
    def in_flight(self) -> int:
        """Requests that have a connection, or wait for one."""
        return self._wire.in_flight

    @property
    def connections(self) -> int:
        """Connections that there may be."""
        return self._wire.connections

    @property
    def buffered(self) -> int:
        """Bytes of uploads' parts that are held beyond what each upload has for itself."""
        return self._budget.taken

    @property
    def buffer(self) -> int:
        """Bytes of them that may be held."""
        return self._budget.common

    @property
    def waiting(self) -> int:
        """Uploads that wait for such bytes."""
        return self._budget.waiting


@final
class S3Store:
    """A ``ContentStore`` over one bucket, made by ``S3Store.opened``.

    Any number of processes and replicas may use one bucket. Versions are ETags. ``conditional``
    tells whether ``create`` and ``replace`` are atomic by themselves; where they are not, they are
    a look and then a write, and only safe under a lease that spans both.
    """

    def __init__(self, wire: Wire, bucket: Bucket, settings: S3Settings) -> None:
        self._wire = wire
        self._bucket = bucket
        self._plan = settings.parts
        self._budget = Budget(MIN_PART + _SLACK, settings.buffer_bytes)
        self._graves = Graves(bucket, 3 * settings.total_seconds)
        self.load: Final = S3Load(wire, self._budget)

    @classmethod
    async def opened(
        cls,
        settings: S3Settings,
        observe: Callable[[str, str, float], None] = _ignore,
        *,
        create: bool = False,
        traces: Sequence[TraceConfig] = (),
    ) -> Self:
        """Connect, and find out what the store honours. ``Unavailable`` if it does not answer.

        ``StoreRefused`` where it says no, or has a layout that this release does not know: trying
        again would not help.
        ``observe`` is told of each request: operation, outcome (``2xx``…, ``error``), seconds.
        With ``create`` the bucket is made if it is missing. ``traces`` are told of the requests
        too, in the task that makes them, and may add headers that are not signed.
        """
        wire = Wire(settings, await signer(settings), observe, traces)
        await wire.open()
        try:
            bucket = Bucket(wire)
            if create:
                await bucket.make()
            bucket.honours = await probe(bucket)
            await claim(bucket)
        except Refused as error:
            await wire.close()
            place = f"bucket {settings.bucket}"
            raise StoreRefused(place, f"it can't be used: {error}") from error
        except BaseException:
            await wire.close()
            raise
        return cls(wire, bucket, settings)

    @classmethod
    async def reading(cls, settings: S3Settings) -> Self:
        """Connect to a bucket that is only read: nothing is tried out there."""
        wire = Wire(settings, await signer(settings), _ignore)
        await wire.open()
        return cls(wire, Bucket(wire), settings)

    async def close(self) -> None:
        """Close the connections, when nothing uses the store any more."""
        await self._wire.close()

    @property
    def honours(self) -> Abilities:
        """What the store was seen to do."""
        return self._bucket.honours

    @property
    def conditional(self) -> bool:
        """Whether ``create`` and ``replace`` are atomic whoever else writes."""
        return self.honours.create and self.honours.replace

    @property
    def value_bytes(self) -> int:
        return VALUE

    @property
    def checkpoint_bytes(self) -> int:
        return CHECKPOINT

    async def get(self, key: str) -> Value:
        check_key(key)
        try:
            return await self._bucket.get(key)
        except Grave as grave:
            await self._graves.clear(grave)
            raise NotFound(key) from None

    async def stat(self, key: str) -> Stat:
        check_key(key)
        return (await self._bucket.head(key)).stat

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> str:  # noqa: ARG002
        check_key(key)
        check_value(key, data)
        return await self._bucket.put(key, [data])

    async def put_all(self, *steps: Items, settled: bool = True) -> None:  # noqa: ARG002
        check_items(*steps)
        for step in steps:
            await all_of([self._bucket.put(key, [data]) for key, data in step])

    async def create(
        self,
        key: str,
        data: bytes,
        *,
        beside: Items = (),
        then: Items = (),
        durable: bool = True,  # noqa: ARG002
        settled: bool = True,  # noqa: ARG002
    ) -> str:
        check_items([(key, data)], beside, then)
        version, *_ = await all_of(
            [self._create(key, data), *(self._bucket.put(name, [value]) for name, value in beside)]
        )
        await self.put_all(then)
        return version

    async def _create(self, key: str, data: bytes) -> str:
        try:
            while True:
                try:
                    return await self._bucket.put(key, [data], absent=True)
                except ConditionFailed as failure:
                    found = await self._ours(key, data) if failure.repeated else None
                    if found is None and self.honours.delete:
                        raise
                    found = found or await self._graves.replace(key, data)
                    if found is not None:
                        return found
        except ConditionFailed:
            raise AlreadyExists(key) from None

    async def replace(
        self,
        key: str,
        data: bytes,
        version: str,
        *,
        durable: bool = True,  # noqa: ARG002
    ) -> str:
        check_key(key)
        check_value(key, data)
        if _VERSION(version) is None:
            raise PreconditionFailed(key)
        try:
            return await self._bucket.put(key, [data], version=version)
        except ConditionFailed as failure:
            if not failure.repeated:
                raise PreconditionFailed(key) from None
            found = await self._ours(key, data)
            if found is None:
                # ours may have been there for a moment, and been replaced
                raise Unavailable(key, "the answer was lost, and it has another value") from None
            return found

    async def delete(
        self,
        key: str,
        *,
        version: str | None = None,
        durable: bool = True,  # noqa: ARG002
    ) -> bool:
        check_key(key)
        if version is not None and _VERSION(version) is None:
            version = "-"  # which no object has
        try:
            if version is not None and self.honours.replace and not self.honours.delete:
                await self._graves.bury(key, version)
            else:
                await self._bucket.delete(key, version=version)
        except ConditionFailed:
            try:
                await self._bucket.head(key)
            except NotFound:
                return False
            raise PreconditionFailed(key) from None
        return True

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        check_prefix(prefix)
        if limit <= 0 or (after > prefix and not after.startswith(prefix)):
            return []
        listing = in_byte_order if self.honours.sorted else by_directories
        return await listing(self._bucket, prefix, after, limit)

    @asynccontextmanager
    async def append(self, key: str, progress: str) -> AsyncIterator[ContentWriter]:
        check_key(key)
        known = Progress.parse(key, progress)
        writer = S3Writer(self._bucket, self._plan, key, known, Share(self._budget))
        try:
            if known.offset:
                await writer.resume()
            yield writer
        finally:
            await outlast(writer.close())

    async def abandon(self, key: str, progress: str) -> None:
        check_key(key)
        await outlast(abandon(self._bucket, key, Progress.parse(key, progress)))

    async def sweep(self, older: float) -> int:
        return await sweep(self._bucket, older)

    @asynccontextmanager
    async def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[ContentReader]:
        check_key(key)
        check_range(key, start, end)
        reader = S3Reader(self._bucket, key, start, end)
        try:
            await reader.begin()
            yield reader
        finally:
            await reader.close()

    async def directories(self, prefix: str) -> AsyncIterator[str]:
        """Yield what stands before the next ``/`` in keys that start with ``prefix``, once each.

        One request a thousand, whatever is below them; in an order that does not change. What is in
        the bucket may have other names than keys.
        """
        async for name in directories(self._bucket, prefix):
            yield name

    async def take(self, key: str, source: str) -> bool:
        """Make a copy of ``<bucket>/<key>`` content at ``key``, with no byte passing here.

        It must be on the same server. ``False`` where that can't be done; may be repeated.
        """
        check_key(key)
        return await self._bucket.copy(key, source)

    async def presign(self, key: str, *, seconds: int, headers: Mapping[str, str]) -> str:
        check_key(key)
        query = {f"response-{name.lower()}": value for name, value in headers.items()}
        return await self._wire.presign(key, query, seconds)

    async def _ours(self, key: str, data: bytes) -> str | None:
        """The version of what is there, if it has these bytes: an earlier try wrote it."""
        try:
            found = await self._bucket.get(key)
        except NotFound:
            return None
        return found.version if found.data == data else None


_contents: type[ContentStore] = S3Store
_presigned: type[PresignedStore] = S3Store
