"""What decisions are made from: read from the store, remembered while it is provably still so.

A caller learns of a project only through what is stored under its own principals: the indexes. Who
is in none of them gets no further, so a foreign project and an absent one are one and the same way
through this code, with the same reads.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from auth.access import WHOLE, Access, Proof, Standing, Tenant
from auth.identity import Identity, Kind
from auth.roles import Role
from registry.service.bounded import all_of, both
from registry.service.composed import Composed, Watch
from registry.service.listing import every_key
from registry.service.presence import exists
from registry.service.projects.kept import Records
from registry.service.projects.records import (
    MemberRecord,
    ProjectRecord,
    RemovalRecord,
    RobotRecord,
)
from registry.service.projects.stamps import (
    ACCESS,
    principal_stamp,
    project_stamp,
    robot_principal,
)
from registry.service.projects.standings import NOBODY, Standings, robot_of, secret_of
from registry.service.remembered import Remembered, stamps_of
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

_ENTRY_BYTES: Final = 1500
_NAME_BYTES: Final = 110


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
        self._removals = Records(store, RemovalRecord)
        # Names that lead nowhere are not remembered: there are as many as a client can make up.
        self.known: Composed[Access] = Composed(
            coordinator, memory // 4 // _ENTRY_BYTES, lambda access: access.tenant is not None
        )
        self.standings = Standings(store, coordinator, memory // 4 // _ENTRY_BYTES)
        self.indexes: Remembered[frozenset[str]] = Remembered(
            coordinator, memory // 4, lambda names: _NAME_BYTES * len(names) + 200
        )
        self.open: Remembered[_Open] = Remembered(coordinator, memory, _weigh_open)

    async def standing(self, identity: Identity) -> Standing:
        """Return what is known of the caller, as of the last change."""
        return await self.standings.of(identity)

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
            return _Caller(identity, NOBODY, {})
        if identity.kind is Kind.ROBOT:
            its, _ = robot_of(identity)
            parts = {identity.name: frozenset({its})}
            return _Caller(identity, await self.standings.of(identity), parts)
        # At once: all but the caller's own index depends on its groups.
        standing, own = await both(self.standings.of(identity), self._index(identity.name, project))
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


async def _unwatched(*_names: str) -> None:
    """Watch nothing: for what is not remembered."""


def _known_by(identity: Identity, project: str) -> tuple[object, ...]:
    """All of a caller that makes a difference to what connects it with a project."""
    return identity.name, identity.groups, secret_of(identity), project


def _for_users(identity: Identity, opened: _Open) -> frozenset[str]:
    if identity.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
        return frozenset()
    return opened.users


def _weigh_open(value: _Open) -> int:
    pairs = sum(map(len, value.shared.values()))
    return _NAME_BYTES * (len(value.everyone) + len(value.users) + pairs) + 200


_: Callable[..., Awaitable[Access]] = StoredDirectory.access
