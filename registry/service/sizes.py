"""How much a pull of an image fetches, as its manifests tell."""

import asyncio
from typing import Final

from registry.service.manifests import Manifests
from registry.service.stored import StoredManifest
from registry.spec import manifest as grammar
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.names import Place

MAX_CHILDREN: Final = 64
"""Most manifests of an index that are looked into."""


async def content_size(manifests: Manifests, repository: Place, digest: Digest) -> int | None:
    """Return the bytes of the manifest and of all that it refers to, each thing counted once.

    Of an index, all images together. ``None`` where an index has more children than are looked
    into, where one is missing, or has children itself. ``ManifestUnknown``.
    """
    stored = await manifests.get(repository, digest)
    content, children = _parts(stored)
    content[digest] = len(stored.data)
    if len(children) > MAX_CHILDREN:
        return None
    try:
        below = await asyncio.gather(*(manifests.get(repository, child) for child in children))
    except ManifestUnknown:
        return None
    for child in below:
        sizes, further = _parts(child)
        if further:
            return None
        content |= sizes
    return sum(content.values())


def _parts(stored: StoredManifest) -> tuple[dict[Digest, int], list[Digest]]:
    """The sizes of what the manifest refers to, and its child manifests."""
    manifest = grammar.parse(stored.data, stored.media_type)
    sizes = {each.digest: each.size for each in (*manifest.blobs, *manifest.manifests)}
    return sizes, [each.digest for each in manifest.manifests]
