"""The projects of a platform, from their beginning there to their end, as they are to be here."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from auth.access import Tenant
from auth.identity import Identity
from auth.roles import PLATFORM_ROLES, Role
from registry.service.listing import every_key
from registry.service.platform import names
from registry.service.platform.records import (
    ClaimRecord,
    MemberFact,
    ProjectFact,
    newer_member,
    newer_project,
)
from registry.service.projects.kept import Kept, Records
from registry.service.projects.members import Member, Members
from registry.service.projects.names import project_name
from registry.service.projects.projects import Project, Projects, Wanted
from registry.spec.problems import (
    Invalid,
    MemberUnknown,
    ProjectExists,
    ProjectGone,
    ProjectUnknown,
)
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ObjectStore

_F = TypeVar("_F", ProjectFact, MemberFact)

_WAIT: Final = 10.0
_ROUNDS: Final = 5
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class PlatformTerms:
    """How a platform's projects are kept.

    ``prefix`` begins the names of its users and groups. ``service`` is the principal that the
    platform itself goes by, ``""`` for none: it owns each project. ``told``: members are those that
    the platform told; else those that it names when they log in. ``bases`` are names that no
    project may have.
    """

    prefix: str = "hopsworks/"
    service: str = ""
    told: bool = False
    bases: frozenset[str] = frozenset(names.BASES)


@dataclass(frozen=True, slots=True)
class Standing:
    """What was told of a project, and what there is of it here. ``at`` is the platform's time."""

    number: int
    name: str
    at: int
    gone: bool
    project: Project | None


