"""Shares: a project lets the members of another one pull from it. Nothing else crosses the line."""

import time
from dataclasses import dataclass
from typing import Final

from auth.access import Directory, Tenant
from auth.identity import Identity
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records
from registry.service.projects.names import is_project_id, project_name
from registry.service.projects.projects import Projects
from registry.service.projects.records import ShareRecord
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName
from registry.spec.problems import Invalid, ShareUnknown, TooMany
from storage import keys
from storage.ports import ObjectStore

MAX_SHARES: Final = 1000
"""Most shares that one project gives."""


@dataclass(frozen=True, slots=True)
class Share:
    """What is shared with whom. ``repository`` is a name, or ``None`` for the whole project.

    ``target`` is the name of the other project, ``target_id`` its id: a later project of that name
    has no part in it.
    """

    target: str
    target_id: str
    repository: str | None
    by: str
    at: float
    version: str


class Shares:
    """Gives and revokes shares. The right that one gives is to pull, and to mount from it."""

    def __init__(
        self, store: ObjectStore, projects: Projects, directory: Directory, events: Events
    ) -> None:
        """Keep them in ``store``, tell ``events`` of each change."""
        self._store = store
        self._projects = projects
        self._directory = directory
        self._events = events
        self._records = Records(store, ShareRecord)

    async def page(self, tenant: Tenant, after: str, limit: int) -> Leaf[Share]:
        """Return what the project shares, after the key ``after`` (``cursor`` of a share)."""
        prefix = keys.shares(tenant.id)
        leaf = await self._records.page(prefix, prefix + after if after else "", limit)
        return Leaf([_share(each) for each in leaf.items], leaf.more)

    async def put(
        self, tenant: Tenant, target: str, repository: str | None, by: Identity
    ) -> tuple[Share, bool]:
        """Share a repository (it need not exist yet), or all, with another project.

        Return the share, and whether it is new. ``target`` is that project's name, if ``by`` has a
        part in it, or its id, which only its members know: else whoever shares could find out which
        names are taken. Repeating it changes nothing. ``ProjectUnknown``; ``Invalid`` for a target
        that is not there for ``by``, and for a repository of another project; ``TooMany``.
        """
        wanted = _repository(tenant, repository)
        other = await self._target(target, by)
        if other is None or other.id == tenant.id:
            raise Invalid(
                f"there is no other project {target[:80]!a} that you have a part in: to share with "
                "one of which you are no member, ask a member for its id"
            )
        name = other.name
        key = keys.share(tenant.id, other.id, wanted)
        async with self._projects.changing(tenant, shares=True):
            standing = await self._records.find(key)
            if standing is not None:
                return _share(standing), False
            if await self._records.count(keys.shares(tenant.id), MAX_SHARES) == MAX_SHARES:
                raise TooMany("shares of a project", MAX_SHARES)
            await self._store.put(keys.shared(tenant.name, name), b"")
            kept = await self._records.write(key, ShareRecord(name, by.name, time.time()), None)
        await self._tell(EventKind.SHARE_PUT, by, tenant, wanted, name)
        return _share(kept), True

    async def remove(
        self, tenant: Tenant, target: str, repository: str | None, by: Identity
    ) -> None:
        """Revoke a share, at once, for tokens that are out too.

        ``target`` is the name of the other project, as it was when the share was given, also where
        that has been removed meanwhile. ``ProjectUnknown``, ``ShareUnknown``.
        """
        name = project_name(target)
        wanted = _repository(tenant, repository)
        async with self._projects.changing(tenant, shares=True):
            with_target = [each for each in await self._all(tenant) if each.record.target == name]
            found = [each for each in with_target if keys.share_parts(each.key)[1] == wanted]
            if not found:
                raise ShareUnknown
            for each in found:
                await self._records.remove(each)
            if len(found) == len(with_target):
                await self._store.delete(keys.shared(tenant.name, name))
        await self._tell(EventKind.SHARE_REMOVED, by, tenant, wanted, name)

    async def _target(self, text: str, by: Identity) -> Tenant | None:
        if is_project_id(text):
            return await self._projects.with_id(text)
        access = await self._directory.access(by, project_name(text))
        return access.tenant

    async def _all(self, tenant: Tenant) -> list[Kept[ShareRecord]]:
        found: list[Kept[ShareRecord]] = []
        after = ""
        while True:
            leaf = await self._records.page(keys.shares(tenant.id), after, MAX_SHARES)
            found += leaf.items
            if not leaf.more or not leaf.items:
                return found
            after = leaf.items[-1].key

    async def _tell(
        self, kind: EventKind, by: Identity, tenant: Tenant, repository: str | None, target: str
    ) -> None:
        await self._events(
            event(
                kind,
                by,
                repository or tenant.name,
                tenant,
                target=target,
                whole=None if repository else "yes",
            )
        )


def cursor(share: Share) -> str:
    """Where ``Shares.page`` goes on after this share."""
    return keys.share("", share.target_id, share.repository).removeprefix(keys.shares(""))


def _repository(tenant: Tenant, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        name = RepositoryName.parse(text)
    except NameInvalid as error:
        raise Invalid(error.message) from None
    if name.project != tenant.name:
        raise Invalid(f"{name} is no repository of the project {tenant.name}")
    return name


def _share(kept: Kept[ShareRecord]) -> Share:
    target_id, repository = keys.share_parts(kept.key)
    record = kept.record
    return Share(record.target, target_id, repository, record.by, record.at, kept.version)
