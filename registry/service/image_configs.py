"""What images run on, and what they run: read from their configs, and remembered."""

import asyncio
from typing import Final

from registry.service.blobs import Blobs
from registry.service.hashing import beside
from registry.service.manifests import Manifests
from registry.service.remembered import Kept
from registry.spec import image_config
from registry.spec.digest import Digest
from registry.spec.environments import is_image
from registry.spec.errors import BlobUnknown, ManifestUnknown
from registry.spec.image_config import MAX_CONFIG, ImageConfig
from registry.spec.manifest import Manifest
from registry.spec.names import Place

_AT_ONCE: Final = 8


class ImageConfigs:
    """Reads configs of images."""

    def __init__(self, manifests: Manifests, blobs: Blobs, memory: int) -> None:
        """Remember the platforms of images in up to ``memory`` bytes."""
        self._manifests = manifests
        self._blobs = blobs
        self._platforms: Kept[tuple[str, ...]] = Kept(memory, lambda found: 200 + 50 * len(found))
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def platforms(self, place: Place, digest: Digest) -> tuple[str, ...]:
        """The platforms of a manifest of the repository, such as ``linux/amd64``.

        None where it is no image, says nothing of it, or is gone by now.
        """
        # Another repository may have the config of the same manifest, and this one not.
        name = f"{place}@{digest}"
        try:
            stored = await self._manifests.get(place, digest)
            known = self._platforms.find(name)
            if known is not None:
                return known
            async with self._gate:
                manifest = await stored.parsed()
                if manifest.kind == "index":
                    found = image_config.platforms_of_index(manifest)
                else:
                    config = await self.read(place, manifest)
                    found = (config.platform,) if config and config.platform else ()
        except ManifestUnknown:
            return ()
        if found:  # a config that is missing may come yet
            self._platforms.keep(name, found)
        return found

    async def read(self, place: Place, manifest: Manifest) -> ImageConfig | None:
        """The config of an image that is there.

        ``None`` for what is no image, and for a config that is missing, too large or unreadable.
        """
        if not is_image(manifest) or manifest.blobs[0].size > MAX_CONFIG:
            return None
        try:
            blob = await self._blobs.find(place, manifest.blobs[0].digest)
            if blob.size > MAX_CONFIG:
                return None
            data = await self._blobs.whole(blob)
        except BlobUnknown:
            return None
        return await beside(len(data), lambda: image_config.read(data))
