"""What decisions are made from: read from the store, remembered while it is provably still so.

Three sorts of names have stamps here, and every change takes those that it concerns:

- ``principal/<principal>``: its account, its secrets, and the index of its projects;
- ``project/<name>``: the project itself, its members, robots and shares;
- ``access``: which projects there are (a removal changes it), which of them are open to others, and
  which shares there may be between them.

A caller learns of a project only through what is stored under its own principals: the indexes. Who
is in none of them gets no further, so a foreign project and an absent one are one and the same way
through this code, with the same reads.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

from auth.access import WHOLE, Access, Proof, Standing, Tenant
from auth.identity import SECRET, Identity, Kind
from auth.roles import Role
from auth.scopes import Scopes
from registry.service.bounded import all_of, both
from registry.service.composed import Composed, Watch
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.projects.kept import Records
from registry.service.projects.records import (
    AccountRecord,
    MemberRecord,
    ProjectRecord,
    RemovalRecord,
    RobotRecord,
    TokenRecord,
)
from registry.service.remembered import Remembered, stamps_of
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

ACCESS: Final = "access"
"""The stamp of all that may connect a caller with a project that it is no member of."""

_ENTRY_BYTES: Final = 1500
_NAME_BYTES: Final = 110


def principal_stamp(principal: str) -> str:
    """The name that stands for a principal's account, secrets and index."""
    return f"principal/{principal}"


def project_stamp(name: str) -> str:
    """The name that stands for a project and all that is kept of it but its content."""
    return f"project/{name}"


def robot_principal(project: str, robot: str) -> str:
    """The principal that a robot account is."""
    return f"robot:{project}/{robot}"


