"""Repositories as environments: their images as versions, what these share, and their packages.

Everything is worked out from what is stored when it is asked for. What an image consists of never
changes, so that is remembered by its digest.
"""

import asyncio
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.service.blobs import Blobs
from registry.service.bounded import both, results
from registry.service.hashing import beside
from registry.service.manifests import Manifests
from registry.service.pulls.history import Pulled, PullHistory
from registry.service.referrers import Descriptor
from registry.service.remembered import Kept
from registry.service.tags import Tags
from registry.spec import environments, packages
from registry.spec.digest import Digest
from registry.spec.environments import Bases, ImageFacts, Sharing
from registry.spec.errors import BlobUnknown, ManifestInvalid, ManifestUnknown, NameUnknown
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Tag
from registry.spec.packages import Packages, PackagesInvalid
from registry.spec.pagination import Page
from registry.spec.problems import Invalid

MOST: Final = 1000
"""Most tags of a repository that are looked at."""

MOST_IMAGES: Final = 5000
"""Most images of a project that are added up."""

MOST_PARTS: Final = 200_000
"""Most layers and configs of the images that are looked at together."""

MAX_DOCUMENT: Final = 16 * 1024 * 1024
"""Largest list of packages that is read, in bytes."""

_CHILDREN: Final = 64
_CHILDREN_PARTS: Final = 20_000
_AT_ONCE: Final = 8
_DOCUMENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Version:
    """A tag that leads to an image: where to, by whom and since when (Unix seconds)."""

    tag: Tag
    digest: Digest
    at: float
    by: str
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Known:
    """A base image: its repository as callers name it, its tag, and itself."""

    repository: str
    tag: Tag
    digest: Digest
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version was built on. ``added`` are the bytes that neither of the two has.

    ``base`` has the first ``base_layers`` layers of it. ``previous`` is the version of the same
    repository with the most of its layers, or else the one that was pushed before it.
    """

    version: Version
    base: Known | None
    base_layers: int
    previous: Version | None
    added: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The packages of an image, and the referrer that lists them.

    Without ``packages``, ``problem`` says why.
    """

    packages: Packages | None = None
    referrer: str = ""
    artifact_type: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BaseImages:
    """Images that others are built on, as far as the caller may know of them."""

    images: Sequence[Known] = ()
    tree: Bases[Known] = field(default_factory=Bases)

    @classmethod
    def of(cls, images: Sequence[Known]) -> "BaseImages":
        """Of two with the same layers, the one that comes first is named."""
        tree: Bases[Known] = Bases()
        for image in images:
            tree.add(image.facts.layers, image)
        return cls(images, tree)

    def content(self) -> Mapping[Digest, int]:
        """All that they consist of."""
        return {digest: size for each in self.images for digest, size in each.facts.content.items()}


