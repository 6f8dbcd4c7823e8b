"""The catalog: which repositories exist.

A repository's entry is an empty object. Who takes it out swaps it to LEAVING first, a random text,
looks then whether the repository holds anything, and deletes it at that version. A push that has
stored something looks, after that, whether the entry has stood all the while, and puts it back
where it has not. So either who takes it out sees what was stored, or the push sees that the entry
is leaving, and the deletion at its version fails. One that breaks off leaves the repository listed.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from auth.policy import Visible
from registry.service.entries import Entries, value
from registry.service.listing import every_key
from registry.service.presence import exists, stat
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.remembered import Remembered, stamps_of
from registry.spec.names import Place, RepositoryName
from registry.spec.pagination import Page
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, NotFound, ObjectStore, PreconditionFailed

PAGE = 1000
"""Repositories in one answer where the client names no number."""

_LIVE: Final = b""
_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """Some repositories in byte order; ``more`` if others may follow."""

    repositories: Sequence[RepositoryName]
    more: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a repository was in the catalog, and its stamp from before that was looked up."""

    known: bool
    stamp: int | None


class Catalog:
    """Knows and lists repositories. One exists from its first manifest on until it is deleted."""

    def __init__(
        self, store: ObjectStore, coordinator: Coordinator, entries: Entries, memory: int
    ) -> None:
        """Remember names in up to ``memory`` bytes."""
        self._store = store
        self._coordinator = coordinator
        self._entries = entries
        self.known: Remembered[bool] = Remembered(coordinator, memory, lambda _: 300)

    async def enter(self, repository: Place, charge: Charge = NO_CHARGE) -> Seen:
        """Make the repository exist. May be repeated, and by many at once.

        ``charge`` pays for it if it did not. What is told is for ``stood``.
        """
        seen = await self.look(repository)
        if not seen.known:
            await self.make(repository, charge)
        return seen

    async def make(self, repository: Place, charge: Charge = NO_CHARGE) -> None:
        """As ``enter``, for one of which it was just found out that it does not exist.

        Who is taking it out of the catalog meanwhile fails to.
        """
        key = keys.catalog(repository)
        if not charge.limited:
            await self._entries.put([(key, _LIVE)])
            return
        for _ in range(_ROUNDS):
            async with charge.storing(Amounts(repositories=1)) as storing:
                try:
                    await self._store.create(key, _LIVE)
                except AlreadyExists:
                    storing.was_there()
                else:
                    return
            standing = await value(self._store, key)
            if standing is None:
                continue
            if standing.data != _LIVE:  # it counts until it is gone
                try:
                    await self._store.replace(key, _LIVE, standing.version)
                except PreconditionFailed:
                    continue
            return
        raise PreconditionFailed(key)

    async def knows(self, repository: Place) -> bool:
        """Whether the repository exists, with or without content, and is not being deleted."""
        return (await self.look(repository)).known

    async def look(self, repository: Place) -> Seen:
        """As ``knows``; ``stood`` tells later whether it has been so all the while."""
        name = _name(repository)
        (stamp,) = await stamps_of(self._coordinator, name)
        try:
            known = await self.known.use(name, stamp, lambda: self._load(repository))
        except NotFound:
            known = False
        return Seen(known, stamp)

    async def stood(self, repository: Place, seen: Seen) -> bool:
        """Whether an entry that was ``seen``, or made since, is not being taken out.

        Asked for after something was stored: who takes it out later finds that. Without a stamp
        the store is asked.
        """
        (stamp,) = await stamps_of(self._coordinator, _name(repository))
        if stamp is not None and stamp == seen.stamp:
            return True
        try:
            return await self._load(repository)
        except NotFound:
            return False

    async def leave(self, repository: Place, charge: Charge = NO_CHARGE) -> bool:
        """Take the repository out of the catalog if it holds neither manifest nor tag.

        Whether it held none: one to which something is pushed by now stays. ``charge`` gets back
        what it counted, if it is certain that nobody else took it out.
        """
        key = keys.catalog(repository)
        for _ in range(_ROUNDS):
            before = await charge.round()
            # Its stamp is new before anybody looks what there is, even if the lock was lost: a
            # push that has not seen it leave, and finds the stamp as it was, has stored by now.
            async with self._coordinator.change(_name(repository)):
                leaving = await self._set_leaving(key)
            if leaving is None:
                return True
            for prefix in (keys.manifests(repository), keys.tags(repository)):
                if await self._store.list(prefix, limit=1):
                    await self.make(repository)
                    return False
            try:
                if await self._store.delete(key, version=leaving):
                    charge.removed(Amounts(repositories=1), before)
            except PreconditionFailed:
                standing = await value(self._store, key)
                if standing is not None and standing.data != _LIVE:
                    continue  # another who does this, and may break off
            return True
        raise PreconditionFailed(key)

    async def _set_leaving(self, key: str) -> str | None:
        """Swap an entry to LEAVING; return its version, ``None`` where there is none."""
        for _ in range(_ROUNDS):
            standing = await stat(self._store, key)
            if standing is None:
                return None
            record = b"leaving %b" % secrets.token_hex(8).encode()
            try:
                return await self._store.replace(key, record, standing.version)
            except PreconditionFailed:
                continue
        raise PreconditionFailed(key)

    async def lists(self, repository: Place) -> bool:
        """Whether the catalog lists the repository, also while it is being deleted."""
        return await exists(self._store, keys.catalog(repository))

    async def _load(self, repository: Place) -> bool:
        """``NotFound`` for one that is leaving, too: what is not so is never remembered."""
        found = await self._store.stat(keys.catalog(repository))
        if found.size != len(_LIVE):
            raise NotFound(keys.catalog(repository))
        return True

    async def page(self, page: Page, visible: AsyncIterator[Visible]) -> CatalogPage:
        """Return the repositories after ``page.last`` that the caller may see.

        Project by project in the order of ``visible``, which leaves out those before ``page.last``.
        """
        wanted = PAGE if page.n is None else page.n
        found: list[RepositoryName] = []
        async for project in visible:
            async for name in self._names(project, page.last or ""):
                if project.shows(name):
                    if len(found) == wanted:
                        return CatalogPage(found, more=True)
                    found.append(name)
        return CatalogPage(found, more=False)

    async def _names(self, project: Visible, last: str) -> AsyncIterator[RepositoryName]:
        """Yield the names of a project's repositories after ``last``, in byte order."""
        if project.place and project.name > last and await self.knows(project.place):
            yield RepositoryName(project.name)
        rest = last.removeprefix(project.name) if last.startswith(f"{project.name}/") else ""
        if not project.name:
            rest = last
        after = keys.catalog(Place(project.place + rest)) if rest else ""
        async for key in every_key(self._store, keys.cataloged(project.place), after):
            yield RepositoryName(project.name + keys.catalog_place(key)[len(project.place) :])


def _name(repository: Place) -> str:
    """What the coordinator calls a repository's entry."""
    return f"catalog/{repository}"
