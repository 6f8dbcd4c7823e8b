"""The one table of pages."""

from collections.abc import Mapping, Sequence
from typing import Final

from registry.http.console import activity, images, projects, repositories
from registry.http.console.visit import PREFIX, PageRoute
from registry.spec.problems import PathUnknown

PAGES: Final[Sequence[PageRoute]] = (
    *projects.PAGES,
    *repositories.PAGES,
    *images.PAGES,
    *activity.PAGES,
)
"""Every page, but those to log in and out at."""


def find(path: str) -> tuple[PageRoute, Mapping[str, str]]:
    """Return the page of a raw path below the prefix, and the path's values. ``PathUnknown``."""
    for route in PAGES:
        values = route.path.match(path)
        if values is not None:
            return route, values
    raise PathUnknown


def home(*, logins: bool) -> str:
    """Return the address where visits begin: projects, where there are some."""
    return PREFIX + ("/projects" if logins else "/repositories")


def way_back(text: str) -> str:
    """Return the path, below the prefix, of the page that ``text`` is the path of; or of the home.

    It is read and built anew by the table, so nobody can be led out of the console by a link to it.
    """
    try:
        route, values = find(text.removeprefix(PREFIX))
    except PathUnknown:
        return "/projects"
    return route.path.url(**values)