class Lifecycle:
    """Takes what a platform tells, in any order and any number of times, and makes it so.

    Each method is for who may provision (``auth.policy`` has decided). ``at`` is the platform's
    time, in milliseconds since 1970: of two things about the same project, or about the same user
    in it, the later one counts, whichever comes first.
    """

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        projects: Projects,
        members: Members,
        terms: PlatformTerms,
    ) -> None:
        self.terms = terms
        self._store = store
        self._coordinator = coordinator
        self._projects = projects
        self._members = members
        self._facts = Records(store, ProjectFact)
        self._parts = Records(store, MemberFact)
        self._claims = Records(store, ClaimRecord)

    async def tell(
        self,
        number: int,
        name: str,
        at: int,
        by: Identity,
        *,
        members: Mapping[str, str] | None = None,
        adopt: bool = False,
        supersede: bool = True,
    ) -> Standing:
        """There is a project of this number and name there, with these users in these roles.

        Make it, or respell it, and mend what is amiss with it. ``adopt``: it takes over what is
        kept under that name, be that a project that was made by hand or repositories from before
        there were projects. ``supersede``: an older project of the platform that has the name is
        over, and goes; without, it keeps the name until its end is told. ``ProjectGone`` if its end
        was told already; ``ProjectNameInvalid``; ``ProjectExists`` where another project has the
        name that is none of the platform's, or an older one that is not superseded; ``Invalid`` for
        a name that is another but for case: the platform renames nothing either.
        """
        told = ProjectFact(name, at)
        wanted = names.namespace(name, self.terms.bases)
        parts = {names.user_name(user): _role(role) for user, role in (members or {}).items()}
        async with self._coordinator.hold(f"platform/{number}", wait=_WAIT):
            standing = await self._facts.find(keys.told_project(number))
            before = standing.record if standing is not None else None
            if before is not None and before.name and not before.gone:
                now = names.namespace(before.name, self.terms.bases)
                if now != wanted:
                    raise Invalid(f"project {number} is {now} here, and projects are never renamed")
            fact = newer_project(before, told)
            if fact.gone:
                raise ProjectGone(number)
            kept = await self._write(keys.told_project(number), fact, standing, self._facts)
            for user, role in parts.items():
                await self._note(number, user, MemberFact(role, at))
            try:
                project = await self._project(
                    number, fact, by, adopt=adopt, fresh=standing is None, supersede=supersede
                )
            except (ProjectExists, ProjectGone):
                if standing is None:
                    await self._facts.remove(kept)
                raise
            return await self._mend(number, fact, project, by)

    async def tell_member(
        self, number: int, user: str, role: str, at: int, by: Identity
    ) -> Standing | None:
        """A user has this role in the project there; ``""``: none.

        Roles that this registry does not know (*Under removal*) give nothing. ``None`` where the
        project itself was not told yet: it will have the member when it is.
        """
        async with self._coordinator.hold(f"platform/{number}", wait=_WAIT):
            standing = await self._facts.find(keys.told_project(number))
            if standing is not None and standing.record.gone:
                raise ProjectGone(number)
            await self._note(number, names.user_name(user), MemberFact(_role(role), at))
            if standing is None:
                return None
            return await self._mended(number, standing.record, by)

    async def tell_end(self, number: int, at: int, by: Identity) -> Standing:
        """The project was deleted there, for ever. What it held here is purged in the background.

        No other project loses anything by it, whatever its name: what goes is the one project that
        was made for this number. May be repeated, and told before the project itself is.
        """
        async with self._coordinator.hold(f"platform/{number}", wait=_WAIT):
            standing = await self._facts.find(keys.told_project(number))
            before = standing.record if standing is not None else None
            fact = newer_project(before, ProjectFact("", at, gone=True))
            await self._write(keys.told_project(number), fact, standing, self._facts)
            await self._end(number, fact, by)
            return Standing(number, fact.name, fact.at, gone=True, project=None)

    async def mend(self, number: int, by: Identity) -> Standing | None:
        """Make the project what was told of it; ``None`` where nothing was."""
        async with self._coordinator.hold(f"platform/{number}", wait=_WAIT):
            standing = await self._facts.find(keys.told_project(number))
            return await self._mended(number, standing.record, by) if standing else None

    async def get(self, number: int) -> Standing | None:
        """Return what was told of the project, and what there is; ``None``: nothing was told."""
        standing = await self._facts.find(keys.told_project(number))
        if standing is None:
            return None
        fact = standing.record
        project = None if fact.gone else await self._made_for(number, fact)
        return Standing(number, fact.name, fact.at, fact.gone, project)

    async def told(self) -> AsyncIterator[tuple[int, ProjectFact]]:
        """Yield what was told of each project, in the order of their numbers."""
        after = ""
        while True:
            leaf = await self._facts.page(keys.TOLD_PROJECTS, after, _PAGE)
            for each in leaf.items:
                yield keys.told_number(each.key), each.record
            if not leaf.more or not leaf.items:
                return
            after = leaf.items[-1].key

    async def parts(self, number: int) -> Mapping[str, Role | None]:
        """Return what was told of the project's users."""
        found: dict[str, Role | None] = {}
        async for key in every_key(self._store, keys.told_members(number)):
            kept = await self._parts.find(key)
            if kept is not None:
                found[keys.principal_of(keys.last_segment(key))] = kept.record.role
        return found

    async def miss(self, number: int, since: float) -> None:
        """Write down since when the platform's list does not have the project; 0: it has."""
        standing = await self._facts.find(keys.told_project(number))
        if standing is not None and standing.record.missing != since:
            fact = msgspec.structs.replace(standing.record, missing=since)
            await self._facts.write(standing.key, fact, standing)

    def principal(self, user: str) -> str:
        """What a user of the platform goes by here."""
        return f"user:{self.terms.prefix}{user}"

    async def members_wanted(self, number: int) -> dict[str, Role]:
        """Who is to be a member of the project, as far as the platform has a say in that."""
        wanted = self._groups(number)
        if self.terms.told:
            parts = await self.parts(number)
            wanted = {self.principal(user): role for user, role in parts.items() if role}
        return wanted | self._service()

    async def _mended(self, number: int, fact: ProjectFact, by: Identity) -> Standing:
        if fact.gone:
            await self._end(number, fact, by)
            return Standing(number, fact.name, fact.at, gone=True, project=None)
        project = await self._project(number, fact, by)
        return await self._mend(number, fact, project, by)

    async def _mend(
        self, number: int, fact: ProjectFact, project: tuple[Project, bool], by: Identity
    ) -> Standing:
        made, whole = project
        if made.display != fact.name:
            made = await self._projects.respell(made.tenant, fact.name, by)
        if not whole:
            await self._make_members(number, made.tenant, by)
        return Standing(number, fact.name, fact.at, gone=False, project=made)

    async def _project(
        self,
        number: int,
        fact: ProjectFact,
        by: Identity,
        *,
        adopt: bool = False,
        fresh: bool = False,
        supersede: bool = True,
    ) -> tuple[Project, bool]:
        """Return the project that is kept for this number, and whether it was made now, whole.

        One that is made has its members from the start, so that it takes few rounds. ``fresh``:
        nothing was told of it before, so it is made without a look.
        """
        name = names.namespace(fact.name, self.terms.bases)
        members = await self.members_wanted(number)
        wanted = Wanted(fact.name, owner=self.terms.service, adopt=adopt, members=members)
        for _ in range(_ROUNDS):
            found, made = None if fresh else await self._projects.named(name), False
            if found is None:
                try:
                    found, made = await self._projects.create(wanted, by)
                except ProjectExists:
                    fresh = False
                    continue
            project = found
            claim = None if made else await self._claims.find(keys.claim(project.id))
            if claim is None:
                ours = made or adopt or (project.display, project.by) == (fact.name, by.name)
                if not ours:
                    raise ProjectExists(name)
                try:
                    await self._claims.write(keys.claim(project.id), ClaimRecord(number), None)
                except AlreadyExists:
                    continue
                return project, made
            if claim.record.number == number:
                return project, False
            await self._supersede(claim.record.number, number, project, by, alive=supersede)
        raise ProjectExists(name)

    async def _supersede(
        self, other: int, number: int, project: Project, by: Identity, *, alive: bool
    ) -> None:
        """Two projects of the platform have one name: the one with the lower number is over.

        Names are unique there, and numbers count up; that the end of the older one was not told
        does not make its images the younger one's. Without ``alive``, ``ProjectExists`` if it was
        not told.
        """
        if other > number:
            raise ProjectGone(number)
        standing = await self._facts.find(keys.told_project(other))
        before = standing.record if standing is not None else None
        if before is not None and not (before.gone or alive):
            raise ProjectExists(project.name)
        at = before.at if before is not None else 0
        fact = newer_project(before, ProjectFact("", at, gone=True))
        await self._write(keys.told_project(other), fact, standing, self._facts)
        await self._remove(project, by)

    async def _made_for(self, number: int, fact: ProjectFact) -> Project | None:
        """The project of that name, if it is kept for this number."""
        if not fact.name:
            return None
        # Not as a new name is read: this one may have become that of a base since.
        project = await self._projects.named(project_name(fact.name))
        if project is None:
            return None
        claim = await self._claims.find(keys.claim(project.id))
        return project if claim is not None and claim.record.number == number else None

    async def _end(self, number: int, fact: ProjectFact, by: Identity) -> None:
        project = await self._made_for(number, fact)
        if project is not None:
            await self._remove(project, by)
        await self._forget(number)

    async def _remove(self, project: Project, by: Identity) -> None:
        with suppress(ProjectUnknown):  # another was first
            await self._projects.remove(project.tenant, by)

    async def _forget(self, number: int) -> None:
        async for key in every_key(self._store, keys.told_members(number)):
            await self._store.delete(key)

    async def amiss(self, number: int, tenant: Tenant) -> Mapping[str, Role | None]:
        """Return what members of the project are to have another role, or none."""
        wanted = await self.members_wanted(number)
        there = {each.principal: each.role async for each in self._all(tenant)}
        parts = await self.parts(number)
        found: dict[str, Role | None] = {
            principal: role
            for principal, role in wanted.items()
            if there.get(principal) is not role
        }
        for principal in there:
            if principal not in wanted and self._manages(principal, number, parts):
                found[principal] = None
        return found

    async def _make_members(self, number: int, tenant: Tenant, by: Identity) -> None:
        """Give the platform's users, groups and itself their roles, and no other member another."""
        for principal, role in (await self.amiss(number, tenant)).items():
            if role is not None:
                await self._members.put(tenant, principal, role, by)
                continue
            with suppress(MemberUnknown):  # another was first
                await self._members.remove(tenant, principal, by)

    def _manages(self, principal: str, number: int, parts: Mapping[str, Role | None]) -> bool:
        """Whether the platform decides on this member: its own users, and groups of the project."""
        prefix = self.terms.prefix
        if principal.startswith(f"group:{prefix}{number}/"):
            return True
        if prefix and principal.startswith(f"user:{prefix}"):
            return True
        return principal in {self.principal(user) for user in parts}

    def _groups(self, number: int) -> dict[str, Role]:
        prefix = f"group:{self.terms.prefix}{number}/"
        return {prefix + each.replace(" ", "-"): role for each, role in PLATFORM_ROLES.items()}

    def _service(self) -> dict[str, Role]:
        return {self.terms.service: Role.OWNER} if self.terms.service else {}

    async def _all(self, tenant: Tenant) -> AsyncIterator[Member]:
        after = ""
        while True:
            leaf = await self._members.page(tenant, after, _PAGE)
            for each in leaf.items:
                yield each
            if not leaf.more or not leaf.items:
                return
            after = leaf.items[-1].principal

    async def _note(self, number: int, user: str, told: MemberFact) -> None:
        key = keys.told_member(number, user)
        standing = await self._parts.find(key)
        fact = newer_member(standing.record if standing is not None else None, told)
        await self._write(key, fact, standing, self._parts)

    async def _write(
        self, key: str, fact: _F, standing: Kept[_F] | None, records: Records[_F]
    ) -> Kept[_F]:
        if standing is not None and standing.record == fact:
            return standing
        return await records.write(key, fact, standing)


def _role(text: str) -> Role | None:
    """The role here of one there; ``None`` for one that gives nothing."""
    return PLATFORM_ROLES.get(text.strip().lower())
