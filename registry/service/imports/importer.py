"""The importer: takes over the repositories of a source, and remembers how far it is.

What is here already is not fetched again, so an import may be broken off and repeated; and one that
is made again after the source went on takes over what is new. Every manifest and every blob is
compared with its digest before it has a name.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from registry.service.entries import value
from registry.service.imports.repository import Counts, RepositoryImport
from registry.service.imports.source import Source, SourceUnknown
from registry.service.ingest import Ingest
from registry.service.records import Corrupt, Record
from registry.service.services import Services
from registry.spec.errors import RegistryError
from registry.spec.names import Place, RepositoryName
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore, StorageError

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
        jobs: int = 4,
        told: Callable[[Journal], None] = lambda _: None,
        failed: Failed = lambda _, __: None,
    ) -> None:
        """``services`` are over ``store``. Up to ``jobs`` blobs of an image are fetched at once.

        ``into`` and what the source was asked for tell this import from others of the source.
        """
        self._store = store
        self._coordinator = coordinator
        self._services = services
        self._source = source
        self._places = places
        self._jobs = jobs
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
            resumed, seen = bool(journal.after), set[str]()
            async for name in self._source.repositories(journal.after):
                journal = await self._keep(await self._repository(name, journal))
                if resumed:
                    seen.add(name)
            if resumed:
                async for name in self._source.repositories(""):
                    if name not in seen:
                        journal = await self._keep(await self._again(name, journal))
            return await self._keep(
                msgspec.structs.replace(journal, ended=self._services.terms.clock())
            )

    async def _keep(self, journal: Journal) -> Journal:
        await self._store.put(self._key, journal.encode())
        self._told(journal)
        return journal

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

    async def _again(self, name: str, journal: Journal) -> Journal:
        """Look at a repository that was passed over: what is new in it counts, itself it did."""
        looked = await self._repository(name, journal)
        return msgspec.structs.replace(
            looked,
            after=journal.after,
            repositories=journal.repositories,
            tags=journal.tags,
        )

    async def _repository(self, text: str, journal: Journal) -> Journal:
        counts = Counts()

        def failed(what: str, error: Exception) -> None:
            self._report(what, getattr(error, "message", None) or str(error))

        try:
            name = RepositoryName.parse(text)
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
                jobs=self._jobs,
            )
            await work.take()
        except (RegistryError, SourceUnknown, NoProject, Corrupt) as error:
            counts.failed += 1
            failed(text, error)
        return msgspec.structs.replace(
            journal,
            after=text,
            repositories=journal.repositories + 1,
            manifests=journal.manifests + counts.manifests,
            tags=journal.tags + counts.tags,
            blobs=journal.blobs + counts.blobs,
            bytes=journal.bytes + counts.bytes,
            failed=journal.failed + counts.failed,
        )
