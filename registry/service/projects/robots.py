"""Robot accounts of projects: for CI, for Kubernetes pull secrets, for whatever is no person."""

import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from auth.access import Tenant
from auth.identity import Identity
from auth.roles import Role
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records, check_version
from registry.service.projects.names import ceiling, networks, robot_name
from registry.service.projects.projects import Projects
from registry.service.projects.records import RobotRecord, SecretRecord
from registry.service.projects.secrets import SecretKind, mint
from registry.service.projects.stamps import robot_principal
from registry.spec.problems import Invalid, RobotUnknown, TooMany
from storage import keys
from storage.ports import ObjectStore

MAX_ROBOTS: Final = 200
"""Most robot accounts of one project."""

MAX_OVERLAP: Final = 7 * 24 * 3600
"""Longest time, in seconds, that an old secret stays good beside the new one."""

MAX_SECRETS: Final = 4
"""Most secrets of one robot account that are good at the same time.

More than two: whoever rotates, does not get the answer and rotates again has lost the new one, and
uses the old one until its time is over.
"""


@dataclass(frozen=True, slots=True)
class RobotTerms:
    """What a robot account may do, until when (Unix seconds), and from where.

    ``role``: guest, developer or maintainer. ``scopes`` narrow that; ``None``: they don't.
    ``networks`` such as ``10.0.0.0/8``; none: from anywhere.
    """

    role: Role
    scopes: str | None = None
    expires: float | None = None
    networks: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot account. Its login name is ``<project>+<name>``; ``secrets`` are ids and ends."""

    name: str
    login: str
    role: Role
    scopes: str | None
    expires: float | None
    networks: tuple[str, ...]
    by: str
    at: float
    version: str
    secrets: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class IssuedRobot:
    """A robot account and its new secret, which is shown this once. ``None``: it has no new one."""

    robot: Robot
    secret: str | None = field(repr=False)


class Robots:
    """Makes robot accounts, changes their terms and secrets, and ends them."""

    def __init__(self, store: ObjectStore, projects: Projects, events: Events) -> None:
        """Keep them in ``store``, tell ``events`` of each change."""
        self._projects = projects
        self._events = events
        self._records = Records(store, RobotRecord)

    async def page(self, tenant: Tenant, after: str, limit: int) -> Leaf[Robot]:
        """Return robot accounts after the name ``after``, in byte order."""
        first = keys.robot(tenant.id, after) if after else ""
        leaf = await self._records.page(keys.robots(tenant.id), first, limit)
        return Leaf([_robot(tenant, each) for each in leaf.items], leaf.more)

    async def get(self, tenant: Tenant, name: str) -> Robot:
        """Return a robot account; ``RobotUnknown`` if there is none of this name."""
        return _robot(tenant, await self._find(tenant, robot_name(name)))

    async def put(
        self,
        tenant: Tenant,
        name: str,
        terms: RobotTerms,
        by: Identity,
        version: str | None = None,
    ) -> IssuedRobot:
        """Make a robot account, with a secret; or change the terms of one, which keeps its secret.

        Terms count from the next request on. ``ProjectUnknown``, ``Invalid``, ``TooMany``;
        ``Changed`` where another version than ``version`` stands (``""``: where there is one).
        """
        name = robot_name(name)
        if terms.role is Role.OWNER:
            raise Invalid("a robot account can't be an owner: use guest, developer or maintainer")
        if terms.expires is not None and terms.expires <= time.time():
            raise Invalid("the time at which the robot account expires is past")
        limits = (ceiling(terms.scopes), terms.expires, networks(terms.networks))
        async with self._changing(tenant, name):
            standing = await self._records.find(keys.robot(tenant.id, name))
            check_version(standing, version)
            secret: str | None = None
            if standing is None:
                if await self._records.count(keys.robots(tenant.id), MAX_ROBOTS) == MAX_ROBOTS:
                    raise TooMany("robot accounts in a project", MAX_ROBOTS)
                secret, kept_secret = mint(SecretKind.ROBOT)
                held: tuple[SecretRecord, ...] = (kept_secret,)
            else:
                held = standing.record.secrets
            record = RobotRecord(terms.role, held, by.name, time.time(), *limits)
            kept = await self._records.write(keys.robot(tenant.id, name), record, standing)
        told = {
            "role": terms.role,
            "scopes": terms.scopes or None,
            "expires": terms.expires,
            "networks": " ".join(terms.networks) or None,
        }
        await self._tell(EventKind.ROBOT_PUT, by, tenant, name, **told)
        return IssuedRobot(_robot(tenant, kept), secret)

    async def rotate(
        self,
        tenant: Tenant,
        name: str,
        by: Identity,
        overlap: float = 0.0,
        version: str | None = None,
    ) -> IssuedRobot:
        """Give the robot account a new secret; those it has are good for ``overlap`` more seconds.

        Or less, where their time is over before; beyond ``MAX_SECRETS`` the oldest ends now. With
        no overlap, tokens that were made from old secrets are worth nothing from now on.
        ``ProjectUnknown``, ``RobotUnknown``, ``Invalid``; ``Changed`` where another version than
        ``version`` stands.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise Invalid(f"old and new secrets overlap by 0 to {MAX_OVERLAP} seconds")
        async with self._changing(tenant, name):
            standing = await self._find(tenant, robot_name(name))
            check_version(standing, version)
            old = standing.record
            now = time.time()
            secret, fresh = mint(SecretKind.ROBOT)
            held = [
                SecretRecord(
                    each.id, each.sha256, each.at, min(now + overlap, each.expires or now + overlap)
                )
                for each in old.secrets
                if overlap and (each.expires is None or each.expires > now)
            ]
            secrets = (fresh, *held[: MAX_SECRETS - 1])
            record = RobotRecord(
                old.role, secrets, by.name, now, old.scopes, old.expires, old.networks
            )
            kept = await self._records.write(standing.key, record, standing)
        await self._tell(EventKind.ROBOT_ROTATED, by, tenant, name, overlap=overlap)
        return IssuedRobot(_robot(tenant, kept), secret)

    async def remove(
        self, tenant: Tenant, name: str, by: Identity, version: str | None = None
    ) -> None:
        """End the robot account, at once. ``ProjectUnknown``, ``RobotUnknown``, ``Changed``."""
        async with self._changing(tenant, name):
            standing = await self._find(tenant, robot_name(name))
            check_version(standing, version)
            await self._records.remove(standing)
        await self._tell(EventKind.ROBOT_REMOVED, by, tenant, name)

    def _changing(self, tenant: Tenant, name: str) -> AbstractAsyncContextManager[None]:
        return self._projects.changing(tenant, robot_principal(tenant.name, name))

    async def _find(self, tenant: Tenant, name: str) -> Kept[RobotRecord]:
        found = await self._records.find(keys.robot(tenant.id, name))
        if found is None:
            raise RobotUnknown(name)
        return found

    async def _tell(
        self, kind: EventKind, by: Identity, tenant: Tenant, name: str, **details: object
    ) -> None:
        principal = robot_principal(tenant.name, name)
        await self._events(event(kind, by, principal, tenant, **details))


def _robot(tenant: Tenant, kept: Kept[RobotRecord]) -> Robot:
    record = kept.record
    name = keys.last_segment(kept.key)
    return Robot(
        name,
        f"{tenant.name}+{name}",
        record.role,
        record.scopes,
        record.expires,
        record.networks,
        record.by,
        record.at,
        kept.version,
        tuple((each.id, each.expires) for each in record.secrets),
    )
