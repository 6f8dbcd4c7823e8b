"""The importer: takes over the repositories of a source, and remembers how far it is.

What is here already is not fetched again, so an import may be broken off and repeated; and one that
is made again after the source went on takes over what is new. Every manifest and every blob is
compared with its digest before it has a name.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec

from registry.service.bounded import in_turn
from registry.service.entries import value
from registry.service.imports.repository import Bounds, Counts, RepositoryImport
from registry.service.imports.source import Source, SourceUnknown
from registry.service.ingest import Ingest
from registry.service.records import Corrupt, Record
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.errors import RegistryError
from registry.spec.names import Place, RepositoryName
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, StorageError

_AT_ONCE: Final = 8
"""Repositories that are imported at once."""

_KEPT_SECONDS: Final = 1.0
"""Seconds from one record of how far it is to the next."""

Places = Callable[[RepositoryName], Awaitable[Place]]
"""Tells where a repository's content goes. ``NoProject``."""

Failed = Callable[[str, str], None]
"""Is told of what could not be imported, and why."""


class Journal(Record, frozen=True):
    """How far an import is, and what it came to. Times are in Unix seconds.

    ``after`` is the repository that was done last. ``manifests`` and ``blobs`` are those that were
    not here before, ``tags`` those that were looked at, ``bytes`` those of blobs. ``failed`` counts
    what could not be imported.
    """

    source: str
    began: float
    after: str = ""
    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    failed: int = 0
    ended: float = 0.0


class NoProject(Exception):
    """There is no project for a repository."""


class Importer:
    """Imports from one source into one registry, also while that serves."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        services: Services,
        ingest: Ingest,
        source: Source,
        places: Places,
        *,
        into: str = "",
        jobs: int = 8,
        told: Callable[[Journal], None] = lambda _: None,
        failed: Failed = lambda _, __: None,
    ) -> None:
        """``services`` are over ``store``. Up to ``jobs`` blobs are fetched at once.

        ``into`` and what the source was asked for tell this import from others of the source.
        """
        self._store = store
        self._coordinator = coordinator
        self._services = services
        self._source = source
        self._places = places
        self._bounds = Bounds(jobs)
        self._placed = asyncio.Lock()
        self._told = told
        self._report = failed
        self._ingest = ingest
        self._tenants: set[str] = set()
        which = "\n".join((source.name, into, *source.selection))
        self._key = keys.imported(hashlib.sha256(which.encode()).hexdigest()[:32])

    async def journal(self) -> Journal | None:
        """How far the last import of the same from this source is; ``None`` if there was none."""
        found = await value(self._store, self._key)
        return Journal.decode(found.data) if found is not None else None

    async def run(self, *, wait: float = 0.0) -> Journal:
        """Import everything; one that was broken off goes on behind the last repository.

        When it is through, it looks once more at what it had passed over, which may have changed
        since. One where something failed begins anew. ``LeaseHeld`` where another such import is at
        work after ``wait`` seconds. ``SourceUnavailable``: it is to be run again.
        """
        async with self._coordinator.hold(f"import/{self._key}", wait=wait), self._settled():
            journal = await self.journal()
            if journal is None or journal.ended or journal.failed:
                journal = Journal(self._source.name, self._services.terms.clock())
            progress = _Progress(self._store, self._key, self._services.terms, journal, self._told)
            seen = set[str]() if journal.after else None
            async with progress.kept():
                await self._walk(self._source.repositories(journal.after), progress.done, seen)
                if seen is not None:
                    await self._walk(self._passed_over(seen), progress.looked_again)
            return await progress.end()

    async def _passed_over(self, seen: set[str]) -> AsyncIterator[str]:
        async for name in self._source.repositories(""):
            if name not in seen:
                yield name

    async def _walk(
        self,
        names: AsyncIterator[str],
        done: Callable[[str, Counts], Awaitable[None]],
        seen: set[str] | None = None,
    ) -> None:
        """Import repositories, some at once; they are ``done`` in their order."""

        async def repository(name: str) -> Counts:
            if seen is not None:
                seen.add(name)
            return await self._repository(name)

        await in_turn(names, repository, done, at_once=_AT_ONCE)

    @asynccontextmanager
    async def _settled(self) -> AsyncIterator[None]:
        """Count and hand over what came, also where it breaks off."""
        try:
            yield
        except BaseException:
            with suppress(StorageError, Corrupt):
                await self._settle()
            raise
        await self._settle()

    async def _settle(self) -> None:
        await self._services.candidates.flush(everything=True)
        quotas = self._services.quotas
        for tenant in sorted(self._tenants):
            if await quotas.find(tenant) is not None:
                await quotas.counting.of(tenant)

    async def _repository(self, text: str) -> Counts:
        counts = Counts()

        def failed(what: str, error: Exception) -> None:
            self._report(what, getattr(error, "message", None) or str(error))

        try:
            name = RepositoryName.parse(text)
            async with self._placed:  # of a project that is made, one repository is the first
                place = await self._places(name)
            self._tenants.add(place.tenant)
            work = RepositoryImport(
                self._store,
                self._services,
                self._ingest,
                self._source,
                name,
                place,
                counts,
                failed,
                self._bounds,
            )
            await work.take()
        except (RegistryError, SourceUnknown, NoProject, Corrupt) as error:
            counts.failed += 1
            failed(text, error)
        return counts


class _Progress:
    """The journal of an import that is at work, written down now and then."""

    def __init__(
        self,
        store: ContentStore,
        key: str,
        terms: Terms,
        journal: Journal,
        told: Callable[[Journal], None],
    ) -> None:
        self._store = store
        self._key = key
        self._terms = terms
        self._journal = journal
        self._told = told
        self._when = 0.0

    async def done(self, name: str, counts: Counts) -> None:
        """Tell that a repository is done, and all before it."""
        await self._count(
            counts,
            after=name,
            repositories=self._journal.repositories + 1,
            tags=self._journal.tags + counts.tags,
        )

    async def looked_again(self, _name: str, counts: Counts) -> None:
        """Tell of one that was passed over: what is new in it counts, itself it did."""
        await self._count(counts)

    async def _count(self, counts: Counts, **more: Any) -> None:
        before = self._journal
        self._journal = msgspec.structs.replace(
            before,
            manifests=before.manifests + counts.manifests,
            blobs=before.blobs + counts.blobs,
            bytes=before.bytes + counts.bytes,
            failed=before.failed + counts.failed,
            **more,
        )
        self._told(self._journal)
        if self._terms.pace() - self._when >= _KEPT_SECONDS:
            await self._keep()

    async def end(self) -> Journal:
        """Tell that all is done."""
        self._journal = msgspec.structs.replace(self._journal, ended=self._terms.clock())
        await self._keep()
        self._told(self._journal)
        return self._journal

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write the journal down also where the import breaks off."""
        try:
            yield
        except BaseException:
            with suppress(StorageError):
                await self._keep()
            raise

    async def _keep(self) -> None:
        self._when = self._terms.pace()
        await self._store.put(self._key, self._journal.encode())
