"""The one table of routes."""

from collections.abc import Mapping, Sequence
from typing import Final

from registry.http.management import (
    accounts,
    audit,
    backups,
    collection,
    deletions,
    derivations,
    environments,
    explain,
    manifests,
    members,
    past,
    platform,
    projects,
    pull_secrets,
    pulls,
    quotas,
    repositories,
    retention,
    robots,
    rules,
    tokens,
    webhooks,
)
from registry.http.management.route import Route
from registry.spec.problems import MethodUnknown, PathUnknown

ROUTES: Final[Sequence[Route]] = (
    *projects.ROUTES,
    *quotas.ROUTES,
    *members.ROUTES,
    *robots.ROUTES,
    *pull_secrets.ROUTES,
    *rules.ROUTES,
    *repositories.ROUTES,
    *deletions.ROUTES,
    *collection.ROUTES,
    *manifests.ROUTES,
    *derivations.ROUTES,
    *pulls.ROUTES,
    *environments.ROUTES,
    *webhooks.ROUTES,
    *past.ROUTES,
    *retention.ROUTES,
    *explain.ROUTES,
    *audit.ROUTES,
    *accounts.ROUTES,
    *tokens.ROUTES,
    *platform.ROUTES,
    *backups.ROUTES,
)
"""Everything that can be asked for, in the order of the documentation."""


def find(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """Return the route of a method and a raw path below the prefix, and the path's values.

    HEAD is taken as GET. ``PathUnknown``; ``MethodUnknown`` where the path has other methods.
    """
    wanted = "GET" if method == "HEAD" else method
    allowed = []
    for route in ROUTES:
        values = route.path.match(path)
        if values is None:
            continue
        if route.method == wanted:
            return route, values
        allowed.append(route.method)
    if not allowed:
        raise PathUnknown
    raise MethodUnknown([*allowed, *(["HEAD"] if "GET" in allowed else [])])


BY_ACTION: Final[Mapping[str, Route]] = {route.action: route for route in ROUTES}
"""The same by what each is called, for rooms that ask on a caller's behalf."""
