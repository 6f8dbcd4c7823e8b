"""The importer: takes over the repositories of a source, and remembers how far it is.

What is here already is not fetched again, so an import may be broken off and repeated; and one that
is made again after the source went on takes over what is new. Every manifest and every blob is
compared with its digest before it has a name.
"""

import hashlib
from collections.abc import Awaitable, Callable

import msgspec

from registry.service.entries import value
from registry.service.imports.repository import Counts, RepositoryImport
from registry.service.imports.source import Source, SourceUnknown
from registry.service.ingest import Ingest
from registry.service.records import Record
from registry.service.services import Services
from registry.spec.errors import RegistryError
from registry.spec.names import Place, RepositoryName
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ContentStore

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
        jobs: int = 4,
        told: Callable[[Journal], None] = lambda _: None,
        failed: Failed = lambda _, __: None,
    ) -> None:
        """``services`` are over ``store``. Up to ``jobs`` blobs of an image are fetched at once."""
        self._store = store
        self._coordinator = coordinator
        self._services = services
        self._source = source
        self._places = places
        self._jobs = jobs
        self._told = told
        self._report = failed
        self._ingest = ingest
        self._key = keys.imported(hashlib.sha256(source.name.encode()).hexdigest()[:32])

    async def journal(self) -> Journal | None:
        """How far the last import from this source is; ``None`` if there was none."""
        found = await value(self._store, self._key)
        return Journal.decode(found.data) if found is not None else None

    async def run(self, *, wait: float = 0.0) -> Journal:
        """Import everything; one that was broken off goes on behind the last repository.

        ``LeaseHeld`` where another import from this source is at work after ``wait`` seconds.
        ``SourceUnavailable``: it is to be run again.
        """
        async with self._coordinator.hold(f"import/{self._key}", wait=wait):
            journal = await self.journal()
            if journal is None or journal.ended:
                journal = Journal(self._source.name, self._services.terms.clock())
            async for name in self._source.repositories(journal.after):
                journal = await self._repository(name, journal)
                await self._store.put(self._key, journal.encode())
                self._told(journal)
            journal = msgspec.structs.replace(journal, ended=self._services.terms.clock())
            await self._store.put(self._key, journal.encode())
            await self._services.candidates.flush(everything=True)
            return journal

    async def _repository(self, text: str, journal: Journal) -> Journal:
        counts = Counts()

        def failed(what: str, error: Exception) -> None:
            self._report(what, getattr(error, "message", None) or str(error))

        try:
            name = RepositoryName.parse(text)
            place = await self._places(name)
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
        except (RegistryError, SourceUnknown, NoProject) as error:
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
