"""What a platform lists against what it told, and against what there is: drift is found and mended.

An event may be lost, and a list may be broken. So what a list has is made so at once; what it lacks
is ended only if a later list lacks it too, and never many at once.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from auth.identity import Identity
from auth.roles import PLATFORM_ROLES
from registry.service.platform import names
from registry.service.platform.lifecycle import Lifecycle, Standing
from registry.service.platform.records import ProjectFact
from registry.service.projects.projects import Project
from registry.spec.problems import PlatformUnreadable, Problem
from storage.coordination import Coordinator, LeaseHeld

_log = logging.getLogger("moorage.platform")

_NAME: Final = "platform-reconciliation"


class Listing(Protocol):
    """What a platform says when it is asked by the registry itself."""

    async def projects(self) -> Mapping[int, str]:
        """Return the name of each project by its number. ``PlatformUnreadable``."""
        ...

    async def team(self, name: str) -> Mapping[str, str] | None:
        """Return the role of each user in a project; ``None`` where the registry may not know."""
        ...


class Drift(StrEnum):
    """How what there is differs from what the platform has."""

    MISSING = "missing"
    """It is there, and not here."""

    SPELLING = "spelling"
    """Its name is written otherwise there."""

    MEMBERS = "members"
    """Other members, or other roles."""

    ENDED = "ended"
    """It is here, and neither this list nor an earlier one has it."""

    UNLISTED = "unlisted"
    """It is here, and this list does not have it. It ends if later lists don't either."""

    REFUSED = "refused"
    """It can't be made so: somebody has to decide."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A project that differs, and whether that has been mended."""

    number: int
    name: str
    drift: Drift
    detail: str = ""
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciliation has found. ``held``: more were to be ended than may be, so none was."""

    listed: int
    told: int
    findings: tuple[Finding, ...]
    held: bool = False


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps a broken list from doing harm.

    ``ends`` is the most projects that one run ends; ``settle`` the seconds for which lists must
    have lacked one.
    """

    ends: int = 10
    settle: float = 3600.0


class Reconciler:
    """Compares, reports, and mends."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        coordinator: Coordinator,
        listing: Listing,
        guards: Guards = Guards(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` gives Unix seconds."""
        self._lifecycle = lifecycle
        self._coordinator = coordinator
        self._listing = listing
        self._guards = guards
        self._clock = clock

    async def run(self, by: Identity, *, dry: bool = False, ends: int | None = None) -> Report:
        """Compare with the platform's list of now, and mend what differs; ``dry``: only tell.

        ``ends`` allows so many ends in place of the guard's. ``PlatformUnreadable`` where the
        platform lists nothing that can be believed: then nothing is changed. ``LeaseHeld`` where
        another run is under way. What can't be mended is told, and does not keep the rest from it:
        a project that somebody else is at, too.
        """
        async with self._coordinator.hold(_NAME):
            at = int(self._clock() * 1000)
            listed = await self._listing.projects()
            told = {number: fact async for number, fact in self._lifecycle.told()}
            live = {number: fact for number, fact in told.items() if not fact.gone}
            if live and not listed:
                raise PlatformUnreadable(
                    f"it lists no project, and {len(live)} are known: that is not believed"
                )
            findings: list[Finding] = []
            for number, name in sorted(listed.items()):
                findings += await self._listed(number, name, told.get(number), at, by, dry=dry)
            absent = {number: fact for number, fact in live.items() if number not in listed}
            most = self._guards.ends if ends is None else ends
            due = [number for number, fact in absent.items() if self._is_due(fact)]
            held = len(due) > most
            for number, fact in absent.items():
                findings.append(await self._absent(number, fact, by, dry=dry or held))
        _tell(findings, dry=dry, held=held)
        return Report(len(listed), len(live), tuple(findings), held)

    async def _listed(
        self, number: int, name: str, fact: ProjectFact | None, at: int, by: Identity, *, dry: bool
    ) -> list[Finding]:
        """Make a project what the list says; return what differed."""
        if fact is not None and fact.gone:
            detail = "its end was told, and the platform still has it"
            return [Finding(number, name, Drift.REFUSED, detail)]
        found: list[Finding] = []
        try:
            standing = await self._lifecycle.get(number)
            drift = _drift(name, standing, self._lifecycle.terms.bases)
            if drift is not None:
                found.append(Finding(number, name, drift))
                if not dry:
                    standing = await self._lifecycle.tell(number, name, at, by, supersede=False)
                    found[-1] = replace(found[-1], mended=True)
            if fact is not None and fact.missing and not dry:
                await self._lifecycle.miss(number, 0.0)
            if standing is not None and standing.project is not None:
                found += await self._people(number, name, standing.project, at, by, dry=dry)
        except (Problem, LeaseHeld) as problem:
            found = [each for each in found if each.mended]
            found.append(Finding(number, name, Drift.REFUSED, str(problem)))
        return found

    async def _people(
        self, number: int, name: str, project: Project, at: int, by: Identity, *, dry: bool
    ) -> list[Finding]:
        """Make a project's members what the platform says; return whether they differed."""
        lifecycle, changes = self._lifecycle, dict[str, str]()
        if lifecycle.terms.told:
            team = await self._listing.team(name)
            if team is not None:
                parts = await lifecycle.members.parts(number)
                changes = {
                    user: team.get(user, "")
                    for user in {*team, *parts}
                    if PLATFORM_ROLES.get(team.get(user, "").lower()) is not parts.get(user)
                }
        amiss = [*sorted(changes), *await lifecycle.members.amiss(number, project.tenant)]
        if not amiss:
            return []
        if not dry:
            for user, role in changes.items():
                await lifecycle.tell_member(number, user, role, at, by)
            await lifecycle.mend(number, by)
        detail = " ".join(dict.fromkeys(amiss))
        return [Finding(number, name, Drift.MEMBERS, detail, mended=not dry)]

    async def _absent(self, number: int, fact: ProjectFact, by: Identity, *, dry: bool) -> Finding:
        """End a project that lists have lacked for long enough; else note that this one does."""
        if not self._is_due(fact):
            if not (dry or fact.missing):
                await self._lifecycle.miss(number, self._clock())
            return Finding(number, fact.name, Drift.UNLISTED)
        if not dry:
            try:
                await self._lifecycle.tell_end(number, int(self._clock() * 1000), by)
            except (Problem, LeaseHeld) as problem:
                return Finding(number, fact.name, Drift.REFUSED, str(problem))
        return Finding(number, fact.name, Drift.ENDED, mended=not dry)

    def _is_due(self, fact: ProjectFact) -> bool:
        return bool(fact.missing) and self._clock() - fact.missing >= self._guards.settle


def _drift(name: str, standing: Standing | None, bases: frozenset[str]) -> Drift | None:
    """How a project that is listed differs from what there is, its members left aside."""
    names.namespace(name, bases)
    if standing is None or standing.project is None:
        return Drift.MISSING
    return Drift.SPELLING if name != standing.project.display else None


def _tell(findings: list[Finding], *, dry: bool, held: bool) -> None:
    if held:
        _log.warning("more projects were to be ended than may be at once, so none was: look at it")
    if not dry:
        for each in findings:
            done = "mended" if each.mended else "not mended"
            _log.info("project %d, %s: %s %s, %s", each.number, each.name, each.drift,
                      each.detail, done)  # fmt: skip
