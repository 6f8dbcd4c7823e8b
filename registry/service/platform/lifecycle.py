"""The projects of a platform, from their beginning there to their end, as they are to be here."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from auth.identity import Identity
from auth.roles import PLATFORM_ROLES, Role
from registry.service.bounded import both
from registry.service.platform import names
from registry.service.platform.members import PlatformMembers
from registry.service.platform.records import (
    ClaimRecord,
    MemberFact,
    ProjectFact,
    newer_project,
)
from registry.service.platform.terms import PlatformTerms
from registry.service.projects.kept import Kept, Records
from registry.service.projects.members import Members
from registry.service.projects.names import project_name
from registry.service.projects.projects import Project, Projects, Wanted
from registry.spec.problems import (
    Invalid,
    ProjectExists,
    ProjectGone,
    ProjectUnknown,
)
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, Items, ObjectStore

_WAIT: Final = 10.0
_ROUNDS: Final = 5
_PAGE: Final = 100


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
        self._coordinator = coordinator
        self._projects = projects
        self.members = PlatformMembers(store, members, terms)
        self._facts = Records(store, ProjectFact)
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
            standing, found = await both(
                self._facts.find(keys.told_project(number)), self._projects.named(wanted)
            )
            before = standing.record if standing is not None else None
            if before is not None and before.name and not before.gone:
                now = names.namespace(before.name, self.terms.bases)
                if now != wanted:
                    raise Invalid(f"project {number} is {now} here, and projects are never renamed")
            fact = newer_project(before, told)
            if fact.gone:
                raise ProjectGone(number)
            kept = await self._write(number, fact, standing)
            await self.members.note(
                number, {user: MemberFact(role, at) for user, role in parts.items()}
            )
            try:
                project = await self._project(
                    number, fact, found, by, adopt=adopt, supersede=supersede
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
            await self.members.note(number, {names.user_name(user): MemberFact(_role(role), at)})
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
            await self._write(number, fact, standing)
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

    async def miss(self, number: int, since: float) -> None:
        """Write down since when the platform's list does not have the project; 0: it has."""
        standing = await self._facts.find(keys.told_project(number))
        if standing is not None and standing.record.missing != since:
            fact = msgspec.structs.replace(standing.record, missing=since)
            await self._facts.write(standing.key, fact, standing)

    async def _mended(self, number: int, fact: ProjectFact, by: Identity) -> Standing:
        if fact.gone:
            await self._end(number, fact, by)
            return Standing(number, fact.name, fact.at, gone=True, project=None)
        found = await self._projects.named(names.namespace(fact.name, self.terms.bases))
        project = await self._project(number, fact, found, by)
        return await self._mend(number, fact, project, by)

    async def _mend(
        self, number: int, fact: ProjectFact, project: tuple[Project, bool], by: Identity
    ) -> Standing:
        made, whole = project
        if made.display != fact.name:
            made = await self._projects.respell(made.tenant, fact.name, by)
        if not whole:
            await self.members.make(number, made.tenant, by)
        return Standing(number, fact.name, fact.at, gone=False, project=made)

    async def _project(
        self,
        number: int,
        fact: ProjectFact,
        found: Project | None,
        by: Identity,
        *,
        adopt: bool = False,
        supersede: bool = True,
    ) -> tuple[Project, bool]:
        """Return the project that is kept for this number, and whether it was made now, whole.

        ``found`` has the name now. One that is made has its members from the start, and is known to
        be kept for this number, so that it takes few rounds.
        """
        name = names.namespace(fact.name, self.terms.bases)
        members = await self.members.wanted(number)
        wanted = Wanted(fact.name, owner=self.terms.service, adopt=adopt, members=members)

        def claimed(tenant: str) -> Items:
            # Of an id that is taken over others may make a project, too: who is first claims it.
            return [] if adopt else [(keys.claim(tenant), ClaimRecord(number).encode())]

        for attempt in range(_ROUNDS):
            project, made = found if attempt == 0 else await self._projects.named(name), False
            if project is None:
                try:
                    project, made = await self._projects.create(
                        wanted, by, absent=True, beside=claimed
                    )
                except ProjectExists:
                    continue
                if made and not adopt:
                    return project, True
            claim = await self._claims.find(keys.claim(project.id))
            if claim is None:
                ours = adopt or (project.display, project.by) == (fact.name, by.name)
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
        await self._write(other, fact, standing)
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
        await self.members.forget(number)

    async def _remove(self, project: Project, by: Identity) -> None:
        with suppress(ProjectUnknown):  # another was first
            await self._projects.remove(project.tenant, by)

    async def _write(
        self, number: int, fact: ProjectFact, standing: Kept[ProjectFact] | None
    ) -> Kept[ProjectFact]:
        if standing is not None and standing.record == fact:
            return standing
        return await self._facts.write(keys.told_project(number), fact, standing)


def _role(text: str) -> Role | None:
    """The role here of one there; ``None`` for one that gives nothing."""
    return PLATFORM_ROLES.get(text.strip().lower())
