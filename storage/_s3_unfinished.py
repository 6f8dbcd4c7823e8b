"""What unfinished content leaves in the bucket: tails, and multipart uploads that may be open.

Before an upload is begun an object below ``~begun/`` says so; it goes when the upload ended. So one
whose process was killed is found by its exact key, though nothing tells of it, and no upload is
ever looked for by listing.
"""

import logging
import time
from typing import Final

from storage._s3_bucket import Bucket
from storage._s3_probe import PREFIX as PROBES
from storage._s3_progress import Progress
from storage._s3_wire import all_of
from storage.ports import Unavailable

_log = logging.getLogger("moorage.storage")

BEGUN: Final = "~begun/"
TAILS: Final = "~tails/"
_SLOTS: Final = (0, 1)


def tail_key(key: str, slot: int) -> str:
    """Where a tail of unfinished content is; ``~`` is in no key of the port."""
    return f"{TAILS}{slot}/{key}"


def begun_key(key: str, token: str) -> str:
    """Where it says that the upload whose object will carry ``token`` may be open."""
    return f"{BEGUN}{key}/{token}"


async def note(bucket: Bucket, key: str, token: str) -> None:
    """Say that an upload is about to be begun."""
    await bucket.put(begun_key(key, token), [])


async def clear(bucket: Bucket, key: str, token: str, *, tails: bool) -> None:
    """Delete what is left of an upload that ended, and tails. What can't be is swept later."""
    try:
        await _delete(bucket, key, token, tails=tails)
    except Unavailable as error:
        _log.warning("what nobody needs could not be deleted, it will be: %s", error)


async def abandon(bucket: Bucket, key: str, progress: Progress) -> None:
    """Drop the upload and the tails that a progress tells of."""
    if progress.upload:
        await bucket.abort(key, progress.upload)
    await _delete(bucket, key, progress.token, tails=bool(progress.offset))


async def sweep(bucket: Bucket, older: float) -> int:
    """Drop what was begun or kept ``older`` seconds ago or more; return how many uploads."""
    before, swept = time.time() - older, 0
    for prefix in (BEGUN, PROBES, TAILS):
        async for name in bucket.older(prefix, before):
            key = name.removeprefix(BEGUN).rpartition("/")[0] if prefix == BEGUN else name
            for upload in await bucket.uploads(key, before) if prefix != TAILS else ():
                await bucket.abort(key, upload)
                swept += 1
            await bucket.delete(name)
    return swept


async def _delete(bucket: Bucket, key: str, token: str, *, tails: bool) -> None:
    names = [tail_key(key, slot) for slot in _SLOTS] if tails else []
    if token:
        names.append(begun_key(key, token))
    await all_of([bucket.delete(name) for name in names])
