"""Derivation: a tag of one repository becomes a tag of another, with no byte copied."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from auth.roles import Role
from registry.service.bounded import both, results
from registry.service.manifests import Manifests, Push
from registry.service.mounting import Mounting
from registry.service.quotas.quotas import Quotas
from registry.service.stored import StoredManifest
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestUnknown
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Reference, Tag
from registry.spec.problems import Invalid

DEPTH: Final = 4
"""Most indexes that are nested in one another."""

MOST: Final = 1000
"""Most manifests of one image."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""Most bytes of the manifests below one, which are held until all are there."""

MOST_BLOBS: Final = 20_000
"""Most blobs of one image."""

_MANIFESTS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Source:
    """An image: where it is, whose place a decision has allowed to be read."""

    repository: Place
    reference: Reference


@dataclass(frozen=True, slots=True)
class Derived:
    """What a tag leads to now; ``size`` is the manifest's, in bytes."""

    digest: Digest
    media_type: str
    size: int


class Derivations:
    """Makes images of images that are there: clones an environment, retags, begins a project."""

    def __init__(self, mounting: Mounting, manifests: Manifests, quotas: Quotas) -> None:
        self._mounting = mounting
        self._manifests = manifests
        self._quotas = quotas

    async def derive(
        self,
        source: Source,
        target: Place,
        tag: Tag,
        by: str,
        role: Role | None = None,
        conditions: Conditions = Conditions(),  # noqa: B008 -- a constant
    ) -> Derived:
        """Point ``tag`` of ``target`` at what ``source`` is now; the same digest, the same bytes.

        It is what a client does who mounts each blob and pushes each manifest, in rounds that do
        not depend on how large the image is: the blobs are mounted by one write, then the manifests
        of an index are put, then the one that the tag leads to. So it is refused like a push, and
        what broke off can be repeated. ``ManifestUnknown`` where there is no such source;
        ``Invalid`` for one that is nested too deep, or has too many parts. Referrers (signatures,
        lists of packages) stay where they are.
        """
        # With that it is known whether there are limits, before each mount asks.
        root, charge = await both(
            self._manifests.get(source.repository, source.reference),
            self._quotas.charge(target.tenant),
        )
        charge.close()
        push = Push(
            tag, (), root.data, root.media_type, conditions, algorithm=root.digest.algorithm
        )
        bring = None
        if source.repository != target:
            bring = partial(self._bring, source.repository, target, root, by, role)
        await self._manifests.put(target, push, by, role, content=bring)
        return Derived(root.digest, root.media_type, len(root.data))

    async def _bring(
        self, source: Place, target: Place, root: StoredManifest, by: str, role: Role | None
    ) -> None:
        """Make ``target`` have all that the manifest needs. ``Invalid``."""
        levels: list[list[StoredManifest]] = [[root]]
        held = 0
        blobs: set[Digest] = set()
        seen = {root.digest}
        while levels[-1]:
            if len(levels) > DEPTH:
                raise Invalid(f"the image is an index of indexes, more than {DEPTH} deep")
            parsed = await _parsed(levels[-1])
            blobs.update(blob.digest for each in parsed for blob in each.blobs)
            if len(blobs) > MOST_BLOBS:
                raise Invalid(f"the image has more than {MOST_BLOBS:,} layers")
            sizes = {child.digest: child.size for each in parsed for child in each.manifests}
            wanted = sizes.keys() - seen
            seen |= wanted
            if len(seen) > MOST:
                raise Invalid(f"the image has more than {MOST} manifests")
            held += sum(sizes[each] for each in wanted)
            if held > MOST_BYTES:
                raise Invalid(f"the image has more than {MOST_BYTES:,} bytes of manifests")
            levels.append(await self._present(source, {each: sizes[each] for each in wanted}))
        await self._mounting.mount(target, blobs, source, root.digest)
        for level in levels[:0:-1]:
            for stored in level:
                push = Push(stored.digest, (), stored.data, stored.media_type, Conditions())
                await self._manifests.put(target, push, by, role)

    async def _present(self, source: Place, wanted: Mapping[Digest, int]) -> list[StoredManifest]:
        """Those of the manifests that are there: an index may lack some of its parts.

        ``Invalid`` for one of another size: an index that came before its parts may say anything.
        """

        async def find(digest: Digest) -> StoredManifest | None:
            try:
                stored = await self._manifests.get(source, digest)
            except ManifestUnknown:
                return None
            if len(stored.data) != wanted[digest]:
                raise Invalid(f"the image's index says another size of {digest} than it has")
            return stored

        found = await results(sorted(wanted), find, at_once=_MANIFESTS_AT_ONCE)
        return [each for each in found if each is not None]


async def _parsed(level: Iterable[StoredManifest]) -> list[Manifest]:
    found = []
    for stored in level:
        found.append(await stored.parsed())
        await asyncio.sleep(0)  # there may be many, and others wait for their turn
    return found
