"""What tests of projects have in hand, and a few short ways to ask it."""

from dataclasses import dataclass, replace
from typing import Any

from auth.access import Tenant
from auth.identity import Identity
from auth.policy import Action, Allow, Verb
from auth.roles import Role, Visibility
from registry.service.projects.events import Event
from registry.service.projects.projects import Wanted
from registry.service.projects.tenancy import Tenancy
from registry.service.services import Services
from registry.spec.names import Place, RepositoryName

ROOT = Identity("user:root")
"""Whoever acts where it makes no difference."""

PREFIXES = (
    *("projects/", "tenants/", "accounts/", "principals/", "shared/", "removals/", "quotas/"),
    *("repos/", "refs/", "mounts/", "catalog/", "uploads/", "data/", "blobs/"),
)
VERBS = {Verb.PULL: "pull", Verb.PUSH: "push", Verb.DELETE: "delete", Verb.LIST: "list"}


def user(name: str, *groups: str, **more: Any) -> Identity:
    return Identity(f"user:{name}", groups=frozenset(groups), **more)


@dataclass
class World:
    store: Any
    coordinator: Any
    services: Services
    tenancy: Tenancy
    told: list[Event]

    async def project(
        self, name: str, *, visibility: Visibility = Visibility.PRIVATE, **roles: str
    ) -> Tenant:
        """Make a project of which users have these roles."""
        wanted = Wanted(name, visibility, owner="user:owner-of-all")
        project, _ = await self.tenancy.projects.create(wanted, ROOT)
        for who, role in roles.items():
            await self.tenancy.members.put(project.tenant, f"user:{who}", Role(role), ROOT)
        return project.tenant

    async def may(self, identity: Identity, repository: str, **more: str) -> set[str]:
        """The verbs that the caller has on a repository."""
        found = set()
        for verb, name in VERBS.items():
            action = Action(verb, RepositoryName(repository), **more)
            if isinstance(await self.tenancy.policy.decide(identity, action), Allow):
                found.add(name)
        return found

    async def place(self, identity: Identity, repository: str) -> Place | None:
        action = Action(Verb.PULL, RepositoryName(repository))
        decision = await self.tenancy.policy.decide(identity, action)
        return decision.place if isinstance(decision, Allow) else None

    async def keys(self, prefix: str = "") -> list[str]:
        found = []
        for each in [prefix] if prefix else PREFIXES:
            found += await self.store.list(each, limit=10_000)
        return found


def bearer(identity: Identity, ceiling: Any, **projects: str) -> Identity:
    """The same caller with a token."""
    return replace(identity, ceiling=ceiling, projects=projects)
