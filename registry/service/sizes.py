"""How much a pull of an image fetches, as its manifests tell."""

from typing import Final

from registry.service.bounded import all_of
from registry.service.manifests import Manifests
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.manifest import Manifest
from registry.spec.names import Place

MAX_CHILDREN: Final = 64
"""Most manifests of an index that are looked into."""


async def content_size(manifests: Manifests, repository: Place, digest: Digest) -> int | None:
    """Return the bytes of the manifest and of all that it refers to, each thing counted once.

    Of an index, all images together. ``None`` where an index has more children than are looked
    into, where one is missing, or has children itself. ``ManifestUnknown``.
    """
    stored = await manifests.get(repository, digest)
    content, children = _parts(await stored.parsed())
    content[digest] = len(stored.data)
    if len(children) > MAX_CHILDREN:
        return None
    try:
        below = await all_of(manifests.get(repository, child) for child in children)
    except ManifestUnknown:
        return None
    for child in below:
        sizes, further = _parts(await child.parsed())
        if further:
            return None
        content |= sizes
    return sum(content.values())


def _parts(manifest: Manifest) -> tuple[dict[Digest, int], list[Digest]]:
    """The sizes of what the manifest refers to, and its child manifests."""
    sizes = {each.digest: each.size for each in (*manifest.blobs, *manifest.manifests)}
    return sizes, [each.digest for each in manifest.manifests]
