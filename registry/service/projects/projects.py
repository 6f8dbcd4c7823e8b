"""Projects themselves: created, described, opened or closed to others, removed. Never renamed."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from auth.access import Directory, Tenant
from auth.identity import Identity, Kind
from auth.roles import Role, Visibility
from registry.service.bounded import all_of
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records, check_version
from registry.service.projects.names import member_name, project_name
from registry.service.projects.records import (
    MemberRecord,
    ProjectRecord,
    RemovalRecord,
    TenantRecord,
)
from registry.service.projects.stamps import ACCESS, principal_stamp, project_stamp
from registry.service.quotas.quotas import Quotas
from registry.spec.problems import Invalid, ProjectExists, ProjectUnknown
from registry.spec.quota import Limits
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, Items, ObjectStore


@dataclass(frozen=True, slots=True)
class Project:
    """A project. ``display`` is its name as its creator wrote it; ``at`` in Unix seconds.

    ``role`` is that of the caller where it was asked for on behalf of one.
    """

    name: str
    id: str
    display: str
    visibility: Visibility
    by: str
    at: float
    version: str
    role: Role | None = None

    @property
    def tenant(self) -> Tenant:
        """What decisions and services know it by."""
        return Tenant(self.id, self.name)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A project to be created. ``name`` may have upper-case letters: they are for display.

    ``owner`` becomes its first member; none: who creates it, if that is a user. ``members`` are
    others that it has from the start. With ``adopt`` the project takes over the repositories that
    were pushed under its name before there were projects.
    """

    name: str
    visibility: Visibility = Visibility.PRIVATE
    owner: str = ""
    adopt: bool = False
    members: Mapping[str, Role] = field(default_factory=dict)


