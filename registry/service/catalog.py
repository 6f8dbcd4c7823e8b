"""The catalog: which repositories exist."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from auth.policy import Visible
from registry.service.listing import every_key
from registry.service.quotas.charges import NO_CHARGE, Charge
from registry.service.remembered import Remembered
from registry.spec.names import Place, RepositoryName
from registry.spec.pagination import Page
from registry.spec.quota import Amounts
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, NotFound, ObjectStore

PAGE = 1000
"""Repositories in one answer where the client names no number."""


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """Some repositories in byte order; ``more`` if others may follow."""

    repositories: Sequence[RepositoryName]
    more: bool


class Catalog:
    """Knows and lists repositories. One exists from its first manifest on."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator, memory: int) -> None:
        """Remember names in up to ``memory`` bytes."""
        self._store = store
        self.known: Remembered[bool] = Remembered(coordinator, memory, lambda _: 300)

    async def enter(self, repository: Place, charge: Charge = NO_CHARGE) -> None:
        """Make the repository exist. May be repeated, and by many at once.

        ``charge`` pays for it if it did not.
        """
        if not await self.knows(repository):
            await self.make(repository, charge)

    async def make(self, repository: Place, charge: Charge = NO_CHARGE) -> None:
        """As ``enter``, for one of which it was just found out that it does not exist."""
        if not charge.limited:
            await self._store.put(keys.catalog(repository), b"")
            return
        async with charge.storing(Amounts(repositories=1)) as storing:
            try:
                await self._store.create(keys.catalog(repository), b"")
            except AlreadyExists:
                storing.was_there()

    async def knows(self, repository: Place) -> bool:
        """Whether the repository exists, with or without content."""

        async def load() -> bool:
            await self._store.stat(keys.catalog(repository))
            return True

        try:
            return await self.known.get(f"catalog/{repository}", load)
        except NotFound:
            return False

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
