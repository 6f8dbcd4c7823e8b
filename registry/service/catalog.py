"""The catalog: which repositories exist."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.service.remembered import Remembered
from registry.spec.names import RepositoryName
from registry.spec.pagination import Page
from storage import keys
from storage.coordination import Coordinator
from storage.ports import NotFound, ObjectStore

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

    async def enter(self, repository: RepositoryName) -> None:
        """Make the repository exist. May be repeated, and by many at once."""
        if not await self.knows(repository):
            await self._store.put(keys.catalog(repository), b"")

    async def knows(self, repository: RepositoryName) -> bool:
        """Whether the repository exists, with or without content."""

        async def load() -> bool:
            await self._store.stat(keys.catalog(repository))
            return True

        try:
            return await self.known.get(f"catalog/{repository}", load)
        except NotFound:
            return False

    async def page(self, page: Page, visible: Callable[[RepositoryName], bool]) -> CatalogPage:
        """Return the repositories after ``page.last`` that are ``visible`` to the caller."""
        wanted = PAGE if page.n is None else page.n
        found: list[RepositoryName] = []
        after = f"{keys.CATALOG}{page.last}!" if page.last else ""
        while True:
            batch = await self._store.list(keys.CATALOG, after=after, limit=PAGE)
            for key in batch:
                if len(found) == wanted:
                    return CatalogPage(found, more=True)
                name = keys.catalog_name(key)
                if visible(name):
                    found.append(name)
            if len(batch) < PAGE:
                return CatalogPage(found, more=False)
            after = batch[-1]
