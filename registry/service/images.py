"""Images on their way into a repository: what they need, themselves, and the tags to them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from registry.service.blobs import Blobs
from registry.service.bounded import all_of, both, each, results
from registry.service.entries import Entries, mark
from registry.service.presence import exists, stat
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.records import TagRecord
from registry.service.referrers import Referrers
from registry.service.stored import manifest_name
from registry.service.tag_rules import Guard
from registry.service.tags import Tags, Target
from registry.service.terms import Terms
from registry.spec import manifest as grammar
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    QuotaExceeded,
)
from registry.spec.manifest import Descriptor as Content
from registry.spec.manifest import Manifest
from registry.spec.names import Place, Tag
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ContentStore, Items, PreconditionFailed, Unavailable, Value

CHECKS = 16
"""Things that are looked at at the same time."""

_TRIES = 5
_UNKNOWN: Final[Mapping[Digest, int]] = MappingProxyType({})
Sizes = Callable[[Place, Digest], Awaitable[int]]
"""The size of something that a repository has, in bytes."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Blobs that a repository was seen to hold, with their sizes in bytes.

    None was looked at before ``since``, which is of ``Terms.pace``.
    """

    since: float
    sizes: Mapping[Digest, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest that is to be stored in a repository, and the tags that are to lead to it.

    ``charge`` pays for what is new of it.
    """

    repository: Place
    digest: Digest
    manifest: Manifest
    body: bytes
    tags: Sequence[Tag]
    guard: Guard
    charge: Charge = NO_CHARGE

    def announced(self) -> list[tuple[str, bytes]]:
        """Entries that tell collectors to read it. They are the links of its tags, too."""
        entry = mark()
        return [
            (keys.pushed(self.repository, self.digest, tag), entry) for tag in self.tags or ("",)
        ]

    def content(self) -> tuple[str, bytes]:
        """The manifest itself."""
        stored = self.manifest.media_type.encode() + b"\n" + self.body
        return keys.manifest(self.repository, self.digest), stored

    def target(self) -> Target:
        """What its tags hold."""
        return Target(self.digest, self.manifest.media_type, len(self.body))


