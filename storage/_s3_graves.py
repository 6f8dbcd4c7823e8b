"""Deleting an object at a version, where the store's DELETE takes no condition (MinIO).

A look and then a delete would let a late delete hit what another replica wrote in between: an
acknowledged write would be lost. So the object is first replaced, by a PUT that does take a
condition, with a *gravestone*: that is the deletion, and only one writer of a version can win it.
Readers and listings take a gravestone for nothing. Then it is deleted, without a condition, by who
set it, and in time.

Until that time is over, nothing may be written there, since the delete may still be on its way:
``create`` waits a moment, and gives up as ``Unavailable``. A gravestone that has stood for longer
was left by a process that died. Nobody will delete it, so ``create`` may replace it, at its
version, and whoever reads it buries it anew. Its bytes are random, so that no two have a version
in common. What has no condition (``put``) may not be mixed with this at one key.
"""

import asyncio
import logging
import secrets
from typing import Final, final

from storage._s3_bucket import STONE, Bucket, ConditionFailed, Grave
from storage.ports import NotFound, Unavailable

_log = logging.getLogger("moorage.storage")

_PAUSE: Final = 0.05
_PAUSES: Final = 20


@final
class Graves:
    """Buries objects; tells graves that still count from those that were left."""

    def __init__(self, bucket: Bucket, seconds: float) -> None:
        """``seconds``: after that long no delete of a gravestone is on its way any more."""
        self._bucket = bucket
        self._seconds = seconds

    async def bury(self, key: str, version: str) -> None:
        """Delete the object if it is at the version; else ``ConditionFailed``."""
        stone = secrets.token_bytes(STONE)
        try:
            await self._bucket.put(key, [stone], version=version, grave=True)
        except ConditionFailed as failure:
            if not failure.repeated or not await self._is(key, stone):
                raise
        try:
            await self._bucket.delete(key)
        except Unavailable as error:
            _log.warning("a gravestone is left, and removed when it is met: %s", error)

    async def replace(self, key: str, data: bytes) -> str | None:
        """Where ``create`` met a gravestone: wait for it to go, or replace it if it was left.

        Return the new version, or ``None`` if it has gone. ``ConditionFailed`` where there is an
        object and no gravestone.
        """
        for _ in range(_PAUSES):
            try:
                await self._bucket.head(key)
            except Grave as grave:
                if grave.age > self._seconds:
                    return await self._bucket.put(key, [data], version=grave.version)
            except NotFound:
                return None
            else:
                raise ConditionFailed(repeated=False)
            await asyncio.sleep(_PAUSE)
        raise Unavailable(key, "it is being deleted")

    async def clear(self, grave: Grave) -> None:
        """Remove a gravestone that was left; leave one that still counts."""
        if grave.age > self._seconds:
            try:
                await self.bury(grave.key, grave.version)
            except ConditionFailed:
                return

    async def _is(self, key: str, stone: bytes) -> bool:
        try:
            await self._bucket.get(key)
        except Grave as grave:
            return grave.stone == stone
        except NotFound:
            return False
        return False
