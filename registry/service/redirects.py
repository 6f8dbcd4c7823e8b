"""Sending clients to the object store for the bytes of a blob."""

from collections.abc import Callable
from typing import Final

from registry.service.blobs import Blob
from registry.spec.mediatype import OCTET_STREAM
from registry.spec.names import Place
from storage.ports import PresignedStore

_HEADERS: Final = {"Content-Type": OCTET_STREAM}


class Redirects:
    """Makes URLs at which the store serves a blob to whoever has them, for a while."""

    def __init__(
        self,
        store: PresignedStore,
        seconds: int,
        allows: Callable[[Place], bool] = lambda _: True,
    ) -> None:
        """Make URLs that are good for ``seconds``, in the repositories that it ``allows``."""
        self._store = store
        self._seconds = seconds
        self._allows = allows

    def apply_to(self, repository: Place) -> bool:
        """Whether clients of this repository are sent to the store."""
        return self._allows(repository)

    async def url(self, blob: Blob) -> str:
        """Where the store serves the blob."""
        return await self._store.presign(blob.data, seconds=self._seconds, headers=_HEADERS)
