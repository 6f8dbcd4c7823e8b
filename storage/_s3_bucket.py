"""The operations of S3 on one bucket that the driver uses, and what their answers mean."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from hashlib import md5
from typing import Any, Final, Literal, NoReturn, TypeVar, final

import aiohttp
from isal import isal_zlib

from storage._locks import NamedLocks
from storage._s3_settings import escaped
from storage._s3_wire import Answer, Piece, Request, Wire, all_of
from storage._s3_xml import BadDocument, Page, completion, error_code, page, upload_id, uploads
from storage.outlast import outlast
from storage.ports import NotFound, Stat, Unavailable, Value

T = TypeVar("T")

COMPLETE_SECONDS: Final = 300.0
"""For the store to make one object of up to 10,000 parts."""

_GRAVE: Final = "x-amz-meta-deleted"
"""The header of a gravestone."""

STONE: Final = 29
"""Bytes of a gravestone: a size that little else has, so that a listing seldom needs a look."""

_LOOKS: Final = 16
"""Looks at a time, while a listing is made."""

_INLINE: Final = 64 * 1024
"""Bodies of up to so many bytes are summed on the loop, and covered by the signature."""

LOCK_SECONDS: Final = 60.0

Checksum = Literal["crc32", "md5", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a store was seen to do: honour a condition on a write, verify a checksum, sort keys."""

    create: bool = False
    """``If-None-Match: *`` on PUT."""

    replace: bool = False
    """``If-Match`` on PUT, also where the object is gone."""

    delete: bool = False
    """``If-Match`` on DELETE."""

    complete: bool = False
    """``If-None-Match: *`` on CompleteMultipartUpload."""

    checksum: Checksum = ""
    """The checksum that it refuses a body by."""

    sorted: bool = False
    """Whether keys are listed in byte order, and not directory by directory."""


class ConditionFailed(Exception):
    """The object is not as the condition wants it: there, gone, or at another version.

    ``repeated``: an earlier try of the same request may be what made it so.
    """

    def __init__(self, *, repeated: bool) -> None:
        super().__init__()
        self.repeated = repeated


class Refused(Unavailable):
    """The store said no for another reason: ``status`` and ``code`` say which."""

    def __init__(self, key: str, status: int, code: str, message: str) -> None:
        super().__init__(key, f"the store refused: {status} {code} {message}".strip())
        self.status = status
        self.code = code


class Grave(NotFound):
    """Nothing is stored at the key, but a gravestone: see ``_s3_graves``. ``age`` in seconds."""

    def __init__(self, key: str, answer: Answer) -> None:
        super().__init__(key)
        self.version = _etag(answer)
        self.stone = answer.body
        written, now = (_time(answer, name) for name in ("Last-Modified", "Date"))
        self.age = now - written


@dataclass(frozen=True, slots=True)
class Head:
    """What HEAD tells of an object. ``token``: which multipart upload made it."""

    stat: Stat
    token: str


