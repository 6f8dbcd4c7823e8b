"""A registry with logins and projects in the test's own process, and callers of every kind."""

import base64
import contextlib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import argon2

from auth.access import Tenant
from auth.identity import Identity
from auth.policy import Policy
from auth.roles import Role, Visibility
from registry.auditing import audited
from registry.backend import Backend
from registry.config import load
from registry.http.api import RegistryApi
from registry.http.call import Server
from registry.http.endpoint import Room
from registry.http.trail import Trail
from registry.rates import limiting
from registry.service.audit.journal import Journal
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.projects import Wanted
from registry.service.projects.robots import RobotTerms
from registry.service.projects.tenancy import Tenancy
from registry.service.services import Services
from registry.tenants import admitted
from storage.coordination import Coordinator
from tests.fixtures.secrecy import SECRETS, note_kept
from tests.oracle.local import Kind, LocalRegistry
from tests.oracle.wire import Client, Headers, Reply

ROOT = Identity("user:root")
PASSWORD = "a password of ten or more"
BOOTSTRAP = "the secret that makes the first administrator"


class TenantRegistry(LocalRegistry):
    """Serves with `auth.mode = "projects"`. What administrators do is done by the services."""

    projects = True

    def __init__(self, kind: Kind, data: Path | None = None, **options: Any) -> None:
        self._settings = options.pop("settings", {})
        self._files = options.pop("files", ())
        super().__init__(kind, data, **options)
        self._stack = AsyncExitStack()
        self.tenancy: Tenancy
        self.services: Services
        self.policy: Policy
        self.trail: Trail
        self.journal: Journal | None = None
        self.audit_lines: list[bytes] = []

    async def _rooms(self, services: Services, coordinator: Coordinator) -> Sequence[Room]:
        flags = {
            "auth.mode": "projects",
            "auth.bootstrap_secret": BOOTSTRAP,
            "rates.enabled": "off",
            "console.enabled": "on",
        } | self._settings
        config = load(self._files, {}, flags)
        backend = Backend(self.store, coordinator)
        limited = await self._stack.enter_async_context(limiting(config))
        self.journal = await self._stack.enter_async_context(
            audited(config, self.store, self.audit_lines.append)
        )
        admission = await self._stack.enter_async_context(
            admitted(config, backend, services, self._limits, limited, self.journal, purge=False)
        )
        assert admission.tenancy is not None
        self.tenancy, self.services = admission.tenancy, services
        self.policy, self.trail = admission.policy, admission.trail
        throttle = limited.throttle
        server = Server(
            services,
            admission.policy,
            self._limits,
            admission.gate,
            throttle,
            admission.trail,
            admission.shared,
        )
        slowing = [throttle] if throttle is not None else []
        return [*slowing, *admission.tokens, *admission.rooms, RegistryApi(server)]

    async def _stop(self) -> None:
        await self._stack.aclose()
        for key in await self.store.list("secrets/"):
            note_kept(key, (await self.store.get(key)).data)
        SECRETS.scan("the audit log", b"".join(self.audit_lines).decode())
        await super()._stop()

    def user(self, name: str, *groups: str, **terms: bool) -> None:
        """Make an account, with `PASSWORD`."""
        accounts = self.tenancy.accounts
        self.run(accounts.create(name, PASSWORD, AccountTerms(groups, **terms), ROOT))

    def project(
        self, name: str, visibility: Visibility = Visibility.PRIVATE, **roles: str
    ) -> Tenant:
        """Make a project of which users have these roles."""
        wanted = Wanted(name, visibility, owner="user:somebody-else")
        project, _ = self.run(self.tenancy.projects.create(wanted, ROOT))
        for who, role in roles.items():
            self.member(project.tenant, f"user:{who}", role)
        return project.tenant

    def member(self, tenant: Tenant, principal: str, role: str) -> None:
        """Make a member."""
        self.run(self.tenancy.members.put(tenant, principal, Role(role), ROOT))

    def robot(self, tenant: Tenant, name: str, role: str, **terms: Any) -> str:
        """Make a robot account; return its secret."""
        issued = self.run(
            self.tenancy.robots.put(tenant, name, RobotTerms(Role(role), **terms), ROOT)
        )
        return str(issued.secret)

    def access_token(self, user: str, scopes: str | None = None) -> str:
        """Make an access token; return its secret."""
        tokens = self.tenancy.access_tokens
        issued = self.run(tokens.create(f"user:{user}", "test", ROOT, scopes=scopes))
        return str(issued.secret)

    def caller(self, shown: "str | ssl.SSLContext | None") -> "Caller":
        """Give a client that shows these credentials: a header, or a certificate."""
        if isinstance(shown, ssl.SSLContext):
            return Caller(self.secure_address, None, context=shown)
        return Caller(self.address, shown)

    def token(self, authorization: "str | ssl.SSLContext | None", *scopes: str) -> str:
        """Ask the token service, as docker does; return the token."""
        query = "&".join(["service=moorage", *(f"scope={scope}" for scope in scopes)])
        with self.caller(authorization) as caller:
            return str(caller.get(f"/token?{query}").expect(200).json()["token"])


def basic(name: str, secret: str = PASSWORD) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def bearer(text: str) -> str:
    """The value of an `Authorization` header."""
    return f"Bearer {text}"


class Caller(Client):
    """Sends requests of one caller. `authorization` is the header's value, `None` for none."""

    def __init__(self, address: str, authorization: str | None, **options: Any) -> None:
        super().__init__(address, **options)
        self.authorization = authorization

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        if self.authorization is not None:
            headers = [*headers, ("Authorization", self.authorization)]
        return super().request(method, target, headers, body)


@contextlib.contextmanager
def quick_passwords() -> Iterator[None]:
    """Let what is made inside hash passwords in no time, for tests that log in a thousand times.

    What a check costs, and that an unknown account costs the same, other tests see to.
    """
    made = argon2.PasswordHasher

    def quick(**_: object) -> argon2.PasswordHasher:
        return made(time_cost=1, memory_cost=8, parallelism=1)

    with mock.patch("auth.passwords.argon2.PasswordHasher", quick):
        yield


@contextlib.contextmanager
def tenants(kind: Kind = "memory", data: Path | None = None, **options: Any) -> Iterator:
    with TenantRegistry(kind, data, **options) as registry:
        yield registry
