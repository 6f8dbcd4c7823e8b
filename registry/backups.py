"""The composition root's part for backups: where they are kept, and restores into a registry."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from registry.backend import Backend, opened
from registry.collecting import terms_of
from registry.config import Config, ConfigError, load
from registry.http.metrics import Metrics
from registry.pushing import pushing
from registry.service.backup.backups import Backup, Backups, Report, Told
from registry.service.backup.contents import Failed, Restored
from registry.service.backup.restore import Restore
from registry.version import __version__


def target_of(config: Config) -> Config:
    """Return the configuration of the store of backups: a directory, or what a file names.

    ``ConfigError`` where there is none, or it is the registry's own.
    """
    target = config.backup.target
    if not target:
        raise ConfigError("say where the backups are: --target, or backup.target")
    path = Path(target)
    if path.is_file():
        found = load([path], {}, {})
    else:
        found = load([], {}, {"storage.driver": "filesystem", "storage.path": target})
    if found.storage.driver == "memory":
        raise ConfigError("backups that are kept in memory would be lost at once")
    if _place(found) == _place(config):
        raise ConfigError("backups are kept in a store of their own, not in the registry's")
    return found


@contextlib.asynccontextmanager
async def backups_of(config: Config, *, make: bool = False) -> AsyncIterator[Backups]:
    """Open the store of backups. ``ConfigError`` for a missing directory, unless it is to be made.

    So a mistake in its name does not look like a store without backups.
    """
    where = target_of(config)
    path = Path(where.storage.path)
    missing = where.storage.driver == "filesystem" and not await asyncio.to_thread(path.is_dir)
    if missing and not make:
        raise ConfigError(f"there is no directory {path}: no backup has been made there")
    async with opened(where, Metrics(version=__version__)) as target:
        yield Backups(target.store, target.coordinator, files=target.files is not None)


async def backing_up(
    config: Config,
    backend: Backend,
    backups: Backups,
    names: Sequence[str],
    told: Told,
    missing: Report,
) -> Backup:
    """Back up ``names``, or all projects of the registry over ``backend``."""
    return await backups.create(
        backend.store,
        terms_of(config),
        projects=config.auth.mode == "projects",
        files=backend.files is not None,
        names=names,
        per_second=config.backup.bytes_per_second,
        told=told,
        missing=missing,
    )


async def restoring(
    config: Config,
    backend: Backend,
    backups: Backups,
    told: Callable[[Restored], None],
    failed: Failed,
) -> Restore:
    """Make what restores into the registry over ``backend``. No quota keeps it from doing so."""
    services = await pushing(config, backend, allow_sparse=True)
    return Restore(
        backend.store,
        backend.coordinator,
        services,
        backups,
        projects=config.auth.mode == "projects",
        per_second=config.backup.bytes_per_second,
        told=told,
        failed=failed,
    )


def _place(config: Config) -> tuple[str, ...]:
    storage = config.storage
    if storage.driver == "s3":
        return ("s3", storage.s3.endpoint, storage.s3.bucket, storage.s3.prefix)
    return (storage.driver, str(Path(storage.path).resolve()))