class Projects:
    """Creates, describes and removes projects."""

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        directory: Directory,
        events: Events,
        quotas: Quotas,
        limits: Limits,
    ) -> None:
        """Keep them in ``store``, tell ``events`` of each change; new ones may hold ``limits``."""
        self._quotas = quotas
        self._limits = limits
        self._store = store
        self._coordinator = coordinator
        self._directory = directory
        self._events = events
        self._records = Records(store, ProjectRecord)
        self._tenants = Records(store, TenantRecord)
        self._removals = Records(store, RemovalRecord)

    async def create(
        self,
        wanted: Wanted,
        by: Identity,
        *,
        absent: bool = False,
        beside: Callable[[str], Items] = lambda _: (),
    ) -> tuple[Project, bool]:
        """Create a project; return it, and whether it was made now.

        Repeating it with the same values returns the one that was made. ``ProjectNameInvalid``;
        ``ProjectExists`` where the name is taken, by whomever: names are one for all. All of the
        project is there before its name leads to it, so a crash leaves garbage, no half project.
        ``beside`` gives what else is to be there by then, of the project's id. ``absent``: it was
        just looked whether there is one of this name, and there was none.
        """
        name = project_name(wanted.name)
        owner = member_name(wanted.owner) if wanted.owner else ""
        if not owner and by.kind is Kind.USER:
            owner = by.name
        members = {member_name(each): role for each, role in wanted.members.items()}
        if owner:
            members[owner] = Role.OWNER
        concerned = [project_stamp(name), *map(principal_stamp, members)]
        if wanted.visibility is not Visibility.PRIVATE:
            concerned.append(ACCESS)
        async with self._coordinator.change(*concerned):
            standing = None if absent else await self._records.find(keys.project(name))
            if standing is not None:
                return _same(name, standing, wanted, by), False
            now = time.time()
            tenant = secrets.token_hex(16)
            record = TenantRecord(name, by.name, now)
            begun: list[tuple[str, bytes]] = [(keys.tenant_name(tenant), record.encode())]
            if wanted.adopt:
                tenant, begun = name, []
                await self._adopt(name, record)
            await self._quotas.begin(tenant, self._limits, empty=not wanted.adopt)
            # In no order: nobody looks for any of it before the name leads there.
            await self._store.put_all(
                [
                    *begun,
                    *((keys.part(each, name), b"") for each in members),
                    *(
                        (keys.member(tenant, each), MemberRecord(role, by.name, now).encode())
                        for each, role in members.items()
                    ),
                    *beside(tenant),
                ]
            )
            await self._open_to(name, wanted.visibility)
            made = ProjectRecord(tenant, wanted.name, wanted.visibility, by.name, now)
            try:
                kept = await self._records.write(keys.project(name), made, None)
            except AlreadyExists:
                if not absent:
                    raise
                raise ProjectExists(name) from None
        await self._events(
            event(
                EventKind.PROJECT_CREATED,
                by,
                name,
                Tenant(tenant, name),
                visibility=wanted.visibility,
                owner=owner or None,
            )
        )
        return _project(name, kept), True

    async def get(self, tenant: Tenant) -> Project:
        """Return the project as it is now; ``ProjectUnknown`` if it has been removed."""
        return _project(tenant.name, await self._find(tenant))

    async def named(self, name: str) -> Project | None:
        """Return the project of this name, if there is one. Not for what a caller asks about."""
        found = await self._records.find(keys.project(name))
        return _project(name, found) if found else None

    async def with_id(self, number: str) -> Tenant | None:
        """Return the project that has this id now; ``None`` for one that was removed."""
        kept = await self._tenants.find(keys.tenant_name(number))
        if kept is None:
            return None
        found = await self.named(kept.record.name)
        return found.tenant if found is not None and found.id == number else None

    async def change(
        self, tenant: Tenant, visibility: Visibility, by: Identity, version: str | None = None
    ) -> Project:
        """Open the project to others, or close it. ``ProjectUnknown``; ``Changed`` by ``version``.

        Closing takes effect at once, for tokens that are out too.
        """
        async with self._coordinator.change(project_stamp(tenant.name), ACCESS):
            standing = await self._find(tenant)
            check_version(standing, version)
            record = standing.record
            if record.visibility is visibility:
                return _project(tenant.name, standing)
            await self._open_to(tenant.name, visibility)
            record = ProjectRecord(record.id, record.display, visibility, record.by, record.at)
            kept = await self._records.write(standing.key, record, standing)
            await self._close_to(tenant.name, visibility)
        await self._events(
            event(
                EventKind.PROJECT_CHANGED,
                by,
                tenant.name,
                tenant,
                visibility=visibility,
            )
        )
        return _project(tenant.name, kept)

    async def respell(self, tenant: Tenant, display: str, by: Identity) -> Project:
        """Change how the project's name is written, by case only. ``ProjectUnknown``; ``Invalid``.

        The name that repositories have is the same for each spelling, and never changes.
        """
        if project_name(display) != tenant.name:
            raise Invalid(f"a project is never renamed, and {tenant.name} is not {display}")
        async with self._coordinator.change(project_stamp(tenant.name)):
            standing = await self._find(tenant)
            if standing.record.display == display:
                return _project(tenant.name, standing)
            record = msgspec.structs.replace(standing.record, display=display)
            kept = await self._records.write(standing.key, record, standing)
        await self._events(
            event(EventKind.PROJECT_CHANGED, by, tenant.name, tenant, display=display)
        )
        return _project(tenant.name, kept)

    async def remove(self, tenant: Tenant, by: Identity, version: str | None = None) -> None:
        """Remove the project: from now on its name leads nowhere, and may be used anew.

        What it held is purged in the background (``Removals`` tells how far that is). The tombstone
        comes first: a crash after it leaves a project that its purge removes. ``ProjectUnknown`` if
        it is gone; ``Changed`` by ``version``. No project of that name that comes later can see
        anything of it: it has another id.
        """
        async with self._coordinator.change(project_stamp(tenant.name), ACCESS):
            standing = await self._find(tenant)
            check_version(standing, version)
            removal = RemovalRecord(tenant.name, by.name, time.time())
            await self._store.put(keys.removal(tenant.id), removal.encode())
            await self._records.remove(standing)
            await self._close_to(tenant.name, Visibility.PRIVATE)
        await self._events(event(EventKind.PROJECT_REMOVED, by, tenant.name, tenant))

    async def finish_removal(self, tenant: Tenant) -> None:
        """Take the name from a project that has a tombstone: what broke off after that is done."""
        async with self._coordinator.change(project_stamp(tenant.name), ACCESS):
            standing = await self._records.find(keys.project(tenant.name))
            if standing is not None and standing.record.id == tenant.id:
                await self._records.remove(standing)
                await self._close_to(tenant.name, Visibility.PRIVATE)

    async def page(self, after: str, limit: int) -> Leaf[Project]:
        """Return projects after the name ``after``, whose ever they are: for administrators."""
        leaf = await self._records.page(keys.PROJECTS, keys.project(after) if after else "", limit)
        return Leaf([_project(keys.project_name(each.key), each) for each in leaf.items], leaf.more)

    async def of(self, identity: Identity, after: str, limit: int) -> Leaf[Project]:
        """Return projects after the name ``after`` that the caller is a member of."""
        found: list[Project] = []
        for name in await self._directory.projects(identity):
            if name <= after:
                continue
            access = await self._directory.access(identity, name)
            kept = None
            if access.tenant is not None and access.role is not None:
                kept = await self._records.find(keys.project(name))
            if (
                kept is not None
                and access.tenant is not None
                and kept.record.id == access.tenant.id
            ):
                if len(found) == limit:
                    return Leaf(found, more=True)
                found.append(_project(name, kept, access.role))
        return Leaf(found, more=False)

    @asynccontextmanager
    async def changing(
        self,
        tenant: Tenant,
        *principals: str,
        shares: bool = False,
        names: Sequence[str] = (),
    ) -> AsyncIterator[None]:
        """Change what is kept of the project, alone, and while it is still that project.

        ``principals`` are those whose access may change; ``shares``: other projects' too. ``names``
        are others that the coordinator is to know of.
        ``ProjectUnknown`` if the project has been removed meanwhile.
        """
        concerned = [project_stamp(tenant.name), *map(principal_stamp, principals), *names]
        async with self._coordinator.change(*concerned, *([ACCESS] if shares else [])):
            await self._find(tenant)
            yield

    async def _find(self, tenant: Tenant) -> Kept[ProjectRecord]:
        found = await self._records.find(keys.project(tenant.name))
        if found is None or found.record.id != tenant.id:
            raise ProjectUnknown
        return found

    async def _adopt(self, name: str, record: TenantRecord) -> None:
        """Take the name itself for an id: once, ever."""
        try:
            await self._store.create(keys.tenant_name(name), record.encode())
        except AlreadyExists:
            # An earlier attempt to adopt broke off; or the project that did so was removed.
            gone = await self._removals.find(keys.removal(name))
            kept = await self._tenants.find(keys.tenant_name(name))
            if gone is not None or kept is None or kept.record.purged is not None:
                raise ProjectExists(name) from None

    async def _open_to(self, name: str, visibility: Visibility) -> None:
        if visibility is not Visibility.PRIVATE:
            await self._store.put(keys.part(_whom(visibility), name), b"")

    async def _close_to(self, name: str, visibility: Visibility) -> None:
        await all_of(
            self._store.delete(keys.part(_whom(other), name))
            for other in (Visibility.INTERNAL, Visibility.PUBLIC)
            if other is not visibility
        )


def _whom(visibility: Visibility) -> str:
    return keys.EVERYONE if visibility is Visibility.PUBLIC else keys.USERS


def _project(name: str, kept: Kept[ProjectRecord], role: Role | None = None) -> Project:
    record = kept.record
    return Project(
        name,
        record.id,
        record.display,
        record.visibility,
        record.by,
        record.at,
        kept.version,
        role,
    )


def _same(name: str, standing: Kept[ProjectRecord], wanted: Wanted, by: Identity) -> Project:
    record = standing.record
    given = (wanted.name, wanted.visibility, by.name)
    if given != (record.display, record.visibility, record.by):
        raise ProjectExists(name)
    return _project(name, standing)
