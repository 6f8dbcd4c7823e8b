"""The token service on a real listener, over accounts and projects that a test writes down.

Beside the token service's rooms there is one that says whom a request is taken for, as the
registry's own API would.
"""

import asyncio
import base64
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

from auth.access import Access, Standing, Tenant
from auth.credentials import InvalidCredentials
from auth.identity import Identity, Kind, Scheme
from auth.judgement import Allow
from auth.passwords import Passwords
from auth.policy import Action, ProjectPolicy
from auth.roles import Role, Verb, Visibility
from auth.scopes import NONE, Scopes
from registry.backend import Backend
from registry.config import TLSConfig, load
from registry.http.answer import Answer
from registry.http.endpoint import Endpoint
from registry.http.gate import LoginGate
from registry.http.limits import Limits
from registry.http.listener import Listener
from registry.http.login import needed_scopes
from registry.http.tls import Certificate
from registry.logins import Accounts, opened
from registry.spec import requests as spec
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.oracle.local import Observed

SECRET = "secret:"
PASSWORD = "correct horse battery"


@dataclass
class World:
    """Accounts and projects. Alice owns demo; base is public; bob has nothing."""

    passwords: dict = field(default_factory=lambda: {"alice": PASSWORD, "bob": PASSWORD})
    roles: dict = field(
        default_factory=lambda: {"demo": {"user:alice": Role.OWNER}, "base": {}, "other": {}}
    )
    ids: dict = field(default_factory=lambda: {"demo": "id-1", "base": "id-2", "other": "id-3"})
    public: set = field(default_factory=lambda: {"base"})
    standings: dict = field(default_factory=dict)
    offline: dict = field(default_factory=dict)
    checks: list = field(default_factory=list)

    async def standing(self, identity):
        return self.standings.get(identity.name, Standing())

    async def access(self, identity, project):
        standing = await self.standing(identity)
        known = self.roles.get(project)
        principals = [identity.name, *(f"group:{group}" for group in identity.groups)]
        roles = {each: known[each] for each in principals if known and each in known}
        if known is None or not (roles or project in self.public):
            return Access(standing)
        visibility = Visibility.PUBLIC if project in self.public else Visibility.PRIVATE
        return Access(standing, Tenant(self.ids[project], project), visibility, roles)

    def proof(self, identity, project, access):
        return None

    async def projects(self, identity):
        return sorted(self.roles)

    async def removed(self, tenant):
        return False

    async def check(self, name, secret, address):
        self.checks.append((name, address))
        if name == "demo+ci" and secret == "mrg_bot":
            ceiling = Scopes.parse_ceiling("repository:demo/*:pull")
            return Identity(
                "robot:demo/ci",
                Kind.ROBOT,
                ceiling=ceiling,
                scheme=Scheme.BASIC,
                credential=f"{SECRET}bot",
            )
        if self.passwords.get(name) != secret:
            return None
        return Identity(f"user:{name}", scheme=Scheme.BASIC, credential=f"{SECRET}{name}")

    async def issue(self, identity, client):
        text = f"offline-{len(self.offline)}"
        self.offline[text] = (identity, client)
        return text

    async def redeem(self, text):
        if text not in self.offline:
            raise InvalidCredentials("no such refresh token")
        return self.offline[text][0]

    async def revoke(self, text):
        self.offline.pop(text, None)


class WhoRoom:
    """Says who sent a request to the API, and whether it would be allowed."""

    def __init__(self, login, policy):
        self.login, self.gate, self.policy = login, LoginGate(login), policy

    async def answer(self, http, record):
        request = spec.parse(record.method, record.path, record.query)
        verb = {"PUT": Verb.PUSH, "POST": Verb.PUSH, "PATCH": Verb.PUSH, "DELETE": Verb.DELETE}.get(
            http.method, Verb.PULL
        )
        if isinstance(request, spec.GetUpload | spec.CancelUpload):
            verb = Verb.PUSH
        repository = getattr(request, "repository", None)
        needed = needed_scopes(verb, repository) if repository else NONE
        identity = await self.gate.identify(http, request, verb if repository else Verb.ENTER)
        allowed = None
        if repository:
            decision = await self.policy.decide(identity, Action(verb, repository))
            allowed = isinstance(decision, Allow)
        if identity.kind is Kind.ANONYMOUS and not allowed:
            raise self.login.unauthorized(http, needed)
        body = {
            "name": identity.name, "kind": identity.kind, "groups": sorted(identity.groups),
            "scheme": identity.scheme, "allowed": allowed, "credential": identity.credential,
            "ceiling": str(identity.ceiling or ""),
        }  # fmt: skip
        return Answer(200, [("Content-Type", "application/json")], msgspec.json.encode(body))


@dataclass
class Served:
    """A running service and a client of it."""

    url: str
    world: World
    session: aiohttp.ClientSession
    observed: Observed
    store: MemoryStore
    ssl: object = None

    async def get(self, path="/token", **options):
        return await self.request("GET", path, **options)

    async def post(self, form, path="/token", **options):
        return await self.request("POST", path, data=form, **options)

    async def request(self, method, path, *, auth=None, headers=None, **options):
        """`auth` is a user name and a password."""
        headers = dict(headers or {})
        if auth is not None:
            encoded = base64.b64encode(":".join(auth).encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
        async with self.session.request(
            method,
            self.url + path,
            headers=headers,
            ssl=self.ssl or False,
            allow_redirects=False,
            **options,
        ) as answer:
            return await _whole(answer)


async def _whole(answer):
    answer.data = await answer.read()
    answer.fields = msgspec.json.decode(answer.data) if answer.data else None
    return answer


@asynccontextmanager
async def served(settings=None, *, world=None, store=None, files=(), attempts=None, tls=None):
    """Run the service with these settings."""
    world = world or World()
    flags = {"auth.mode": "projects", "server.addr": "127.0.0.1:0"} | (settings or {})
    config = load(files, {}, flags)
    store = store or MemoryStore()
    backend = Backend(store, InProcessCoordinator())
    policy = ProjectPolicy(world)
    async with AsyncExitStack() as stack:
        passwords = Passwords()
        stack.callback(passwords.close)
        accounts = Accounts(policy, world, world.standing, world)
        logins = await stack.enter_async_context(
            opened(config, backend, accounts, passwords, Limits(), attempts)
        )
        observed = Observed()
        endpoint = Endpoint([logins.tokens, WhoRoom(logins.login, policy)], observed)
        certificate = Certificate(config.tls, lambda _: None) if config.tls.certificate else None
        sock = socket.create_server(("127.0.0.1", 0))
        sock.settimeout(0)
        listener = Listener(endpoint, config.server, TLSConfig(), observed, certificate=certificate)
        listener.start([sock])
        stack.push_async_callback(listener.drain, 1, asyncio.Event())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        )
        scheme = "https" if certificate else "http"
        url = f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"
        yield Served(url, world, session, observed, store, tls)
