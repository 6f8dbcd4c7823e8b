"""One repository in which the images of all projects of a platform are shown.

Nothing is kept in it but the platform's own images. A tag that is a project's (``names``) is kept,
by the same name, in that project's repository ``<project>/<last part of the shared one's name>``,
and everything about it is decided and done there: so roles, quotas, events, removal and collection
are what they are for any repository of a project. What callers see of it is in ``view``.
"""

from collections.abc import Collection
from typing import Final

from auth.identity import Identity
from auth.policy import Action, Policy, Verb
from registry.service.platform import names
from registry.service.remembered import Kept
from registry.service.services import Services
from registry.spec.names import RepositoryName

_REMEMBERED: Final = 2 * 1024 * 1024
"""Bytes of memory for where things were found."""


class SharedRepository:
    """A repository by its name, and where what it shows is kept.

    ``found`` is in which project something was found last, by its digest. It makes a difference to
    nothing but the order in which a caller's own projects are looked in.
    """

    def __init__(
        self,
        name: RepositoryName,
        policy: Policy,
        services: Services,
        bases: Collection[str] = names.BASES,
    ) -> None:
        """``policy`` decides; ``bases`` are names that no project of the platform has."""
        self.name = name
        self.policy = policy
        self.services = services
        self.found: Kept[str] = Kept(_REMEMBERED, lambda project: 200 + len(project))
        self._bases = frozenset(bases)

    def project_of(self, tag: str) -> str | None:
        """Return whose the tag is, as ``names.tag_project`` does."""
        found = names.tag_project(tag, self._bases)
        return None if found == self.name.project else found

    def action(self, verb: Verb, project: str, address: str) -> Action:
        """Return what is asked for where a project's images are; ``""``: the platform's own."""
        if not project:
            return Action(verb, self.name, address=address)
        name = RepositoryName(f"{project}/{self.name.rpartition('/')[2]}")
        return Action(verb, name, address=address, shown=self.name)

    async def projects(self, identity: Identity) -> list[str]:
        """Return the names of the platform's projects that may concern the caller."""
        others = {self.name.project, *self._bases}
        return [each for each in await self.policy.projects(identity) if each not in others]
