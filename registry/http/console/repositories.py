"""Repositories, their images and their tags."""

from typing import Literal

from registry.http.console.visit import Page, PageRoute, Visit
from registry.http.management.environment_views import VersionPage
from registry.http.management.inputs import Pages, PagesOfRepository
from registry.http.management.views import RepositoryPage, TagPage
from registry.spec.problems import Invalid

_PAGE = "50"


class TagListing(PagesOfRepository, frozen=True, kw_only=True):
    """Which list of a repository's tags is asked for."""

    by: Literal["age", "name"] = "age"


async def list_repositories(visit: Visit[Pages]) -> Page:
    """All repositories that the visitor may pull from, whosever they are."""
    after = visit.input.after
    found = await visit.need("repository.catalog", RepositoryPage, after=after, limit="100")
    facts = {"repositories": found.items, "next": found.next, "after": after}
    return Page("repositories.html", facts)


async def show_repository(visit: Visit[TagListing]) -> Page:
    """A repository: its images, the newest first, or all of its tags by name."""
    asked = visit.input
    name = str(asked.repository)
    listed = {"repository": name, "after": asked.after, "limit": _PAGE}
    versions: VersionPage | None = None
    tags: TagPage | None = None
    problem = ""
    if asked.by == "age":
        try:
            versions = await visit.need("environment.versions", VersionPage, **listed)
        except Invalid as error:  # too many tags to put them in order
            problem = error.message
    if versions is None or (not versions.items and not asked.after):
        tags = await visit.need("repository.tags", TagPage, **listed)
        versions = None
    facts = {
        "name": name,
        "project": name.partition("/")[0],
        "versions": versions,
        "tags": tags,
        "problem": problem,
        "after": asked.after,
        "by": "name" if versions is None else "age",
    }
    return Page("repository.html", facts)


PAGES = (
    PageRoute.of("/repositories", "repositories", Pages, list_repositories),
    PageRoute.of("/repositories/{repository}", "repository", TagListing, show_repository),
)
