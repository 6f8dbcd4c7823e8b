"""The composition root's part for tenants: who is let in, and where their projects are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from auth.chain import Unlimited
from auth.passwords import Passwords
from auth.policy import OpenPolicy, Policy
from registry import logins
from registry.accounting import limits_of
from registry.auditing import audit_key
from registry.backend import Backend
from registry.backing import desk_of
from registry.config import Config
from registry.http.console.login import Entrance
from registry.http.endpoint import Room
from registry.http.gate import Gate, LoginGate, OpenGate
from registry.http.limits import Limits
from registry.http.management.room import Management
from registry.http.management.route import Managed
from registry.http.throttle import Throttle
from registry.http.trail import Trail
from registry.provisioning import platform_terms, reconciling, shared_repository
from registry.rates import Limiting
from registry.service.audit.journal import Journal
from registry.service.audit.log import AuditLog
from registry.service.platform.granting import SharedGrants
from registry.service.platform.receiving import Receiver
from registry.service.platform.shared import SharedRepository
from registry.service.projects.events import log_event
from registry.service.projects.projects import Projects
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services
from registry.spec.names import RepositoryName
from registry.telling import destinations, outbox, sending


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in, what they may do, and the rooms beside the API where that is seen to.

    ``tokens`` is the token service's, which may be served alone. ``tenancy`` is ``None`` where
    there are no projects: anyone may do all. ``shared`` is the repository that all projects of the
    platform are shown in, if it has one.
    """

    policy: Policy
    gate: Gate
    tokens: Sequence[Room]
    rooms: Sequence[Room]
    trail: Trail
    tenancy: Tenancy | None = None
    shared: SharedRepository | None = None


@contextlib.asynccontextmanager
async def admitted(
    config: Config,
    backend: Backend,
    services: Services,
    limits: Limits,
    limiting: Limiting | None = None,
    journal: Journal | None = None,
    *,
    purge: bool,
) -> AsyncIterator[Admission]:
    """Open what the configuration says of logins. With ``purge``, see to removed projects too.

    What is done is told to ``journal``.
    """
    trail, log = Trail(journal), AuditLog(backend.store, audit_key(config))
    auth, desk = config.auth, desk_of(config, backend, services.terms)
    limiting = limiting or Limiting()
    throttle = limiting.throttle
    if auth.mode == "open":
        policy = OpenPolicy()
        managed = Managed(
            policy, services, None, log, trail=trail, bases=bases_of(config), backups=desk
        )
        rooms = (
            Management(managed, None, limits, throttle),
            *console(config, managed, None, limits, throttle),
        )
        yield Admission(policy, OpenGate(), (), rooms, trail)
        return
    passwords = Passwords()
    tenancy = Tenancy.over(
        backend.store,
        backend.coordinator,
        services,
        passwords,
        memory=config.cache.bytes // 4,
        terms=TenancyTerms(
            users_create=auth.users_create,
            bootstrap=auth.bootstrap_secret.reveal(),
            offline_days=auth.token.offline_days,
            limits=limits_of(config),
            destinations=destinations(config),
            public_url=config.server.public_url,
            platform=platform_terms(config),
        ),
        events=log_event if journal is None else journal.changed,
    )
    if journal is not None:
        if config.webhooks.enabled:
            journal.accompany_by(outbox(config, tenancy.webhooks))
        journal.place_by(partial(_id_of, tenancy.projects))
    shared = shared_repository(config, tenancy.policy, services)
    accounts = logins.Accounts(
        SharedGrants(shared) if shared else tenancy.policy,
        tenancy.credentials,
        tenancy.directory.standing,
        tenancy.offline,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passwords.close)
        opened = await stack.enter_async_context(
            logins.opened(config, backend, accounts, passwords, limits, limiting.attempts, trail)
        )
        if purge:
            purging = asyncio.create_task(tenancy.removals.run())
            stack.callback(purging.cancel)
        attempts = limiting.attempts or Unlimited()
        send = None
        if config.webhooks.enabled:
            send = await stack.enter_async_context(sending(config, backend))
        reconciler = await stack.enter_async_context(
            reconciling(config, backend, tenancy.platform, repeat=purge)
        )
        managed = Managed(
            tenancy.policy,
            services,
            tenancy,
            log,
            attempts,
            trail,
            send,
            Receiver(config.platform.events_secret.reveal()),
            bases_of(config),
            reconciler,
            desk,
        )
        rooms = (
            Management(managed, opened.login, limits, throttle),
            *console(config, managed, opened.entrance, limits, throttle),
        )
        gate = LoginGate(opened.login)
        yield Admission(tenancy.policy, gate, (opened.tokens,), rooms, trail, tenancy, shared)


def console(
    config: Config,
    managed: Managed,
    entrance: Entrance | None,
    limits: Limits,
    throttle: Throttle | None,
) -> Sequence[Room]:
    """The console's room, if it is wanted. Unless that is said, only where all is open anyway."""
    wanted = config.console.enabled
    if wanted == "off" or (wanted == "auto" and config.auth.mode != "open"):
        return ()
    from registry.http.console.room import Console  # noqa: PLC0415  templates, only where needed

    return (Console(managed, entrance, limits, throttle, config.server.public_url),)


def bases_of(config: Config) -> Sequence[RepositoryName]:
    """Where base images are."""
    return tuple(map(RepositoryName, config.environments.bases))


async def _id_of(projects: Projects, name: str) -> str:
    project = await projects.named(name)
    return project.id if project is not None else ""
