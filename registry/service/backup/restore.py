"""Restoring: what is kept of the registry, and projects; those that are not there, made anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from auth.roles import Visibility
from registry.service.backup import layout, records
from registry.service.backup.backups import Backup, Backups, ProjectsUnknown
from registry.service.backup.contents import BY, Contents, Failed, Restored
from registry.service.backup.layout import Descriptor
from registry.service.entries import value
from registry.service.presence import exists
from registry.service.projects.names import root_name
from registry.service.projects.records import (
    ProjectRecord,
    RemovalRecord,
    ShareRecord,
    TenantRecord,
)
from registry.service.projects.stamps import ACCESS, principal_stamp, project_stamp
from registry.service.records import Corrupt
from registry.service.services import Services
from registry.spec.names import Place
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ContentStore

_ASK: Final = "ask an administrator of the registry"


class Elsewhere(Exception):
    """The name of a project of the backup is that of another one by now."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A project of the backup: the id and the name that it had, and those that it is to have.

    ``same``: what it goes to is that project, as it stands or made anew; else another one.
    """

    part: Descriptor
    before: str
    old: str
    name: str
    tenant: str
    made: bool
    same: bool = True


class Restore:
    """Restores backups into one registry, also while it serves. It may be repeated."""

    def __init__(
        self,
        store: ContentStore,
        coordinator: Coordinator,
        services: Services,
        backups: Backups,
        *,
        projects: bool,
        per_second: float = 0.0,
        told: Callable[[Restored], None] = lambda _: None,
        failed: Failed = lambda _, __: None,
    ) -> None:
        """``services`` are over ``store``, and take what lacks content. ``projects``: it has some.

        Up to ``per_second`` bytes are read in a second (0: any number).
        """
        self._store = store
        self._coordinator = coordinator
        self._services = services
        self._pool = backups.pool
        self._tree = backups.tree
        self._projects = projects
        self._told = told
        self._contents = Contents(store, services, backups, per_second, told, failed)
        self.done = self._contents.done

    async def restore(
        self,
        backup: Backup,
        names: Sequence[str] = (),
        *,
        into: str = "",
        owned: Mapping[str, str] | None = None,
    ) -> Restored:
        """Restore ``names``, or all that the backup has; one of them ``into`` another project.

        A project that is there keeps what it is, and gets the content: its tags point where they
        did, and what came since stays beside. One that is not there is made as it was, under its
        id where nothing else has had that, and can be seen when all of it is there. Accounts that
        are not there come with a whole backup. Where the name is another project's by now, that
        gets the content only if it was named. What can't be read of the backup is told, and the
        rest goes on. ``ProjectsUnknown``; ``Corrupt`` where the backup as a whole can't be read;
        ``ProjectNameInvalid`` for a name that can be no project's.

        With ``owned``, ids by the names that they had, nobody gets what was another's: a project
        gets its own content only, and another one that only where the first one is ``owned``.
        ``Elsewhere`` for any other.
        """
        # What is in ``names`` is only compared with those of the backup.
        into = into and root_name(into, projects=self._projects)
        found = await self._tree.parts(backup.root, layout.PROJECT)
        chosen = [part for part in found if not names or part.annotations[layout.NAME] in names]
        unknown = set(names) - {part.annotations[layout.NAME] for part in chosen}
        if unknown:
            raise ProjectsUnknown(", ".join(sorted(unknown)))
        if not names:
            await self._registry(backup)
        wanted: list[_Wanted] = []
        for part in chosen:
            try:
                if owned is not None:
                    await self._check_source(part, into, owned)
                place = await self._wanted(part, into, named=bool(names))
                if owned is not None:
                    _check_target(place, owned)
                wanted.append(place)
            except (ProjectsUnknown, Elsewhere, Corrupt) as error:
                if names:
                    raise
                self._contents.fail(part.annotations[layout.NAME], error)
        ids = {project.before: project.tenant for project in wanted if project.same}
        for project in wanted:
            try:
                await self._project(project, ids)
            except (Elsewhere, Corrupt) as error:
                self._contents.fail(project.name, error)
        await self._services.candidates.flush(everything=True)
        return self.done

    async def _registry(self, backup: Backup) -> None:
        """Write what is kept of no project. An account that is here decides over its tokens.

        Tokens come before accounts: those of an account that is not here yet are still to come,
        also where a restore broke off in between.
        """
        try:
            for tokens in (True, False):
                for artifact in await self._tree.parts(backup.root, layout.RECORDS):
                    async for key, data in records.read(self._pool, artifact):
                        if key.startswith(keys.PRINCIPALS) == tokens:
                            await self._of_registry(key, data)
        except Corrupt as error:
            self._contents.fail("accounts and tokens", error)

    async def _of_registry(self, key: str, data: bytes) -> None:
        if key.startswith(keys.ACCOUNTS):
            principal = keys.principal_of(keys.last_segment(key))
        elif key.startswith(keys.PRINCIPALS):
            principal = keys.principal_of(key[len(keys.PRINCIPALS) :].partition("!/")[0])
        else:
            await self._create(key, data)
            return
        async with self._coordinator.change(principal_stamp(principal)):
            # A token that was revoked since must not come back.
            if not await exists(self._store, keys.account(principal)):
                await self._create(key, data)

    async def _project(self, project: "_Wanted", ids: Mapping[str, str]) -> None:
        for repository in await self._tree.parts(project.part, layout.REPOSITORY):
            rest = repository.annotations[layout.REPOSITORY_NAME][len(project.old) :]
            await self._contents.repository(Place(project.tenant + rest), repository)
        if project.made:
            await self._make(project, ids)
        elif await self._services.quotas.find(project.tenant) is not None:
            await self._services.quotas.counting.of(project.tenant)
        self.done.projects += 1
        self._told(self.done)

    async def _wanted(self, part: Descriptor, into: str, *, named: bool) -> "_Wanted":
        """Find out where a project of the backup is to go. Its id is taken where it is made."""
        before, old = part.annotations[layout.TENANT], part.annotations[layout.NAME]
        name = into or old
        standing = await self._standing(name)
        if standing is not None:
            same = await self._is(standing, before, name)
            # Without a record of it, whoever made the project did so to restore into it.
            if not (same or named) and await self._tree.parts(part, layout.RECORDS):
                raise Elsewhere(
                    "another project has this name by now: to restore into that, name it"
                )
            return _Wanted(part, before, old, name, standing, made=False, same=same)
        if not self._projects:
            return _Wanted(part, before, old, name, name, made=False)
        if keys.project(old) not in await self._kept(part):
            raise ProjectsUnknown(
                f"{name}: the backup has no record of it, so it has to be made first"
            )
        return _Wanted(part, before, old, name, await self._tenant(before, name), made=True)

    async def _check_source(self, part: Descriptor, into: str, owned: Mapping[str, str]) -> None:
        """Refuse a copy of what is not the caller's. ``Elsewhere``."""
        before, old = part.annotations[layout.TENANT], part.annotations[layout.NAME]
        if into in ("", old):
            return
        source = await self._standing(old)
        if source is None or owned.get(old) != source or not await self._is(source, before, old):
            raise Elsewhere(f"{old} of the backup is no project of yours: {_ASK}")

    async def _kept(self, part: Descriptor) -> dict[str, bytes]:
        """All records of a project. ``Corrupt``."""
        return {
            key: data
            for artifact in await self._tree.parts(part, layout.RECORDS)
            async for key, data in records.read(self._pool, artifact)
        }

    async def _is(self, standing: str, before: str, name: str) -> bool:
        """Whether a project is the one that had the id before, or was restored from that."""
        while standing != before:
            if not await exists(self._store, keys.tenant_name(before)):
                return False
            before = _following(before, name)
        return True

    async def _standing(self, name: str) -> str | None:
        """The id of the project of this name."""
        found = await value(self._store, keys.project(name))
        return ProjectRecord.decode(found.data).id if found is not None else None

    async def _tenant(self, before: str, name: str) -> str:
        """Take the id that the project had, if no other project has had it here; else a new one.

        One that an earlier restore took and did not finish is taken again.
        """
        record = TenantRecord(name, BY, self._services.terms.clock())
        while True:
            found = await value(self._store, keys.tenant_name(before))
            if found is None:
                try:
                    await self._store.create(keys.tenant_name(before), record.encode())
                except AlreadyExists:
                    continue
                return before
            standing = TenantRecord.decode(found.data)
            gone = await value(self._store, keys.removal(before))
            ours = (standing.name, standing.by, standing.removed) == (name, BY, None)
            if ours and gone is None:
                return before
            before = _following(before, name)

    async def _make(self, wanted: "_Wanted", ids: Mapping[str, str]) -> None:
        """Write what is kept of a project; its name last, so that nobody sees half of it.

        ``ids`` leads from the ids that projects of the backup had to those that they have now.
        """
        name, tenant = wanted.name, wanted.tenant
        if await self._standing(name) not in (None, tenant):
            raise await self._overtaken(wanted)
        kept = await self._kept(wanted.part)
        project = ProjectRecord.decode(kept.pop(keys.project(wanted.old)))
        limits = kept.pop(keys.quota(wanted.before), None)
        claim = kept.pop(keys.claim(wanted.before), None)
        kept.pop(keys.tenant_name(wanted.before), None)
        concerned: list[str] = []
        for key, data in kept.items():
            rest = key[len(keys.tenant(wanted.before)) :]
            kind, _, last = rest.partition("/")
            if kind == "shares":
                await self._share(wanted, key, data, ids)
                continue
            if kind == "members":
                await self._store.put(keys.part_of_segment(last, name), b"")
                concerned.append(principal_stamp(keys.principal_of(last)))
            elif kind == "retention":
                await self._store.put(keys.retained(tenant), b"")
            await self._create(keys.tenant(tenant) + rest, data)
        if claim is not None and name == wanted.old:
            await self._create(keys.claim(tenant), claim)
        if limits is not None:
            await self._services.quotas.limit(tenant, records.limits_of(limits), None)
        if project.visibility is not Visibility.PRIVATE:
            whom = keys.EVERYONE if project.visibility is Visibility.PUBLIC else keys.USERS
            await self._store.put(keys.part(whom, name), b"")
        display = project.display if name == wanted.old else name
        record = msgspec.structs.replace(project, id=tenant, display=display)
        async with self._coordinator.change(project_stamp(name), ACCESS, *concerned):
            await self._create(keys.project(name), record.encode())
            if await self._standing(name) != tenant:
                raise await self._overtaken(wanted)

    async def _overtaken(self, wanted: "_Wanted") -> Elsewhere:
        """Have what was restored under an id purged: somebody has made a project of its name."""
        removal = RemovalRecord(wanted.name, BY, self._services.terms.clock())
        await self._store.put(keys.removal(wanted.tenant), removal.encode())
        return Elsewhere("another project of this name was made meanwhile: to restore, name it")

    async def _share(
        self, wanted: "_Wanted", key: str, data: bytes, ids: Mapping[str, str]
    ) -> None:
        """Write a share of a project that is under its own name, if the other one is there.

        It may be one of the same backup that is not quite there yet.
        """
        share = ShareRecord.decode(data)
        before, repository = keys.share_parts(key)
        target = ids.get(before, before)
        there = before in ids or await self._standing(share.target) == target
        if wanted.name != wanted.old or not there:
            return
        await self._store.put(keys.shared(wanted.name, share.target), b"")
        await self._create(keys.share(wanted.tenant, target, repository), data)

    async def _create(self, key: str, data: bytes) -> None:
        """Write a record unless there is one."""
        try:
            await self._store.create(key, data)
        except AlreadyExists:
            return


def _check_target(wanted: _Wanted, owned: Mapping[str, str]) -> None:
    """Refuse to write into a project that the backup's content is not of. ``Elsewhere``.

    It is about what was found, not looked at again: in between, somebody may make a project.
    """
    if wanted.made:
        return
    if not wanted.same:
        raise Elsewhere(f"{wanted.name} is not the project that the backup has: {_ASK}")
    if owned.get(wanted.name, wanted.tenant) != wanted.tenant:
        raise Elsewhere(f"{wanted.name} is another project since this was asked for: ask again")


def _following(tenant: str, name: str) -> str:
    """The id to take where one was had already: the same again, if a restore is repeated."""
    return sha256(f"{tenant} {name}".encode()).hexdigest()[:32]
