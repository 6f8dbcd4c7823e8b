"""The one place that decides what a caller may do."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from auth.identity import Identity
from registry.spec.names import Place, RepositoryName


class Verb(StrEnum):
    """What can be done to a repository. ``CATALOG`` is about the registry as a whole."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"


@dataclass(frozen=True, slots=True)
class Action:
    """A verb, and the repository it is done to (``None`` for the registry as a whole)."""

    verb: Verb
    repository: RepositoryName | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """A rule allows it. ``place`` is where the repository is kept, empty where none was named."""

    place: Place


@dataclass(frozen=True, slots=True)
class Deny:
    """No rule allows it. ``reason`` may be shown to the caller."""

    reason: str


Decision = Allow | Deny


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

    def visible(self, identity: Identity, after: str) -> AsyncIterator[Visible]:
        """Yield the projects of which the caller may see repositories, in the order of their names.

        ``after`` is the name of a repository: projects that sort before its own are left out.
        """
        ...


class OpenPolicy:
    """Lets every caller do everything: one machine, one user, a loopback address.

    Places are the names themselves.
    """

    async def decide(self, identity: Identity, action: Action) -> Decision:  # noqa: ARG002
        """Allow it."""
        return Allow(Place(action.repository or ""))

    async def visible(self, identity: Identity, after: str) -> AsyncIterator[Visible]:  # noqa: ARG002
        """Yield everything."""
        yield Visible("", Place(), lambda _: True)


_: type[Policy] = OpenPolicy
