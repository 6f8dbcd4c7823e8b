"""Projects, and what belongs to them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry.http.console.visit import Page, PageRoute, Visit
from registry.http.management.inputs import PagesOfProject
from registry.http.management.projects import ProjectListing
from registry.http.management.views import (
    CallerView,
    MemberPage,
    ProjectPage,
    ProjectView,
    QuotaView,
    RepositoryPage,
    RobotPage,
    SharePage,
)
from registry.http.management.webhooks import DeliveryPage, WebhookPage

_PAGE: Final = "50"
_WEBHOOKS: Final = "20"


async def list_projects(visit: Visit[ProjectListing]) -> Page:
    """The visitor's projects; for administrators all, if they ask for them."""
    asked = visit.input
    caller = await visit.ask("whoami", CallerView)
    every = "true" if asked.all else "false"
    found = await visit.need("project.list", ProjectPage, after=asked.after, limit=_PAGE, all=every)
    return Page(
        "projects.html",
        {
            "projects": found.items,
            "next": found.next,
            "all": asked.all,
            "after": asked.after,
            "administrator": caller is not None and caller.administrator,
        },
    )


async def show_project(visit: Visit[PagesOfProject]) -> Page:
    """A project: what it is, how full it is, and its repositories."""
    name, after = str(visit.input.project), visit.input.after
    project = await visit.ask("project.get", ProjectView, project=name)
    listed = {"project": name, "after": after, "limit": _PAGE}
    if project is None:
        # Whoever may read it only knows what it holds; anybody else is told of nothing.
        repositories: RepositoryPage | None = await visit.need(
            "repository.list", RepositoryPage, **listed
        )
    else:
        repositories = await visit.ask("repository.list", RepositoryPage, **listed)
    quota = await visit.ask("quota.get", QuotaView, project=name)
    facts = {
        "name": name,
        "project": project,
        "repositories": repositories,
        "meters": [] if quota is None else _meters(quota),
        "quota": quota,
        "after": after,
        "tabs": await tabs(visit, name),
    }
    return Page("project.html", facts)


async def list_people(visit: Visit[PagesOfProject]) -> Page:
    """Who has a part in a project, and what it lets others pull."""
    name = str(visit.input.project)
    listed = {"project": name, "limit": _PAGE}
    members = await visit.need("member.list", MemberPage, after=visit.input.after, **listed)
    robots = await visit.ask("robot.list", RobotPage, **listed)
    shares = await visit.ask("share.list", SharePage, **listed)
    facts = {
        "name": name,
        "members": members,
        "robots": robots,
        "shares": shares,
        "after": visit.input.after,
        "tabs": await tabs(visit, name),
    }
    return Page("people.html", facts)


_TABS = (
    ("Repositories", "project", None),
    ("People", "people", "member.list"),
    ("Webhooks", "webhooks", "webhook.list"),
    ("Audit", "audit", "audit.project"),
    ("Why denied?", "explain", "explain"),
)
"""The pages of a project: what they are called, and what their visitors must be allowed."""


async def tabs(visit: Visit[Any], project: str) -> list[tuple[str, str]]:
    """The pages of a project that are for the visitor: what they are called, and their actions."""
    if visit.managed.projects is None:
        return []
    given = {"explain": {"principal": "anonymous"}}
    return [
        (label, action)
        for label, action, needed in _TABS
        if needed is None or await visit.may(needed, project=project, **given.get(needed, {}))
    ]


class Meter(msgspec.Struct, frozen=True):
    """How much of something there is, and may be. ``most`` is ``None`` for any amount."""

    label: str
    used: int
    most: int | None
    warn: float
    bytes: bool = False


def _meters(quota: QuotaView) -> list[Meter]:
    limits, used = quota.limits, quota.used
    if limits is None or used is None:
        return []
    warn = limits.warn_percent / 100
    return [
        Meter("Content", used.bytes, limits.bytes, warn, bytes=True),
        Meter("Repositories", used.repositories, limits.repositories, warn),
        Meter("Tags", used.tags, limits.tags, warn),
    ]


async def list_webhooks(visit: Visit[PagesOfProject]) -> Page:
    """Who is told of what happens in a project, and whether that works."""
    name = str(visit.input.project)
    found = await visit.need("webhook.list", WebhookPage, project=name, limit=_WEBHOOKS)
    told = [(each, await _state(visit, name, each.name)) for each in found.items]
    facts = {"name": name, "webhooks": told, "more": found.next, "tabs": await tabs(visit, name)}
    return Page("webhooks.html", facts)


async def _state(visit: Visit[Any], project: str, webhook: str) -> Mapping[str, DeliveryPage]:
    """What a webhook has yet to take, and what it did not take; of each the first few."""
    given = {"project": project, "webhook": webhook, "limit": "10"}
    return {
        "waiting": await visit.need("webhook.deliveries", DeliveryPage, **given),
        "dead": await visit.need("webhook.deliveries", DeliveryPage, **given, dead="true"),
    }


PAGES = (
    PageRoute.of("/projects", "projects", ProjectListing, list_projects),
    PageRoute.of("/projects/{project}", "project", PagesOfProject, show_project),
    PageRoute.of("/projects/{project}/people", "people", PagesOfProject, list_people),
    PageRoute.of("/projects/{project}/webhooks", "webhooks", PagesOfProject, list_webhooks),
)
