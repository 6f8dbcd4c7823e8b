"""The composition root's part for tenants: who is let in, and where their projects are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from auth.chain import Unlimited
from auth.passwords import Passwords
from auth.policy import OpenPolicy, Policy
from registry import logins
from registry.backend import Backend
from registry.config import Config
from registry.http.endpoint import Room
from registry.http.gate import Gate, LoginGate, OpenGate
from registry.http.limits import Limits
from registry.http.management.room import Management
from registry.http.management.route import Managed
from registry.rates import Limiting
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in, what they may do, and the rooms beside the API where that is seen to.

    ``tokens`` is the token service's, which may be served alone. ``tenancy`` is ``None`` where
    there are no projects: anyone may do all.
    """

    policy: Policy
    gate: Gate
    tokens: Sequence[Room]
    rooms: Sequence[Room]
    tenancy: Tenancy | None = None


@contextlib.asynccontextmanager
async def admitted(
    config: Config,
    backend: Backend,
    services: Services,
    limits: Limits,
    limiting: Limiting | None = None,
    *,
    purge: bool,
) -> AsyncIterator[Admission]:
    """Open what the configuration says of logins. With ``purge``, see to removed projects too."""
    auth = config.auth
    limiting = limiting or Limiting()
    throttle = limiting.throttle
    if auth.mode == "open":
        policy = OpenPolicy()
        management = Management(Managed(policy, services, None), None, limits, throttle)
        yield Admission(policy, OpenGate(), (), (management,))
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
        ),
    )
    accounts = logins.Accounts(
        tenancy.policy, tenancy.credentials, tenancy.directory.standing, tenancy.offline
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(passwords.close)
        opened = await stack.enter_async_context(
            logins.opened(config, backend.store, accounts, passwords, limits, limiting.attempts)
        )
        if purge:
            purging = asyncio.create_task(tenancy.removals.run())
            stack.callback(purging.cancel)
        attempts = limiting.attempts or Unlimited()
        managed = Managed(tenancy.policy, services, tenancy, attempts)
        management = Management(managed, opened.login, limits, throttle)
        gate = LoginGate(opened.login)
        yield Admission(tenancy.policy, gate, (opened.tokens,), (management,), tenancy)
