"""The one place that decides what a caller may do.

Every request of the registry's API asks here, the token service before it grants a scope, the
management API, and background work. ``auth.judgement`` is the pure core; this adds the facts.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from auth.access import Access, Directory, Proof, Standing
from auth.identity import Identity, Kind
from auth.judgement import Action, Allow, Decision, Deny, Why, judge
from auth.roles import READING, Verb
from registry.spec.errors import Unavailable
from registry.spec.names import Place, RepositoryName

__all__ = [
    "Action",
    "Allow",
    "Decision",
    "Deny",
    "OpenPolicy",
    "Policy",
    "ProjectPolicy",
    "Verb",
    "Visible",
    "Why",
]


_JUDGED: Final = 4096
"""Decisions that are kept for as long as their facts are the very same."""


_Asked = tuple[int, Verb, RepositoryName, RepositoryName | None]

_UNCONFIRMED: Final = 5
"""Seconds after which a caller is to try again for whom nobody vouches now."""


@dataclass(frozen=True, slots=True)
class Visible:
    """A part of the catalog that a caller may see something of: one project's repositories.

    Those below ``place`` go by names below ``name``; both are empty where places are names.
    ``shows`` tells of one repository, by its name, whether the caller may know of it.
    """

    name: str
    place: Place
    shows: Callable[[RepositoryName], bool]


class Policy(Protocol):
    """Decides. It is asked for every request, and again within one for what else it touches."""

    async def decide(self, identity: Identity, action: Action) -> Decision:
        """Say whether ``identity`` may do ``action``; what no rule allows is denied."""
        ...

    def visible(self, identity: Identity, after: str, address: str = "") -> AsyncIterator[Visible]:
        """Yield the projects of which the caller may see repositories, in the order of their names.

        ``after`` is the name of a repository: projects that sort before its own are left out.
        """
        ...

    async def projects(self, identity: Identity) -> list[str]:
        """Return the names of the projects that may concern the caller, in byte order.

        Perhaps of some that no longer do: ``decide`` decides.
        """
        ...


@lru_cache(maxsize=_JUDGED)
def _open(repository: str) -> Allow:
    return Allow(Place(repository))


class OpenPolicy:
    """Lets every caller do everything: one machine, one user, a loopback address.

    Places are the names themselves.
    """

    async def decide(self, identity: Identity, action: Action) -> Decision:  # noqa: ARG002
        """Allow it."""
        return _open(action.repository or "")

    async def visible(
        self,
        identity: Identity,  # noqa: ARG002
        after: str,  # noqa: ARG002
        address: str = "",  # noqa: ARG002
    ) -> AsyncIterator[Visible]:
        """Yield everything."""
        yield Visible("", Place(), lambda _: True)

    async def projects(self, identity: Identity) -> list[str]:  # noqa: ARG002
        """Return none: there are no projects."""
        return []


class ProjectPolicy:
    """Decides by projects, members, visibility and shares, as the directory knows them now."""

    def __init__(
        self,
        directory: Directory,
        *,
        users_create: bool = False,
        provisioner: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``users_create``: every user may create projects. ``clock`` gives Unix seconds.

        ``provisioner`` is the principal that keeps the projects of a platform; ``""``: only
        administrators do.
        """
        self._directory = directory
        self._users_create = users_create
        self._provisioner = provisioner
        self._clock = clock
        # The same caller and the same facts have the same decision. The caller is kept, so that no
        # other has its id meanwhile; it is one object for as long as its token is remembered.
        self._judged: dict[_Asked, tuple[Identity, Proof, Decision]] = {}

    async def decide(self, identity: Identity, action: Action) -> Decision:
        """Say whether ``identity`` may do ``action``, from the facts as of the last change.

        ``Unavailable`` for a change that is asked for by a caller whom nobody can vouch for now: a
        refusal would be final for clients.
        """
        if action.verb is Verb.PURGE:
            return await self._purge(identity, action)
        if not identity.confirmed and action.verb not in READING:
            raise Unavailable(_UNCONFIRMED)
        repository = action.repository
        if repository is None:
            return self._judge(identity, action, await self.facts(identity, action))
        key = (id(identity), action.verb, repository, action.shown)
        known = self._judged.get(key)
        if known is not None and known[0] is identity and await known[1]():
            return known[2]
        access = await self._directory.access(identity, repository.project)
        decision = self._judge(identity, action, access)
        proof = self._directory.proof(identity, repository.project, access)
        if proof is not None and _lasts(access.standing):
            self._judged[key] = identity, proof, decision
            if len(self._judged) > _JUDGED:
                del self._judged[next(iter(self._judged))]
        return decision

    def _judge(self, identity: Identity, action: Action, access: Access) -> Decision:
        return judge(
            identity,
            action,
            access,
            self._clock(),
            users_create=self._users_create,
            provisioner=self._provisioner,
        )

    async def facts(self, identity: Identity, action: Action) -> Access:
        """Return the facts that ``decide`` uses."""
        project = action.concerns
        if project:
            return await self._directory.access(identity, project)
        return Access(await self._directory.standing(identity))

    async def visible(
        self, identity: Identity, after: str, address: str = ""
    ) -> AsyncIterator[Visible]:
        """Yield the projects of which the caller may see repositories, as far as it is known."""
        first = after.partition("/")[0]
        for project in await self._directory.projects(identity):
            if project < first:
                continue
            access = await self._directory.access(identity, project)
            if access.tenant is not None:
                shows = _lister(identity, access, self._clock(), address)
                yield Visible(project, Place(access.tenant.id), shows)

    async def projects(self, identity: Identity) -> list[str]:
        """Return their names, as the indexes of the caller have them now."""
        return await self._directory.projects(identity)

    async def _purge(self, identity: Identity, action: Action) -> Decision:
        if identity.kind is Kind.SYSTEM and await self._directory.removed(action.project):
            return Allow(Place(action.project))
        return Deny("only what a removed project left is purged, by the registry itself")


def _lasts(standing: Standing) -> bool:
    """Whether neither the time nor the caller's address makes a difference."""
    return standing.expires is None and not standing.networks


def _lister(
    identity: Identity, access: Access, now: float, address: str
) -> Callable[[RepositoryName], bool]:
    def shows(repository: RepositoryName) -> bool:
        action = Action(Verb.LIST, repository, address=address)
        return isinstance(judge(identity, action, access, now), Allow)

    return shows


_: tuple[type[Policy], ...] = (OpenPolicy, ProjectPolicy)