@final
class Bucket:
    """One request a method; ``Unavailable`` where the store gave no good answer.

    A write whose task is cancelled goes on to its end first. Conditions that the store does not
    honour are looked after here, by a look before the write: then no other process may write the
    key meanwhile.
    """

    def __init__(self, wire: Wire) -> None:
        """``honours`` is to be set to what the probe finds."""
        self.wire = wire
        self.name = wire.bucket
        self.honours = Abilities()
        self._locks = NamedLocks()

    async def make(self) -> None:
        """Make the bucket itself; one that is there is as good."""
        answer = await self.wire.call(Request("make", "PUT", "", signed=True))
        if answer.status >= 300 and answer.status != 409:
            _refuse(Request("make", "PUT", f"bucket {self.name}"), answer)

    async def get(self, key: str) -> Value:
        """The whole object. ``NotFound`` if there is none."""
        answer = await self._call(Request("get", "GET", key))
        if _GRAVE in answer.headers:
            raise Grave(key, answer)
        return Value(answer.body, _etag(answer))

    async def head(self, key: str) -> Head:
        """What the object is. ``NotFound`` if there is none."""
        answer = await self._call(Request("head", "HEAD", key))
        if _GRAVE in answer.headers:
            raise Grave(key, answer)
        size = int(answer.headers["Content-Length"])
        stat = Stat(size, _etag(answer), _time(answer, "Last-Modified"))
        return Head(stat, answer.headers.get("x-amz-meta-upload", ""))

    async def put(
        self,
        key: str,
        body: Sequence[Piece],
        *,
        absent: bool = False,
        version: str | None = None,
        grave: bool = False,
    ) -> str:
        """Write an object, or a gravestone, and return its version.

        ``absent``: only if there is none; ``version``: only if it is at that one; else
        ``ConditionFailed``.
        """
        if absent and not self.honours.create:
            return await self._looking(key, None, self.put(key, body))
        if version is not None and not self.honours.replace:
            return await self._looking(key, version, self.put(key, body))
        small = sum(map(len, body)) <= _INLINE
        headers = self.sums(body) if small else await asyncio.to_thread(self.sums, body)
        if absent:
            headers["If-None-Match"] = "*"
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        if grave:
            headers[_GRAVE] = "1"
        request = Request("put", "PUT", key, headers=headers, body=body, signed=small)
        return _etag(await self._write(request))

    async def delete(self, key: str, *, version: str | None = None) -> None:
        """Remove an object, if there is one. With ``version`` as in ``put``."""
        if version is not None and not self.honours.delete:
            await self._looking(key, version, self.delete(key))
            return
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        try:
            await self._write(Request("delete", "DELETE", key, headers=headers))
        except NotFound:
            return

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        goes_on: str = "",
    ) -> Page:
        """One page of the keys that start with ``prefix``, from ``after`` or where it goes on.

        A gravestone is no key; each object of its size costs one request more.
        """
        found = await self._listed(prefix, after, limit, delimiter, goes_on)
        graves = await self._graves_among(found.keys, found.sizes)
        return Page([key for key in found.keys if key not in graves], found.prefixes, found.next)

    async def older(self, prefix: str, before: float) -> AsyncIterator[str]:
        """The keys that start with ``prefix`` and were written before that Unix time.

        There must be no gravestones among them. They may be deleted meanwhile.
        """
        goes_on: str | None = ""
        while goes_on is not None:
            found = await self._listed(prefix, goes_on=goes_on)
            for key, written in zip(found.keys, found.times, strict=True):
                if _instant(written) <= before:
                    yield key
            goes_on = found.next or None

    async def _listed(
        self,
        prefix: str,
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
        goes_on: str = "",
    ) -> Page:
        root = self.wire.prefix
        query = {"list-type": "2", "prefix": root + prefix, "max-keys": str(limit)}
        if after:
            query["start-after"] = root + after
        if delimiter:
            query["delimiter"] = delimiter
        if goes_on:
            query["continuation-token"] = goes_on
        answer = await self._call(Request("list", "GET", "", query))
        found = _document(prefix, answer, page)
        cut = len(root)
        keys, prefixes = ([name[cut:] for name in names] for names in (found.keys, found.prefixes))
        return replace(found, keys=keys, prefixes=prefixes)

    async def _graves_among(self, keys: Sequence[str], sizes: Sequence[str]) -> set[str]:
        """The keys at which there is nothing but a gravestone."""
        if self.honours.delete or not self.honours.replace:
            return set()  # none is ever set
        turns = asyncio.Semaphore(_LOOKS)

        async def gone(key: str) -> bool:
            async with turns:
                try:
                    await self.head(key)
                except NotFound:
                    return True
            return False

        alike = [key for key, size in zip(keys, sizes, strict=False) if size == str(STONE)]
        found = await all_of([gone(key) for key in alike])
        return {key for key, is_gone in zip(alike, found, strict=True) if is_gone}

    def stream(
        self, key: str, start: int, end: int | None, version: str
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """GET a range, at a version if one is given; the caller reads status and body."""
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if version:
            headers["If-Match"] = f'"{version}"'
        return self.wire.stream(Request("read", "GET", key, headers=headers))

    # multipart uploads

    async def begin(self, key: str, token: str) -> str:
        """Begin an upload and return its id; the object will carry ``token``."""
        headers = {"x-amz-meta-upload": token} if token else {}
        if self.honours.checksum == "crc32":
            headers["x-amz-checksum-algorithm"] = "CRC32"
        answer = await self._write(Request("begin", "POST", key, {"uploads": ""}, headers))
        return _document(key, answer, upload_id)

    async def put_part(
        self,
        key: str,
        upload: str,
        number: int,
        body: Sequence[Piece],
        sums: dict[str, str],
        *,
        seconds: float | None = None,
    ) -> tuple[str, str]:
        """Send a part; return its ETag and CRC32. ``NotFound`` if there is no such upload.

        ``seconds`` for all tries, instead of what is set.
        """
        query = {"partNumber": str(number), "uploadId": upload}
        request = Request("part", "PUT", key, query, sums, body, seconds=seconds)
        answer = await self._write(request)
        return _etag(answer), sums.get("x-amz-checksum-crc32", "")

    async def complete(self, key: str, upload: str, parts: Sequence[tuple[str, str]]) -> None:
        """Make the object of the parts, if there is none; else ``ConditionFailed``.

        ``NotFound`` if there is no such upload (any more), or its parts are others.
        """
        if not self.honours.complete:
            await self._check(key, None)
        request = Request(
            "complete",
            "POST",
            key,
            {"uploadId": upload},
            {"If-None-Match": "*"} if self.honours.complete else {},
            [completion(parts)],
            signed=True,
            seconds=COMPLETE_SECONDS,
        )
        answer = await self._write(request)
        code, message = error_code(answer.body)
        if code:  # the status had to be sent before it was known
            raise Unavailable(key, f"complete: {code} {message}")

    async def copy(self, key: str, source: str) -> bool:
        """Copy ``<bucket>/<key>`` of the same server to ``key``; ``False`` if it can't be done.

        The server may not let us read it, and none copies more than 5 GiB in one request.
        """
        headers = {"x-amz-copy-source": f"/{escaped(source)}"}
        answer = await self.wire.call(
            Request("copy", "PUT", key, headers=headers, signed=True, seconds=COMPLETE_SECONDS)
        )
        code, _ = error_code(answer.body)  # the status may have been sent before it was known
        return answer.status < 300 and not code

    async def abort(self, key: str, upload: str) -> None:
        """Drop an upload and its parts; one that is gone is no error."""
        try:
            await self._write(Request("abort", "DELETE", key, {"uploadId": upload}))
        except NotFound:
            return

    async def check_upload(self, key: str, upload: str) -> None:
        """``NotFound`` unless the upload is open."""
        await self._call(Request("parts", "GET", key, {"uploadId": upload, "max-parts": "1"}))

    async def uploads(self, key: str, before: float) -> Sequence[str]:
        """The ids of the uploads to exactly this key that were begun before that Unix time."""
        name = self.wire.prefix + key
        answer = await self._call(Request("uploads", "GET", "", {"uploads": "", "prefix": name}))
        return [
            each.id
            for each in _document(key, answer, uploads)
            if each.key == name and _instant(each.begun) <= before
        ]

    def sums(self, body: Sequence[Piece]) -> dict[str, str]:
        """The checksum that the store verifies the body by. 0.1 ms a MiB; MD5: 2."""
        if self.honours.checksum == "crc32":
            crc = 0
            for piece in body:
                crc = isal_zlib.crc32(piece, crc)
            return {"x-amz-checksum-crc32": base64.b64encode(crc.to_bytes(4, "big")).decode()}
        if self.honours.checksum == "md5":
            whole = md5(usedforsecurity=False)
            for piece in body:
                whole.update(piece)
            return {"Content-MD5": base64.b64encode(whole.digest()).decode()}
        return {}

    async def _looking(self, key: str, version: str | None, write: Coroutine[Any, Any, T]) -> T:
        """Write if the object is at the version, or absent; alone among this process's tasks."""
        async with self._alone(key):
            try:
                await self._check(key, version)
            except BaseException:
                write.close()
                raise
            return await write

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
        if not await self._locks.acquire(key, deadline):
            raise Unavailable(key, "too many writers wait for it")
        try:
            yield
        finally:
            self._locks.release(key)

    async def _check(self, key: str, version: str | None) -> None:
        """Raise ``ConditionFailed`` unless the object is at the version; ``None``: is absent."""
        try:
            found = (await self.head(key)).stat.version
        except NotFound:
            found = None
        if found != version:
            raise ConditionFailed(repeated=False)

    async def _write(self, request: Request) -> Answer:
        return await outlast(self._call(request))

    async def _call(self, request: Request) -> Answer:
        answer = await self.wire.call(request)
        if answer.status >= 300:
            _refuse(request, answer)
        return answer


def _refuse(request: Request, answer: Answer) -> NoReturn:
    """Raise what an answer means that is no success."""
    code, message = error_code(answer.body)
    if answer.status == 412 or (answer.status == 404 and "If-Match" in request.headers):
        raise ConditionFailed(repeated=answer.repeated)
    if answer.status == 404 and code != "NoSuchBucket":
        raise NotFound(request.key)
    if code in ("InvalidPart", "InvalidPartOrder"):
        raise NotFound(request.key)
    raise Refused(request.key, answer.status, code, message)


def _time(answer: Answer, name: str) -> float:
    return parsedate_to_datetime(answer.headers[name]).timestamp()


def _instant(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Unavailable("a listing", f"the store's answer can't be read: {error}") from error


def _etag(answer: Answer) -> str:
    return answer.headers.get("ETag", "").removeprefix("W/").strip('"')


def _document(key: str, answer: Answer, read: Callable[[bytes], T]) -> T:
    try:
        return read(answer.body)
    except BadDocument as error:
        raise Unavailable(key, f"the store's answer can't be read: {error}") from error
