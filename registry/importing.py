"""The composition root's part for imports: sources, where repositories go, and the importer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from auth.identity import Identity, Kind
from registry.accounting import limits_of
from registry.backend import Backend, s3_settings
from registry.config import Config, ConfigError, load
from registry.pushing import pushing
from registry.service.blobs import SMALL
from registry.service.imports.importer import Failed, Importer, Journal, NoProject
from registry.service.imports.repository import BY
from registry.service.imports.source import Source
from registry.service.imports.tree import TreeSource
from registry.service.ingest import Ingest
from registry.service.projects.directory import StoredDirectory
from registry.service.projects.events import log_event
from registry.service.projects.projects import Projects, Wanted
from registry.service.services import Services
from registry.spec.names import Place, RepositoryName
from storage.filesystem import FileStore
from storage.plain import PlainDirectory
from storage.ports import NotFound, Unavailable

if TYPE_CHECKING:
    from storage.s3 import S3Settings, S3Store

_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """How it is imported: repositories are put below the name ``into``, if there is one.

    ``create`` projects that are not there; fetch up to ``jobs`` blobs at once.
    """

    into: str = ""
    create: bool = False
    jobs: int = 8


@contextlib.asynccontextmanager
async def tree(config: Config, where: Path, *, copy: bool) -> AsyncIterator[Source]:
    """Open a storage tree: a directory, or the bucket that a configuration file names.

    Files are taken over as they are where the store is on their file system, and objects are copied
    by the server where it has both buckets; unless they are to be ``copy``-ed by us.
    """
    if await asyncio.to_thread(where.is_file):
        from storage.s3 import S3Store  # noqa: PLC0415  botocore takes 0.3 s: only where it is used

        found = load([where], {}, {})
        if found.storage.driver != "s3":
            raise ConfigError(f"{where} names no bucket: name the directory itself")
        async with contextlib.AsyncExitStack() as stack:
            settings = s3_settings(found)
            bucket = await S3Store.reading(settings)
            stack.push_async_callback(bucket.close)
            name = f"{settings.endpoint}/{settings.bucket}/{settings.prefix}"
            own = config.storage.s3
            if copy or config.storage.driver != "s3" or own.endpoint != settings.endpoint:
                yield TreeSource(bucket, name)
                return
            store = await S3Store.reading(s3_settings(config))
            stack.push_async_callback(store.close)
            yield TreeSource(bucket, name, partial(_take_object, store, settings))
        return
    plain = PlainDirectory(where)
    name = str(await asyncio.to_thread(where.resolve))
    try:
        if copy or config.storage.driver != "filesystem":
            yield TreeSource(plain, name, files=True)
            return
        # Of its own: only this one takes files over.
        files = FileStore(Path(config.storage.path))
        try:
            yield TreeSource(plain, name, partial(_take, plain, files), files=True)
        finally:
            files.close()
    finally:
        plain.close()


async def _take(
    plain: PlainDirectory,
    files: FileStore,
    source: str,
    key: str,
    _size: int,
) -> bool:
    async with contextlib.AsyncExitStack() as stack:
        try:
            file = await stack.enter_async_context(plain.open_file(source))
        except (NotFound, Unavailable):
            return False  # who reads it says so
        return await files.take(key, file.fd)


async def _take_object(
    store: "S3Store", settings: "S3Settings", source: str, key: str, size: int
) -> bool:
    """Have the server copy it; not what is read as a whole, and then kept with its pointer."""
    return size > SMALL and await store.take(key, f"{settings.bucket}/{settings.prefix}{source}")


async def importer(
    config: Config,
    backend: Backend,
    source: Source,
    terms: ImportTerms,
    told: Callable[[Journal], None],
    failed: Failed,
) -> Importer:
    """Make an importer. No quota keeps it from importing; what came is counted when it ends."""
    services = await pushing(config, backend, allow_sparse=config.limits.allow_sparse)
    return Importer(
        backend.store,
        backend.coordinator,
        services,
        Ingest(backend.store, services.blobs),
        source,
        partial(_place, _projects(config, backend, services), terms),
        into=terms.into,
        jobs=terms.jobs,
        told=told,
        failed=failed,
    )


def _projects(config: Config, backend: Backend, services: Services) -> Projects | None:
    if config.auth.mode != "projects":
        return None
    directory = StoredDirectory(backend.store, backend.coordinator, _MEMORY)
    return Projects(
        backend.store,
        backend.coordinator,
        directory,
        log_event,
        services.quotas,
        limits_of(config),
    )


async def _place(projects: Projects | None, terms: ImportTerms, name: RepositoryName) -> Place:
    """Where a repository's content goes."""
    if terms.into:
        name = RepositoryName.parse(f"{terms.into}/{name}")
    if projects is None:
        return Place(name)
    project = await projects.named(name.project)
    if project is None and terms.create:
        project, _ = await projects.create(Wanted(name.project), Identity(BY, Kind.SYSTEM))
    if project is None:
        raise NoProject(f"there is no project {name.project}: create it, or let it be created")
    return Place(project.id + name[len(name.project) :])
