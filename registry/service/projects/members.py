"""Members of projects: users, groups and workloads, each with one role."""

import time
from dataclasses import dataclass
from typing import Final

from auth.access import Tenant
from auth.identity import Identity
from auth.roles import Role
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records, check_version
from registry.service.projects.names import member_name
from registry.service.projects.projects import Projects
from registry.service.projects.records import MemberRecord
from registry.spec.problems import LastOwner, MemberUnknown, TooMany
from storage import keys
from storage.ports import ObjectStore

MAX_MEMBERS: Final = 1000
"""Most members of one project. Groups are for more."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a project: who, as what, and who made it so (Unix seconds)."""

    principal: str
    role: Role
    by: str
    at: float
    version: str


class Members:
    """Makes members, changes their roles, and ends memberships."""

    def __init__(self, store: ObjectStore, projects: Projects, events: Events) -> None:
        """Keep them in ``store``, tell ``events`` of each change."""
        self._store = store
        self._projects = projects
        self._events = events
        self._records = Records(store, MemberRecord)

    async def page(self, tenant: Tenant, after: str, limit: int) -> Leaf[Member]:
        """Return members after the principal ``after``, in the order of their keys."""
        first = keys.member(tenant.id, after) if after else ""
        leaf = await self._records.page(keys.members(tenant.id), first, limit)
        return Leaf([_member(each) for each in leaf.items], leaf.more)

    async def get(self, tenant: Tenant, principal: str) -> Member:
        """Return a member; ``MemberUnknown`` if there is none of this name."""
        found = await self._records.find(keys.member(tenant.id, member_name(principal)))
        if found is None:
            raise MemberUnknown(principal)
        return _member(found)

    async def put(
        self,
        tenant: Tenant,
        principal: str,
        role: Role,
        by: Identity,
        version: str | None = None,
    ) -> tuple[Member, bool]:
        """Make the principal a member with this role, or change its role; whether it is new.

        It counts from the next request on. Repeating it changes nothing. ``ProjectUnknown``,
        ``PrincipalInvalid``, ``TooMany``, ``LastOwner``; ``Changed`` where another version than
        ``version`` stands (``""``: where there is a member already).
        """
        principal = member_name(principal)
        key = keys.member(tenant.id, principal)
        async with self._projects.changing(tenant, principal):
            standing = await self._records.find(key)
            check_version(standing, version)
            if standing is None:
                if await self._records.count(keys.members(tenant.id), MAX_MEMBERS) == MAX_MEMBERS:
                    raise TooMany("members of a project", MAX_MEMBERS)
            elif standing.record.role is role:
                return _member(standing), False
            elif standing.record.role is Role.OWNER:
                await self._check_owners(tenant, key, principal)
            await self._store.put(keys.part(principal, tenant.name), b"")
            record = MemberRecord(role, by.name, time.time())
            kept = await self._records.write(key, record, standing)
        await self._tell(EventKind.MEMBER_PUT, by, tenant, principal, role=role)
        return _member(kept), standing is None

    async def remove(
        self, tenant: Tenant, principal: str, by: Identity, version: str | None = None
    ) -> None:
        """End the membership, at once, for tokens that are out too.

        ``ProjectUnknown``, ``MemberUnknown``, ``LastOwner``; ``Changed`` by ``version``.
        """
        principal = member_name(principal)
        key = keys.member(tenant.id, principal)
        async with self._projects.changing(tenant, principal):
            standing = await self._records.find(key)
            if standing is None:
                raise MemberUnknown(principal)
            check_version(standing, version)
            if standing.record.role is Role.OWNER:
                await self._check_owners(tenant, key, principal)
            await self._records.remove(standing)
            await self._store.delete(keys.part(principal, tenant.name))
        await self._tell(EventKind.MEMBER_REMOVED, by, tenant, principal)

    async def remove_everywhere(self, principal: str, by: Identity) -> None:
        """End all memberships of a principal that is no more. May be repeated.

        A project may be left without an owner by it; administrators can make one.
        """
        prefix = keys.parts(principal)
        while names := await self._store.list(prefix, limit=100):
            for entry in names:
                name = entry[len(prefix) :]
                await self._leave(name, principal, by)
                await self._store.delete(entry)

    async def _leave(self, name: str, principal: str, by: Identity) -> None:
        project = await self._projects.named(name)
        if project is None:
            return
        tenant = project.tenant
        async with self._projects.changing(tenant, principal):
            standing = await self._records.find(keys.member(tenant.id, principal))
            if standing is None:
                return
            await self._records.remove(standing)
        await self._tell(EventKind.MEMBER_REMOVED, by, tenant, principal)

    async def _check_owners(self, tenant: Tenant, key: str, principal: str) -> None:
        """Raise ``LastOwner`` unless there is an owner beside this one."""
        after = ""
        while True:
            leaf = await self._records.page(keys.members(tenant.id), after, MAX_MEMBERS)
            if any(each.key != key and each.record.role is Role.OWNER for each in leaf.items):
                return
            if not leaf.more:
                raise LastOwner(principal)
            after = leaf.items[-1].key

    async def _tell(
        self, kind: EventKind, by: Identity, tenant: Tenant, principal: str, **details: object
    ) -> None:
        await self._events(event(kind, by, principal, tenant, **details))


def _member(kept: Kept[MemberRecord]) -> Member:
    record = kept.record
    principal = keys.principal_of(keys.last_segment(kept.key))
    return Member(principal, record.role, record.by, record.at, kept.version)
