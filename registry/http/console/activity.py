"""What happened, and why something was refused."""

import time
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from registry.http.console.projects import tabs
from registry.http.console.visit import Page, PageRoute, Visit
from registry.http.management.audit import Chosen, ProjectAudit
from registry.http.management.inputs import Nothing, ProjectName
from registry.http.management.views import AuditPage, CallerView, ExplanationView
from registry.service.audit.events import Happening
from registry.spec.errors import RegistryError
from registry.spec.problems import Problem

_PAGE: Final = "50"
_DAY: Final = 86_400

VERBS: Final[dict[str, str]] = {
    "pull": "pull from it",
    "push": "push to it",
    "delete": "delete from it",
    "list": "see that it is there",
    "describe": "see members and settings of the project",
    "operate": "run the project: robots, rules",
    "administer": "decide on the project: members, sharing",
}
"""What can be asked about, and how the form calls it."""

Wanted = Literal["pull", "push", "delete", "list", "describe", "operate", "administer"]

Period = Annotated[
    Literal["day", "week", "month", "all"], Meta(description="How far back the list begins.")
]
_PERIODS: Final = {"day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY}


class ProjectEvents(ProjectAudit, frozen=True, kw_only=True):
    """Which events of a project are looked at."""

    period: Period = "week"


class RegistryEvents(Chosen, frozen=True, kw_only=True):
    """Which events that are about no project are looked at."""

    period: Period = "week"


async def project_events(visit: Visit[ProjectEvents]) -> Page:
    """What happened in a project."""
    name = str(visit.input.project)
    page = await _events(visit, "audit.project", project=name)
    return Page(page.template, {**page.facts, "name": name, "tabs": await tabs(visit, name)})


async def registry_events(visit: Visit[RegistryEvents]) -> Page:
    """What happened that is about no project."""
    page = await _events(visit, "audit.registry")
    return Page(page.template, {**page.facts, "name": "", "tabs": []})


async def _events(
    visit: Visit[ProjectEvents] | Visit[RegistryEvents], action: str, /, **given: str
) -> Page:
    asked = visit.input
    after = asked.after
    if not after and asked.period != "all":
        after = str(int((time.time() - _PERIODS[asked.period]) * 1000))
    filters = {"action": asked.action, "principal": asked.principal, "result": asked.result}
    found = await visit.need(action, AuditPage, after=after, limit=_PAGE, **filters, **given)
    return Page(
        "events.html",
        {
            "events": found.items,
            "next": found.next,
            "after": asked.after,
            "asked": asked,
            "filters": filters,
            "actions": [each.value for each in Happening],
        },
    )


class OwnWish(Nothing, frozen=True, kw_only=True):
    """What the visitor wanted to do, and where: a repository or a project."""

    verb: Wanted = "pull"
    where: Annotated[str, Meta(max_length=300)] = ""


class Wish(OwnWish, frozen=True, kw_only=True):
    """What somebody wanted to do in a project."""

    project: ProjectName
    principal: Annotated[str, Meta(max_length=300)] = ""


async def explain_own(visit: Visit[OwnWish]) -> Page:
    """Why the visitor may or may not do something."""
    asked = visit.input
    caller = await visit.need("whoami", CallerView)
    where = asked.where.strip()
    facts = {"caller": caller, "name": "", "tabs": [], "principal": caller.name}
    return await _explained(
        visit, "explain.own", facts, project=where.partition("/")[0], where=where
    )


async def explain_other(visit: Visit[Wish]) -> Page:
    """Why somebody may or may not do something in a project: for those who run it."""
    asked = visit.input
    name, where, who = str(asked.project), asked.where.strip(), asked.principal.strip()
    if not await visit.may("explain", project=name, principal="anonymous"):
        await visit.need("explain", ExplanationView, project=name, principal="anonymous")
    facts = {"caller": None, "name": name, "tabs": await tabs(visit, name), "principal": who}
    given = {"project": name, "where": (where or name) if who else "", "principal": who}
    return await _explained(visit, "explain", facts, **given)


async def _explained(
    visit: Visit[Any], action: str, facts: dict[str, Any], /, *, where: str, **given: str
) -> Page:
    facts = {
        **facts,
        "verbs": VERBS,
        "asked": visit.input,
        "answer": None,
        "problem": "",
    }
    if not where:
        return Page("why.html", facts)
    asked = {**given, "verb": visit.input.verb, "repository": where}
    try:
        facts["answer"] = await visit.need(action, ExplanationView, **asked)
    except (Problem, RegistryError) as error:
        if error.status != 400:
            raise
        facts["problem"] = error.message
        return Page("why.html", facts, 400)
    return Page("why.html", facts)


PAGES = (
    PageRoute.of("/projects/{project}/audit", "audit", ProjectEvents, project_events),
    PageRoute.of("/projects/{project}/why", "explain", Wish, explain_other),
    PageRoute.of("/audit", "registry-audit", RegistryEvents, registry_events),
    PageRoute.of("/why", "why", OwnWish, explain_own),
)
