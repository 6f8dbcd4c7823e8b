"""The composition root's part for a platform: it is asked for its projects, again and again."""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import aiohttp

from auth.chain import AuthenticatorUnavailable
from auth.credentials import InvalidCredentials
from auth.fetch import HttpFetch
from auth.identity import Identity, Kind
from auth.platform import Platform
from auth.policy import Policy
from registry.backend import Backend
from registry.background import beside, repeated
from registry.config import Config
from registry.service.platform.lifecycle import Lifecycle
from registry.service.platform.reconciliation import Guards, Reconciler
from registry.service.platform.shared import SharedRepository
from registry.service.platform.terms import PlatformTerms
from registry.service.services import Services
from registry.spec.names import RepositoryName
from registry.spec.problems import PlatformUnreadable

_log = logging.getLogger("moorage.platform")

_LONGEST: Final = 32 * 1024 * 1024
"""Largest list of projects, in bytes."""

_SYSTEM: Final = Identity("system:platform", Kind.SYSTEM)


def platform_terms(config: Config) -> PlatformTerms:
    """Return how the projects of a platform are kept."""
    platform = config.platform
    return PlatformTerms(
        config.auth.hopsworks.prefix,
        platform.service,
        platform.members == "told",
        frozenset(platform.bases),
    )


def shared_repository(
    config: Config, policy: Policy, services: Services
) -> SharedRepository | None:
    """Return the repository that all projects of the platform are shown in, if it has one."""
    platform = config.platform
    if not platform.shared_repository:
        return None
    name = RepositoryName(platform.shared_repository)
    return SharedRepository(name, policy, services, platform.bases)


@contextlib.asynccontextmanager
async def reconciling(
    config: Config, backend: Backend, lifecycle: Lifecycle, *, repeat: bool
) -> AsyncIterator[Reconciler | None]:
    """Make what compares with the platform's list; ``None`` where it is not asked.

    With ``repeat`` it does so again and again while this is entered.
    """
    platform, where = config.platform, config.auth.hopsworks
    if not (where.url and platform.key):
        yield None
        return
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=4, force_close=True),
                trace_configs=list(backend.traces("platform")),
            )
        )
        fetch = HttpFetch(
            lambda: session,
            ca_file=Path(where.ca_file) if where.ca_file else None,
            plain_http=where.plain_http,
            seconds=where.timeout_seconds,
            most=_LONGEST,
        )
        listing = _Listing(Platform(where.url, fetch.ask), platform.key.reveal())
        guards = Guards(platform.reconcile_ends, platform.unlisted_seconds)
        reconciler = Reconciler(lifecycle, backend.coordinator, listing, guards)
        service = platform.service
        by = Identity(service, Kind(service.partition(":")[0])) if service else _SYSTEM

        async def run() -> None:
            try:
                await reconciler.run(by)
            except PlatformUnreadable as error:
                _log.warning("projects were not compared with the platform's: %s", error)

        if repeat and platform.reconcile_seconds:
            seconds, failed = platform.reconcile_seconds, "projects were not compared"
            again = repeated("platform.reconcile", run, seconds, _log, failed)
            await stack.enter_async_context(beside(again))
        yield reconciler


class _Listing:
    """The platform, asked with the registry's own key."""

    def __init__(self, platform: Platform, key: str) -> None:
        self._platform = platform
        self._key = key

    async def projects(self) -> Mapping[int, str]:
        """See ``Listing``."""
        try:
            return await self._platform.projects(self._key)
        except (AuthenticatorUnavailable, InvalidCredentials) as error:
            raise PlatformUnreadable(str(error)) from error

    async def team(self, name: str) -> Mapping[str, str] | None:
        """See ``Listing``."""
        try:
            return await self._platform.team(self._key, name)
        except (AuthenticatorUnavailable, InvalidCredentials) as error:
            raise PlatformUnreadable(str(error)) from error
