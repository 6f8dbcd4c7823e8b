"""Deleting whole repositories, and having them back.

What a repository holds goes as it goes by itself: manifest by manifest with its tags, each kept for
a while. Then the repository leaves the catalog, if nothing was pushed meanwhile. So a deletion may
break off anywhere and be repeated. Of a tag that is pushed meanwhile it takes what it was, or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from auth.roles import Role
from registry.service.bounded import each
from registry.service.catalog import Catalog
from registry.service.deleted import Deleted
from registry.service.deletions import Deletions
from registry.service.listing import every_key
from registry.service.quotas.quotas import Quotas
from registry.service.reinstatements import Reinstatements
from registry.service.tag_rules import Guard, Guards
from registry.service.tags import Tags
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import ManifestBlobUnknown, ManifestUnknown, NameUnknown
from registry.spec.names import Place, Tag
from storage import keys
from storage.ports import ObjectStore

_AT_ONCE: Final = 8
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted with a repository: from when on (whole Unix seconds), and how much.

    ``gone``: it has left the catalog; if not, something was pushed to it meanwhile.
    """

    since: float
    manifests: int
    tags: int
    gone: bool


@dataclass(frozen=True, slots=True)
class Undeletion:
    """The manifests that were had back, how many tags lead to them again, and what could not be.

    ``lost``: manifests of which content is gone.
    """

    manifests: int
    tags: int
    lost: Sequence[Digest]


class Repositories:
    """Deletes repositories, and has back what was deleted of them."""

    def __init__(
        self,
        store: ObjectStore,
        deletions: Deletions,
        deleted: Deleted,
        reinstatements: Reinstatements,
        tags: Tags,
        catalog: Catalog,
        guards: Guards,
        quotas: Quotas,
        terms: Terms,
    ) -> None:
        self._store = store
        self._deletions = deletions
        self._deleted = deleted
        self._reinstatements = reinstatements
        self._tags = tags
        self._catalog = catalog
        self._guards = guards
        self._quotas = quotas
        self._terms = terms

    async def delete(self, repository: Place, by: str, role: Role | None = None) -> Deletion:
        """Delete all manifests and tags, and take the repository out of the catalog.

        When it returns, no replica has a manifest or tag that was there when it began, nor lists
        the repository. What is pushed meanwhile may stay, and is listed then. Blobs go by
        collection, when what was deleted can't be had back any more. ``NameUnknown`` where there
        is nothing to delete; ``Denied``, before anything goes, where a tag has to stay for who has
        this role. May be repeated, and broken off anywhere.
        """
        since = floor(self._terms.clock())
        listed = await self._catalog.lists(repository)
        guard = await self._guards.of(repository, role)
        tags = await self._check(repository, guard)
        manifests = await self._empty(repository, by, role, guard)
        async with self._quotas.charging(repository.tenant) as charge:
            gone = await self._catalog.leave(repository, charge)
        if not (listed or manifests or tags):
            raise NameUnknown
        return Deletion(since, manifests, tags, gone)

    async def undelete(self, repository: Place, since: float, by: str) -> Undeletion:
        """Have back what was deleted at ``since`` (Unix seconds) or later, as far as it can be.

        A tag that leads elsewhere by now stays. ``NameUnknown`` where there is nothing;
        ``QuotaExceeded`` where there is no room for more. May be repeated.
        """
        waiting = await self._deleted_since(repository, since)
        if not waiting:
            raise NameUnknown
        manifests = tags = 0
        while waiting:
            lost: list[Digest] = []
            for digest in waiting:
                try:
                    tags += len(await self._reinstatements.undelete(repository, digest, by))
                except ManifestBlobUnknown:  # its content, or an image of an index that comes later
                    lost.append(digest)
                except ManifestUnknown:  # its time is over, or another had it back
                    continue
                else:
                    manifests += 1
            if len(lost) == len(waiting):
                break
            waiting = lost
        return Undeletion(manifests, tags, waiting)

    async def _check(self, repository: Place, guard: Guard) -> int:
        """Refuse to begin where a tag has to stay; return how many tags there are."""
        prefix, count = keys.tags(repository), 0
        async for key in every_key(self._store, prefix):
            tag = Tag(key[len(prefix) :])
            if guard.covers(tag):
                guard.check(tag)
            count += 1
        return count

    async def _empty(self, repository: Place, by: str, role: Role | None, guard: Guard) -> int:
        """Delete what is there; return how many manifests that were."""
        gone: list[Digest] = []

        async def drop_manifest(key: str) -> None:
            digest = Digest(keys.last_segment(key))
            try:
                await self._deletions.delete(repository, digest, Conditions(), by, role)
            except ManifestUnknown:
                return
            gone.append(digest)

        async def drop_tag(key: str) -> None:
            """One that leads nowhere; any other goes with its manifest."""
            tag = Tag(key[len(keys.tags(repository)) :])
            target = self._tags.target(await self._tags.standing(repository, tag))
            if target is not None:
                await self._tags.drop(repository, tag, target, by, guard, gone=True)

        manifests = every_key(self._store, keys.manifests(repository))
        await each(manifests, drop_manifest, at_once=_AT_ONCE)
        await each(every_key(self._store, keys.tags(repository)), drop_tag, at_once=_AT_ONCE)
        return len(gone)

    async def _deleted_since(self, repository: Place, since: float) -> list[Digest]:
        found, after, more = [], "", True
        while more:
            page, after = await self._deleted.page(repository, after, _PAGE)
            found += [one.digest for one in page if one.at >= since]
            more = bool(after)
        return found
