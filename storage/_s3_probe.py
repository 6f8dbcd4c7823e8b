"""What the store honours, found out by trying, on objects that nobody else knows of.

Stores differ in what they make of a condition or a checksum that they do not know: they ignore it.
So each is tried where it must be refused. What is tried is below ``~probe/`` with a random name,
so that many replicas may start at once, and is deleted again. There is an object at the key of each
upload before it is begun: what a process leaves that is killed is found by that.
"""

import contextlib
import logging
import secrets
from typing import Final

from storage._s3_bucket import Abilities, Bucket, Checksum, ConditionFailed, Refused
from storage._s3_wire import all_of, both
from storage.ports import NotFound, Unavailable

_log = logging.getLogger("moorage.storage")

PREFIX: Final = "~probe/"

_ALL: Final = Abilities(create=True, replace=True, delete=True, complete=True)
_ATTEMPTS: Final = 4
_PATIENCE: Final = 8.0
"""Seconds for an answer about a checksum."""

_WRONG: Final = "00000000000000000000000000000000"
_SUMS: Final[tuple[tuple[Checksum, dict[str, str]], ...]] = (
    ("crc32", {"x-amz-checksum-crc32": "AAAAAA=="}),
    ("md5", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}),
)


async def probe(bucket: Bucket) -> Abilities:
    """Return what the store does. ``Unavailable``, or ``Refused``, where it can't be used at all.

    Some twenty requests, at most five after one another.
    """
    place = f"{PREFIX}{secrets.token_hex(8)}"
    bucket.honours = _ALL  # so that conditions are sent
    with contextlib.suppress(NotFound):
        await bucket.get(f"{place}/missing")
    (writes, completes), (sums, order) = await both(
        both(_writes(bucket, f"{place}/writes"), _completes(bucket, f"{place}/completes")),
        both(_sums(bucket, f"{place}/sums"), _order(bucket, f"{place}/order/")),
    )
    create, replace, delete = writes
    return Abilities(
        create=create,
        replace=replace,
        delete=delete,
        complete=completes,
        checksum=sums,
        sorted=order,
    )


async def _writes(bucket: Bucket, key: str) -> tuple[bool, bool, bool]:
    try:
        version = await bucket.put(key, [b"1"])
        create = not await _took(bucket.put(key, [b"2"], absent=True))
        replace = not await _took(bucket.put(key, [b"3"], version=_WRONG))
        # some refuse the wrong version, but take any where there is no object
        replace = replace and not await _took(bucket.put(f"{key}-gone", [b"4"], version=version))
        delete = not await _took(bucket.delete(key, version=_WRONG))
        # or say that they have deleted what is gone, so that two are told that it was they
        delete = delete and not await _took(bucket.delete(f"{key}-none", version=version))
    finally:
        await all_of([bucket.delete(key), bucket.delete(f"{key}-gone")])
    return create, replace, delete


async def _completes(bucket: Bucket, key: str) -> bool:
    await bucket.put(key, [b"1"])
    upload = await bucket.begin(key, "")
    try:
        part = await bucket.put_part(key, upload, 1, [b"2"], {})
        return not await _took(bucket.complete(key, upload, [part]))
    finally:
        await bucket.abort(key, upload)
        await bucket.delete(key)


async def _sums(bucket: Bucket, key: str) -> Checksum:
    """Try it again, with another object, where no answer comes.

    MinIO of several nodes was seen to leave a part with a wrong checksum unanswered for a minute,
    a short while after its nodes had started.
    """
    for number in range(1, _ATTEMPTS):
        try:
            return await _try_sums(bucket, f"{key}-{number}")
        except Refused:
            raise
        except Unavailable as error:
            _log.warning("the store's checksums are tried again: %s", error)
    return await _try_sums(bucket, f"{key}-{_ATTEMPTS}")


async def _try_sums(bucket: Bucket, key: str) -> Checksum:
    await bucket.put(key, [b"1"])
    upload = await bucket.begin(key, "")
    try:
        for name, wrong in _SUMS:
            part = bucket.put_part(key, upload, 1, [b"1"], wrong, seconds=_PATIENCE)
            if not await _took(part):
                return name
    finally:
        await bucket.abort(key, upload)
        await bucket.delete(key)
    return ""


async def _order(bucket: Bucket, prefix: str) -> bool:
    keys = [f"{prefix}a!", f"{prefix}a/b"]
    await all_of([bucket.put(key, [b""]) for key in keys])
    try:
        return list((await bucket.page(prefix)).keys) == keys
    finally:
        await all_of([bucket.delete(key) for key in keys])


async def _took(write: object) -> bool:
    """Whether the store took a write that it should have refused."""
    try:
        await write  # type: ignore[misc]
    except ConditionFailed:
        return False
    except Refused as error:
        if error.status in (400, 501):
            return False
        raise
    return True