class Images:
    """Looks at what manifests need, and writes them so that collector and deletion see it."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        blobs: Blobs,
        tags: Tags,
        referrers: Referrers,
        entries: Entries,
        manifest_size: Sizes,
        terms: Terms,
        *,
        allow_sparse: bool,
    ) -> None:
        """``allow_sparse`` takes manifests that lack content."""
        self._store = store
        self._coordinator = coordinator
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers
        self._entries = entries
        self._manifest_size = manifest_size
        self._terms = terms
        self._allow_sparse = allow_sparse

    async def check_content(
        self, repository: Place, manifest: Manifest, looked: Mapping[Digest, int] = _UNKNOWN
    ) -> None:
        """Refuse a manifest whose content is missing, or is not of the size that it says.

        Clients allocate and verify by that size: such an image could be pushed, never pulled.
        Blobs that were ``looked`` at already have these sizes.
        """

        async def size_of(wanted: tuple[Content, Sizes]) -> int | None:
            descriptor, read = wanted
            if descriptor.digest in looked:
                return looked[descriptor.digest]
            try:
                return await read(repository, descriptor.digest)
            except (BlobUnknown, ManifestUnknown):
                return None

        wanted: list[tuple[Content, Sizes]]
        wanted = [(blob, self._blob_size) for blob in manifest.blobs]
        wanted += [(child, self._manifest_size) for child in manifest.manifests]
        sizes = await results(wanted, size_of, at_once=CHECKS)
        missing = {
            descriptor.digest
            for (descriptor, _), size in zip(wanted, sizes, strict=True)
            if size is None
        }
        if missing and not self._allow_sparse:
            raise ManifestBlobUnknown(sorted(missing))
        for (descriptor, _), size in zip(wanted, sizes, strict=True):
            if size is not None and size != descriptor.size:
                raise ManifestInvalid(
                    f"the manifest says that {descriptor.digest} has {descriptor.size} bytes, "
                    f"but it has {size}: correct the descriptor"
                )

    async def _blob_size(self, repository: Place, digest: Digest) -> int:
        return (await self._blobs.find(repository, digest)).size

    async def hold(self, image: Image, *, known: bool) -> None:
        """Reserve what the image takes beside its blobs: manifest, tags, and the repository.

        ``known``: that is there. ``QuotaExceeded`` where that does not fit; then nothing of it has
        been stored. A push that is repeated fits where there is no room.
        """
        charge = image.charge
        if not charge.limited:
            return
        size = len(image.content()[1])
        try:
            await charge.hold(Amounts(size, not known, len(image.tags)), patient=False)
        except QuotaExceeded:
            place = image.repository
            wanted = [keys.manifest(place, image.digest), keys.catalog(place)]
            wanted += [keys.tag(place, tag) for tag in image.tags]
            there = await all_of(exists(self._store, key) for key in wanted)
            new = Amounts(0 if there[0] else size, not there[1], there[2:].count(False))
            await charge.hold(new)

    async def store_whole(self, image: Image) -> None:
        """Look at what the manifest needs and store it, in less time than the patience."""
        for _ in range(_TRIES):
            began = self._terms.pace()
            await self.check_content(image.repository, image.manifest)
            await self._write(image)
            if self._terms.pace() - began <= self._terms.patience:
                return
        raise Unavailable(
            keys.manifest(image.repository, image.digest),
            "the store is too slow to answer safely; try again",
        )

    async def store(self, image: Image, began: float) -> None:
        """Store a manifest that no tag is to lead to; its content was looked at after ``began``."""
        await self._write(image)
        if self._terms.pace() - began > self._terms.patience:
            await self.store_whole(image)
        await self._check_children(image)

    async def store_tagged(
        self,
        image: Image,
        conditions: Sequence[Conditions],
        by: str,
        began: float,
        make: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Store a manifest whose content was looked at after ``began``, and point its tags at it.

        ``make`` makes the repository, which there was not: before the manifest, too.
        A deletion of the manifest changes what this changes, and so do all that remove a link, but
        for collectors, which take those that are old. So while this was alone, and took no longer
        than the patience, manifest and links are there when the tags are; else it looks.
        """
        repository, tags = image.repository, image.tags
        # what is written later makes it last, too
        writes: list[Awaitable[None]] = [self._entries.put(image.announced(), settled=False)]
        if make is not None:
            writes.append(make())
        _, standing = await both(
            all_of(writes), all_of(self._tags.standing(repository, tag) for tag in tags)
        )
        pointings = list(zip(tags, conditions, standing, strict=True))
        name, target = manifest_name(repository, image.digest), image.target()
        async with self._tags.changing(repository, tags, name) as change:
            await self._put(self._steps(image), image.charge, settled=False)
            in_time = self._terms.pace() - began <= self._terms.patience
            wrote = [
                in_time
                and await self._tags.point(
                    repository, tag, target, by, allowed, value, image.guard, change, image.charge
                )
                for tag, allowed, value in pointings
            ]
            alone = change.sole() and self._terms.pace() - began <= self._terms.patience
        if not in_time:
            await self.store_whole(image)
            for tag, allowed, value in pointings:
                await self.point(image, tag, by, allowed, value)
            await self._check_children(image)
            return
        for tag, lasts in zip(tags, wrote, strict=True):
            if not (lasts and alone):
                await self._see_to(image, tag, lasts=lasts)
        await self._check_children(image)

    async def _check_children(self, image: Image) -> None:
        """Refuse an index of which retention has taken something while it was stored.

        Retention looks for indexes after it has deleted, and has back what they need. This is for
        one that it does not see: that was written later than that.
        """
        children = sorted({child.digest for child in image.manifest.manifests})
        if not children or self._allow_sparse:
            return
        missing: list[Digest] = []

        async def look(child: Digest) -> None:
            if not await exists(self._store, keys.manifest(image.repository, child)):
                missing.append(child)

        await each(children, look, at_once=CHECKS)
        if missing:
            raise ManifestBlobUnknown(sorted(missing))

    async def point(
        self,
        image: Image,
        tag: Tag,
        by: str,
        conditions: Conditions,
        standing: Value | None,
        was: TagRecord | None = None,
    ) -> None:
        """Point a tag at a manifest that is stored. It is pointed once. ``was`` as in ``Tags``.

        Who has moved or deleted it since came later than this push.
        """
        target = image.target()
        repository, guard, charge = image.repository, image.guard, image.charge
        wrote = await self._tags.point(
            repository, tag, target, by, conditions, standing, guard, charge=charge, was=was
        )
        await self._see_to(image, tag, lasts=wrote)

    async def _see_to(self, image: Image, tag: Tag, *, lasts: bool) -> None:
        """See to it that the manifest and the link of a tag are there, after it was pointed.

        The look comes after the tag was written: a deletion of the manifest that it misses lists
        the links later than that, and so takes the tag along. The link is looked at too, since a
        deletion removes it with the tag that was there before. ``lasts``: what was stored survives
        a crash of the machine.
        """
        while not (lasts and await self._is_there(image, tag)):
            await self.store_whole(image)
            lasts = True

    async def _write(self, image: Image) -> None:
        """Store a manifest: first that it is pushed, with the links of its tags, then itself.

        So a collector knows of each manifest that is there, and of what it needs. One with a
        subject is not stored while it is being deleted: else its entry as a referrer might come
        after the deletion has removed that, and stay.
        """
        announced, steps = image.announced(), self._steps(image)
        if image.charge.limited or not self._entries.exact:
            await self._entries.put(announced)
        else:
            steps.insert(0, announced)
        if image.manifest.subject is None:
            await self._put(steps, image.charge)
            return
        async with self._coordinator.change(manifest_name(image.repository, image.digest)):
            await self._put(steps, image.charge)

    async def _put(self, steps: Sequence[Items], charge: Charge, *, settled: bool = True) -> None:
        """Put the steps; where it counts, the manifest, the very first, is created: it pays once.

        One that is there already is replaced by the same, so that it was pushed now for who asks
        how old it is.
        """
        if not charge.limited:
            await self._store.put_all(*steps, settled=settled)
            return
        ((key, stored),), *rest = steps
        referrer = rest[0] if rest else ()
        for _ in range(_TRIES):
            async with charge.storing(Amounts(bytes=len(stored))) as storing:
                try:
                    await self._store.create(key, stored, then=referrer, settled=settled)
                except AlreadyExists:
                    storing.was_there()
                else:
                    return
            if await self._renew(key, stored):
                await self._store.put_all(referrer, settled=settled)
                return
        raise Unavailable(key, "it is deleted and pushed again and again")

    async def _renew(self, key: str, stored: bytes) -> bool:
        """Replace what is there by the same; whether it was still there.

        Where another was first, what is there now has just been pushed.
        """
        seen = await stat(self._store, key)
        if seen is None:
            return False
        try:
            await self._store.replace(key, stored, seen.version)
        except PreconditionFailed:
            return await exists(self._store, key)
        return True

    def _steps(self, image: Image) -> list[Items]:
        """The manifest, and then its entry as a referrer."""
        steps: list[Items] = [[image.content()]]
        if image.manifest.subject is not None:
            descriptor = grammar.referrer_descriptor(image.manifest, image.digest)
            subject = image.manifest.subject.digest
            steps.append(
                [self._referrers.entry(image.repository, subject, image.digest, descriptor)]
            )
        return steps

    async def _is_there(self, image: Image, tag: Tag) -> bool:
        """Whether the manifest is there, and a link: a collector puts the second for the first."""
        place, digest = image.repository, image.digest
        links = keys.pushed(place, digest, tag), keys.tagged(place, digest) + tag
        if not await exists(self._store, keys.manifest(place, digest)):
            return False
        return await exists(self._store, links[0]) or await exists(self._store, links[1])