class Environments:
    """Tells of environments."""

    def __init__(
        self, manifests: Manifests, tags: Tags, blobs: Blobs, pulls: PullHistory, memory: int
    ) -> None:
        """Remember in up to ``memory`` bytes what images and lists of packages say."""
        self._manifests = manifests
        self._tags = tags
        self._blobs = blobs
        self._pulls = pulls
        self._facts: Kept[ImageFacts] = Kept(memory // 2, _weigh_facts)
        self._listed: Kept[Packages] = Kept(memory // 2, _weigh_packages)
        self._documents = asyncio.Semaphore(_DOCUMENTS)

    async def versions(self, place: Place) -> list[Version]:
        """All versions of an environment, the newest first.

        Tags that lead to no image are left out. ``NameUnknown``; ``Invalid`` for a repository
        with more than ``MOST`` tags, or images of more than ``MOST_PARTS`` parts.
        """
        page = await self._tags.page(place, Page(MOST, None))
        if page.more:
            raise Invalid(
                f"environments are shown of repositories of up to {MOST:,} tags: let retention "
                "remove old ones"
            )
        parts = 0

        async def read(name: str) -> Version | None:
            nonlocal parts
            _check(parts)
            try:
                version = await self.version(place, Tag(name))
            except ManifestUnknown:  # no image, or deleted meanwhile
                return None
            parts += version.facts.parts
            return version

        found = await results(page.tags, read, at_once=_AT_ONCE)
        _check(parts)
        return sorted(filter(None, found), key=lambda each: (each.at, each.tag), reverse=True)

    async def version(self, place: Place, tag: Tag) -> Version:
        """One version. ``ManifestUnknown`` where the tag leads to no image."""
        record = await self._tags.resolve(place, tag)
        facts = await self._image(place, record.target)
        if facts is None:
            raise ManifestUnknown(tag)
        return Version(tag, record.target, record.at, record.by, facts)

    async def bases(self, sources: Sequence[tuple[str, Place]]) -> BaseImages:
        """The images of repositories of base images, by their names; absent ones have none.

        ``Invalid`` as ``versions``.
        """
        found: list[Known] = []
        for name, place in sources:
            try:
                versions = await self.versions(place)
            except NameUnknown:
                continue
            except Invalid as error:
                raise Invalid(f"{name}, where base images are: {error.message}") from None
            # The oldest of the same layers is the one that the others are copies of.
            found += (Known(name, each.tag, each.digest, each.facts) for each in versions[::-1])
        return await asyncio.to_thread(BaseImages.of, found)

    async def lineages(self, versions: Sequence[Version], bases: BaseImages) -> list[Lineage]:
        """The lineage of each version, in the same order: the newest first."""
        return await asyncio.to_thread(_lineages, versions, bases)

    async def storage(self, places: AsyncIterable[Place], bases: BaseImages) -> Sharing:
        """What all images of the repositories take together.

        ``Invalid`` for more than ``MOST_IMAGES`` tags or ``MOST_PARTS`` parts, and as ``versions``.
        """
        versions: list[Version] = []
        parts = 0
        async for place in places:
            here = await self.versions(place)
            versions += here
            if len(versions) > MOST_IMAGES:
                raise Invalid(f"what images share is told of up to {MOST_IMAGES:,} tags")
            parts += sum(each.facts.parts for each in here)
            _check(parts)
        return await self.sharing(versions, bases)

    async def sharing(self, versions: Sequence[Version], bases: BaseImages) -> Sharing:
        """What the versions' images take together; each image counts once."""
        images = {each.digest: each.facts for each in versions}
        return await asyncio.to_thread(
            lambda: environments.sharing(list(images.values()), bases.content())
        )

    async def last_pull(self, place: Place, version: Version) -> Pulled | None:
        """Who pulled a version last, by its tag or its digest; ``None``: nobody, as is known."""
        found = await both(
            self._pulls.of(place, version.tag), self._pulls.of(place, version.digest)
        )
        mine = [each for each in found if each is not None and each.digest == version.digest]
        return max(mine, key=lambda each: each.last, default=None)

    async def listing(self, place: Place, version: Version) -> Listing:
        """The packages of a version, as a referrer of its manifest lists them."""
        found, _ = await self._manifests.referrers_of(
            place, version.digest, packages.TYPES, Page(None, None)
        )
        if not found:
            return Listing(problem="no list of packages was pushed with the image")
        chosen = min(found, key=_preference)
        referrer, kind = str(chosen["digest"]), str(chosen["artifactType"])
        try:
            listed = await self._packages(place, Digest.parse(referrer), kind)
        except (PackagesInvalid, ManifestInvalid, ManifestUnknown, BlobUnknown) as error:
            return Listing(None, referrer, kind, f"it can't be read: {error}")
        return Listing(listed, referrer, kind)

    async def _packages(self, place: Place, referrer: Digest, kind: str) -> Packages:
        stored = await self._manifests.get(place, referrer)
        remembered = self._listed.find(referrer)
        if remembered is not None:
            return remembered
        manifest = await stored.parsed()
        # Of an image manifest the first is the config, which artifacts leave empty.
        documents = manifest.blobs[1:] if manifest.kind == "image" else manifest.blobs
        if not documents:
            raise PackagesInvalid("the referrer has no layer")
        async with self._documents:
            blob = await self._blobs.find(place, documents[0].digest)
            if blob.size > MAX_DOCUMENT:
                raise PackagesInvalid(f"it has more than {MAX_DOCUMENT:,} bytes")
            document = await self._blobs.whole(blob)
            found = await beside(len(document), lambda: packages.read(kind, document))
        self._listed.keep(referrer, found)
        return found

    async def _image(self, place: Place, digest: Digest) -> ImageFacts | None:
        """What there is to know of a manifest of the repository; ``None`` for no image."""
        stored = await self._manifests.get(place, digest)
        known = self._facts.find(digest)
        if known is not None:
            return known
        manifest = await stored.parsed()
        if manifest.kind == "index":
            facts = environments.facts_of_index(manifest, await self._children(place, manifest))
        else:
            facts = environments.facts_of(manifest)
        if facts is not None:
            self._facts.keep(digest, facts)
        return facts

    async def _children(self, place: Place, index: Manifest) -> dict[Digest, Manifest]:
        """The manifests of an index; those that are missing are not.

        ``Invalid`` for more than ``_CHILDREN``, or more than ``_CHILDREN_PARTS`` parts of them.
        """
        if len(index.manifests) > _CHILDREN:
            raise Invalid(f"an image is shown that has up to {_CHILDREN} manifests")
        found: dict[Digest, Manifest] = {}
        parts = 0
        for child in index.manifests:
            try:
                stored = await self._manifests.get(place, child.digest)
            except ManifestUnknown:
                continue
            parsed = await stored.parsed()
            parts += len(parsed.blobs)
            if parts > _CHILDREN_PARTS:
                raise Invalid(f"an image is shown that has up to {_CHILDREN_PARTS:,} layers")
            found[child.digest] = parsed
        return found


def _lineages(versions: Sequence[Version], bases: BaseImages) -> list[Lineage]:
    tree: Bases[Version] = Bases()
    found: list[Lineage] = []
    before: Version | None = None
    for version in reversed(versions):
        layers = version.facts.layers
        base, depth = bases.tree.under(layers) or (None, 0)
        previous, shared = tree.under(layers) or (None, 0)
        if previous is None or shared <= depth:
            previous = before
        earlier = [each.facts for each in (base, previous) if each is not None]
        added = environments.added(version.facts, *earlier)
        found.append(Lineage(version, base, depth, previous, added))
        tree.add(layers, version)
        before = version
    return found[::-1]


def _check(parts: int) -> None:
    """Refuse what would take too much memory and time."""
    if parts > MOST_PARTS:
        raise Invalid(
            f"environments are shown whose images have up to {MOST_PARTS:,} layers together: let "
            "retention remove old ones"
        )


def _preference(descriptor: Descriptor) -> tuple[int, list[int]]:
    """Types in their order; of one type, the one that says that it was created last."""
    created = str((descriptor.get("annotations") or {}).get("org.opencontainers.image.created", ""))
    return packages.TYPES.index(descriptor["artifactType"]), [-ord(each) for each in created]


def _weigh_facts(facts: ImageFacts) -> int:
    return 600 + 200 * len(facts.content)


def _weigh_packages(found: Packages) -> int:
    return 400 + 250 * sum(map(len, found.values()))
