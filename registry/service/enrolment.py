"""Enrolment: a repository that an image was stored in stays in the catalog."""

from contextlib import suppress

from registry.service.catalog import Catalog, Seen
from registry.service.deletions import Deletions
from registry.service.images import Image
from registry.service.presence import exists
from registry.spec.conditions import Conditions
from registry.spec.errors import ManifestUnknown, QuotaExceeded
from storage import keys
from storage.ports import ObjectStore


class Enrolment:
    """Looks after an image was stored whether its repository is still listed."""

    def __init__(self, store: ObjectStore, catalog: Catalog, deletions: Deletions) -> None:
        self._store = store
        self._catalog = catalog
        self._deletions = deletions

    async def confirm(self, image: Image, seen: Seen) -> None:
        """See to it that the catalog lists the repository of an image that has been stored.

        Where the repository is deleted meanwhile, and the image with it, it does not stay there.
        ``QuotaExceeded`` where there is no room for it any more; then the image is deleted again.
        """
        repository = image.repository
        if await self._catalog.stood(repository, seen):
            return
        key = keys.manifest(repository, image.digest)
        if await exists(self._store, key):
            try:
                await self._catalog.make(repository, image.charge)
            except QuotaExceeded:
                with suppress(ManifestUnknown):
                    await self._deletions.delete(repository, image.digest, Conditions())
                raise
            if not await exists(self._store, key):
                await self._catalog.leave(repository, image.charge)