@dataclass(frozen=True, slots=True)
class _Open:
    """Names of projects that may be open to all, or to all users; what may be shared with whom."""

    everyone: frozenset[str]
    users: frozenset[str]
    shared: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A caller, the principals that it acts as, and the projects that these may have a part in."""

    identity: Identity
    standing: Standing
    parts: Mapping[str, frozenset[str]]

    def principals_in(self, project: str) -> list[str]:
        return [principal for principal, names in self.parts.items() if project in names]


class StoredDirectory:
    """An ``auth.access.Directory`` over the object store."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator, memory: int) -> None:
        """Remember in up to ``memory`` bytes, about."""
        self._store = store
        self._coordinator = coordinator
        self._projects = Records(store, ProjectRecord)
        self._members = Records(store, MemberRecord)
        self._robots = Records(store, RobotRecord)
        self._accounts = Records(store, AccountRecord)
        self._tokens = Records(store, TokenRecord)
        self._removals = Records(store, RemovalRecord)
        # Names that lead nowhere are not remembered: there are as many as a client can make up.
        self.known: Composed[Access] = Composed(
            coordinator, memory // 4 // _ENTRY_BYTES, lambda access: access.tenant is not None
        )
        self.standings: Composed[Standing] = Composed(coordinator, memory // 4 // _ENTRY_BYTES)
        self.indexes: Remembered[frozenset[str]] = Remembered(
            coordinator, memory // 4, lambda names: _NAME_BYTES * len(names) + 200
        )
        self.open: Remembered[_Open] = Remembered(coordinator, memory, _weigh_open)

    async def standing(self, identity: Identity) -> Standing:
        """Return what is known of the caller, as of the last change."""
        if identity.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
            return _NOBODY

        async def make(watch: Watch) -> Standing:
            return await self._read_standing(identity, watch)

        return await self.standings.get((identity.name, _secret_of(identity)), make)

    async def access(self, identity: Identity, project: str) -> Access:
        """Return what connects the caller with the project of this name, as of the last change."""

        async def make(watch: Watch) -> Access:
            return await self._read_access(identity, project, watch)

        return await self.known.get(_known_by(identity, project), make)

    def proof(self, identity: Identity, project: str, access: Access) -> Proof | None:
        """Return what tells whether ``access`` is still so, if it is remembered."""
        return self.known.proof(_known_by(identity, project), access)

    async def projects(self, identity: Identity) -> list[str]:
        """Return the names of the projects that may concern the caller, in byte order."""
        caller, opened = await both(self._caller(identity, _unwatched), self._opened())
        own = set[str]().union(*caller.parts.values())
        shared = {source for source, targets in opened.shared.items() if targets & own}
        return sorted(own | shared | opened.everyone | _for_users(identity, opened))

    async def removed(self, tenant: str) -> bool:
        """Whether the project with this id was removed: no name leads to it any more."""
        removal = await self._removals.find(keys.removal(tenant))
        if removal is None:
            return False
        standing = await self._projects.find(keys.project(removal.record.name))
        return standing is None or standing.record.id != tenant

    async def tenant(self, name: str) -> Tenant | None:
        """Return the project of this name, whoever asks; ``None`` if there is none."""
        found = await self._projects.find(keys.project(name))
        return Tenant(found.record.id, name) if found else None

    async def _read_standing(self, identity: Identity, watch: Watch) -> Standing:
        await watch(principal_stamp(identity.name))
        if identity.kind is Kind.ROBOT:
            return await self._robot_standing(identity, watch)
        account, token = await both(
            self._accounts.find(keys.account(identity.name)), self._token(identity)
        )
        record = account.record if account else None
        password = record.password_id if record else ""
        standing = Standing(
            revoked=not _stands(_secret_of(identity), token, password),
            expires=token.secret.expires if token else None,
            ceiling=_ceiling(token.scopes if token else None),
        )
        if record is None:
            return standing
        return replace(
            standing,
            administrator=record.administrator,
            blocked=record.blocked,
            groups=None if record.groups is None else frozenset(record.groups),
        )

    async def _token(self, identity: Identity) -> TokenRecord | None:
        number = _secret_of(identity)
        if not number:
            return None
        found = await self._tokens.find(keys.access_token(identity.name, number))
        return found.record if found else None

    async def _robot_standing(self, identity: Identity, watch: Watch) -> Standing:
        """A robot that is no longer there is as good as blocked."""
        project, robot = _robot_of(identity)
        await watch(project_stamp(project))
        tenant = await self.tenant(project)
        found = await self._robots.find(keys.robot(tenant.id, robot)) if tenant else None
        if found is None:
            return Standing(blocked=True)
        record = found.record
        number = _secret_of(identity)
        secret = next((each for each in record.secrets if each.id == number), None)
        ends = (record.expires, secret.expires if secret else None)
        return Standing(
            revoked=number != "" and secret is None,
            expires=min((each for each in ends if each is not None), default=None),
            networks=tuple(ip_network(each) for each in record.networks),
            ceiling=_ceiling(record.scopes),
        )

    async def _read_access(self, identity: Identity, project: str, watch: Watch) -> Access:
        await watch(ACCESS, principal_stamp(identity.name))
        caller, opened = await both(self._caller(identity, watch, project), self._opened())
        if project in opened.shared:  # with which of the caller's own projects?
            caller = await self._caller(identity, watch)
        principals = caller.principals_in(project)
        own = set[str]().union(*caller.parts.values())
        sharers = opened.shared.get(project, frozenset()) & own - {project}
        is_open = project in opened.everyone or project in _for_users(identity, opened)
        if not (principals or sharers or is_open or caller.standing.administrator):
            return Access(caller.standing)
        # Not before: what happens in a project makes no difference to those it does not concern.
        await watch(project_stamp(project))
        found = await self._projects.find(keys.project(project))
        if found is None:
            return Access(caller.standing)
        record = found.record
        roles, shared = await both(
            self._roles(record.id, project, principals),
            self._shared(record.id, sharers, caller, watch),
        )
        return Access(caller.standing, Tenant(record.id, project), record.visibility, roles, shared)

    async def _caller(self, identity: Identity, watch: Watch, project: str = "") -> _Caller:
        """Who asks. ``project``: whether it has a part in that one is all that has to be known."""
        if identity.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
            return _Caller(identity, _NOBODY, {})
        if identity.kind is Kind.ROBOT:
            its, _ = _robot_of(identity)
            parts = {identity.name: frozenset({its})}
            return _Caller(identity, await self.standing(identity), parts)
        # At once: all but the caller's own index depends on its groups.
        standing, own = await both(self.standing(identity), self._index(identity.name, project))
        groups = identity.groups if standing.groups is None else standing.groups
        others = [f"group:{group}" for group in sorted(groups)]
        await watch(*map(principal_stamp, (identity.name, *others)))
        indexes = await all_of(self._index(each, project) for each in others)
        parts = {identity.name: own, **dict(zip(others, indexes, strict=True))}
        return _Caller(identity, standing, parts)

    async def _index(self, principal: str, project: str = "") -> frozenset[str]:
        """Return a principal's index, or of it nothing but ``project``, where that is in it.

        For one name an index that was read and has changed since is not read again: that of a
        platform's service, which grows with each of its projects, would be for each of them.
        """

        async def load() -> frozenset[str]:
            return await self._names(keys.parts(principal))

        name = principal_stamp(principal)
        (stamp,) = await stamps_of(self._coordinator, name)
        known = self.indexes.find(name, stamp)
        if known is not None:
            return known
        changed = self.indexes.peek(name) is not None
        if project and changed and await exists(self._store, keys.part(principal, project)):
            return frozenset((project,))
        return await self.indexes.use(name, stamp, load)

    async def _opened(self) -> _Open:
        async def load() -> _Open:
            everyone, users = await both(
                self._names(keys.parts(keys.EVERYONE)), self._names(keys.parts(keys.USERS))
            )
            shared: dict[str, set[str]] = {}
            async for key in every_key(self._store, keys.SHARED):
                source, _, target = key[len(keys.SHARED) :].partition("/")
                shared.setdefault(source, set()).add(target)
            return _Open(everyone, users, {name: frozenset(to) for name, to in shared.items()})

        return await self.open.get(ACCESS, load)

    async def _names(self, prefix: str) -> frozenset[str]:
        return frozenset([key[len(prefix) :] async for key in every_key(self._store, prefix)])

    async def _roles(self, tenant: str, project: str, principals: Iterable[str]) -> dict[str, Role]:
        """The roles that the principals have indeed."""

        async def role(principal: str) -> Role | None:
            robot = principal.removeprefix(robot_principal(project, ""))
            if robot != principal:
                kept = await self._robots.find(keys.robot(tenant, robot))
                return kept.record.role if kept else None
            found = await self._members.find(keys.member(tenant, principal))
            return found.record.role if found else None

        principals = list(principals)
        roles = await all_of(map(role, principals))
        return {
            principal: found
            for principal, found in zip(principals, roles, strict=True)
            if found is not None
        }

    async def _shared(
        self, tenant: str, sharers: Iterable[str], caller: _Caller, watch: Watch
    ) -> frozenset[str]:
        """What is shared with those projects, as far as the caller is a member of them now."""

        async def with_project(name: str) -> list[str]:
            await watch(project_stamp(name))
            target = await self.tenant(name)
            if target is None:
                return []
            if not await self._roles(target.id, name, caller.principals_in(name)):
                return []
            prefix = keys.shares(tenant, target.id)
            found = [key async for key in every_key(self._store, prefix)]
            return [keys.share_parts(key)[1] or WHOLE for key in found]

        lists = await all_of(map(with_project, sorted(sharers)))
        return frozenset(name for names in lists for name in names)


_NOBODY: Final = Standing()


async def _unwatched(*_names: str) -> None:
    """Watch nothing: for what is not remembered."""


def _known_by(identity: Identity, project: str) -> tuple[object, ...]:
    """All of a caller that makes a difference to what connects it with a project."""
    return identity.name, identity.groups, _secret_of(identity), project


def _secret_of(identity: Identity) -> str:
    """The id of the secret that the caller showed, if it is one that the registry gave out."""
    credential = identity.credential
    return credential[len(SECRET) :] if credential.startswith(SECRET) else ""


def _ceiling(scopes: str | None) -> Scopes | None:
    return None if scopes is None else Scopes.parse_ceiling(scopes)


def _stands(secret: str, token: TokenRecord | None, password: str) -> bool:
    """Whether a secret that the registry gave out is still good; ``""`` is none of these.

    ``password`` is the id of the account's password, ``""`` where it has none.
    """
    if token is not None:
        return token.password_id in ("", password)
    return secret in ("", password)


def _robot_of(identity: Identity) -> tuple[str, str]:
    project, _, robot = identity.name.partition(":")[2].partition("/")
    return project, robot


def _for_users(identity: Identity, opened: _Open) -> frozenset[str]:
    if identity.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
        return frozenset()
    return opened.users


def _weigh_open(value: _Open) -> int:
    pairs = sum(map(len, value.shared.values()))
    return _NAME_BYTES * (len(value.everyone) + len(value.users) + pairs) + 200


_: Callable[..., Awaitable[Access]] = StoredDirectory.access
