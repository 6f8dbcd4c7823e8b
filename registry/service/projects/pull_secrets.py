"""Image pull secrets of projects: robot accounts that can only pull, as Kubernetes keeps them."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from auth.access import Tenant
from auth.identity import Identity
from auth.roles import Role
from registry.service.platform.names import kubernetes_namespace
from registry.service.projects.robots import IssuedRobot, Robot, Robots, RobotTerms
from registry.spec.problems import AddressUnknown, Invalid, RobotUnknown
from registry.spec.pull_secret import PullSecret

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""What a namespace may be called (RFC 1123)."""

_TERMS: Final = RobotTerms(Role.GUEST, "repository:*:pull")
"""What makes a robot account one for pulls: what the project may read, and nothing of its members.

As a guest it pulls from its project. By that it pulls too what is shared with the project and what
is open to every login, such as base images. No role that it may be given later adds a push.
"""


@dataclass(frozen=True, slots=True)
class IssuedPullSecret:
    """A pull secret that has just been made, and its robot account."""

    robot: Robot
    secret: PullSecret


class PullSecrets:
    """Issues, rotates and revokes pull secrets. Each is a robot account of its project."""

    def __init__(self, robots: Robots, public_url: str) -> None:
        """Keep them by ``robots``; nodes reach the registry at ``public_url``, if that is known."""
        self._robots = robots
        self._host = urlsplit(public_url).netloc

    async def issue(
        self,
        tenant: Tenant,
        name: str,
        by: Identity,
        *,
        namespace: str | None = None,
        kept_as: str | None = None,
        overlap: float,
    ) -> IssuedPullSecret:
        """Make the pull secret ``name`` of a project, or make it anew if there is one.

        What was issued before stays good for ``overlap`` more seconds. So a caller that did not
        get the answer asks again. ``namespace`` is by default the project's, ``kept_as`` (the
        Secret's name) ``moorage-<name>``.

        ``AddressUnknown``; ``Invalid``; ``ProjectUnknown``; ``TooMany``; ``Changed`` where somebody
        else was there at the same time.
        """
        if not self._host:
            raise AddressUnknown
        if namespace is None:
            namespace = _namespace(tenant.name)
        try:
            standing = await self._robots.get(tenant, name)
        except RobotUnknown:
            issued = await self._robots.put(tenant, name, _TERMS, by, version="")
        else:
            _check(standing)
            issued = await self._robots.rotate(tenant, name, by, overlap, standing.version)
        kept_as = kept_as or f"moorage-{name.replace('_', '-')}"
        return self._issued(issued, namespace, kept_as)

    async def revoke(self, tenant: Tenant, name: str, by: Identity) -> None:
        """End the pull secret, at once, for every replica. ``ProjectUnknown``, ``RobotUnknown``.

        ``Invalid`` for a robot account that is none; ``Changed`` as ``issue`` does.
        """
        standing = await self._robots.get(tenant, name)
        _check(standing)
        await self._robots.remove(tenant, name, by, standing.version)

    def _issued(self, issued: IssuedRobot, namespace: str, kept_as: str) -> IssuedPullSecret:
        assert issued.secret is not None  # noqa: S101 -- it was made, or rotated
        robot = issued.robot
        secret = PullSecret(self._host, robot.login, issued.secret, namespace, kept_as)
        return IssuedPullSecret(robot, secret)


def _check(robot: Robot) -> None:
    if (robot.role, robot.scopes) != (_TERMS.role, _TERMS.scopes):
        raise Invalid(
            f"the robot account {robot.name!a} is no pull secret, it may do other things: choose "
            "another name"
        )


def _namespace(project: str) -> str:
    """Return the namespace of the project's pods. No project of the platform has none."""
    name = kubernetes_namespace(project)
    if _LABEL.fullmatch(name) is None:
        raise Invalid(
            f"{name[:80]!a} can be no namespace of Kubernetes: say where the secret is to be kept"
        )
    return name
