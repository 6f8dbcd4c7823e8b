"""The members that the projects of a platform are to have here, as far as it has a say in that."""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from auth.access import Tenant
from auth.identity import Identity
from auth.roles import PLATFORM_ROLES, Role
from registry.service.bounded import each
from registry.service.listing import every_key
from registry.service.platform.records import MemberFact, newer_member
from registry.service.platform.terms import PlatformTerms
from registry.service.projects.kept import Records
from registry.service.projects.members import Member, Members
from registry.spec.problems import MemberUnknown
from storage import keys
from storage.ports import ObjectStore

_PAGE: Final = 100
_AT_ONCE: Final = 16


class PlatformMembers:
    """Keeps what a platform tells of users in its projects, and makes it so."""

    def __init__(self, store: ObjectStore, members: Members, terms: PlatformTerms) -> None:
        self._store = store
        self._members = members
        self._terms = terms
        self._parts = Records(store, MemberFact)

    async def note(self, number: int, told: Mapping[str, MemberFact]) -> None:
        """Write down what was told of users, of each unless something later was."""

        async def note(user: str) -> None:
            await self._note(number, user, told[user])

        await each(told, note, at_once=_AT_ONCE)

    async def _note(self, number: int, user: str, told: MemberFact) -> None:
        key = keys.told_member(number, user)
        standing = await self._parts.find(key)
        fact = newer_member(standing.record if standing is not None else None, told)
        if standing is None or standing.record != fact:
            await self._parts.write(key, fact, standing)

    async def parts(self, number: int) -> Mapping[str, Role | None]:
        """Return what was told of the project's users."""
        found: dict[str, Role | None] = {}

        async def find(key: str) -> None:
            kept = await self._parts.find(key)
            if kept is not None:
                found[keys.principal_of(keys.last_segment(key))] = kept.record.role

        listed = every_key(self._store, keys.told_members(number))
        await each(listed, find, at_once=_AT_ONCE)
        return found

    async def wanted(self, number: int) -> dict[str, Role]:
        """Who is to be a member of the project, as far as the platform has a say in that."""
        wanted = self._groups(number)
        if self._terms.told:
            parts = await self.parts(number)
            wanted = {self._principal(user): role for user, role in parts.items() if role}
        return wanted | self._service()

    async def amiss(self, number: int, tenant: Tenant) -> Mapping[str, Role | None]:
        """Return what members of the project are to have another role, or none."""
        wanted = await self.wanted(number)
        there = {each.principal: each.role async for each in self._all(tenant)}
        parts = await self.parts(number)
        found: dict[str, Role | None] = {
            principal: role
            for principal, role in wanted.items()
            if there.get(principal) is not role
        }
        for principal in there:
            if principal not in wanted and self._manages(principal, number, parts):
                found[principal] = None
        return found

    async def make(self, number: int, tenant: Tenant, by: Identity) -> None:
        """Give the platform's users, groups and itself their roles, and no other member another."""
        for principal, role in (await self.amiss(number, tenant)).items():
            if role is not None:
                await self._members.put(tenant, principal, role, by)
                continue
            with suppress(MemberUnknown):  # another was first
                await self._members.remove(tenant, principal, by)

    async def forget(self, number: int) -> None:
        """Forget what was told of the project's users."""
        async for key in every_key(self._store, keys.told_members(number)):
            await self._store.delete(key)

    def _manages(self, principal: str, number: int, parts: Mapping[str, Role | None]) -> bool:
        """Whether the platform decides on this member: its own users, and groups of the project."""
        prefix = self._terms.prefix
        if principal.startswith(f"group:{prefix}{number}/"):
            return True
        if prefix and principal.startswith(f"user:{prefix}"):
            return True
        return principal in {self._principal(user) for user in parts}

    def _principal(self, user: str) -> str:
        return f"user:{self._terms.prefix}{user}"

    def _groups(self, number: int) -> dict[str, Role]:
        prefix = f"group:{self._terms.prefix}{number}/"
        return {prefix + each.replace(" ", "-"): role for each, role in PLATFORM_ROLES.items()}

    def _service(self) -> dict[str, Role]:
        return {self._terms.service: Role.OWNER} if self._terms.service else {}

    async def _all(self, tenant: Tenant) -> AsyncIterator[Member]:
        after = ""
        while True:
            leaf = await self._members.page(tenant, after, _PAGE)
            for member in leaf.items:
                yield member
            if not leaf.more or not leaf.items:
                return
            after = leaf.items[-1].principal
