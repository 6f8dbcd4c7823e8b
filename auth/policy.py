"""The one place that decides what a caller may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from auth.identity import Identity
from registry.spec.names import RepositoryName


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
    repository: RepositoryName | None


@dataclass(frozen=True, slots=True)
class Allow:
    """A rule allows it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """No rule allows it. ``reason`` may be shown to the caller."""

    reason: str


ALLOW = Allow()

Decision = Allow | Deny


class Policy(Protocol):
    """Decides. Pure and quick: it is asked for every request."""

    def decide(self, identity: Identity, action: Action) -> Decision:
        """Say whether ``identity`` may do ``action``; what no rule allows is denied."""
        ...


class OpenPolicy:
    """Lets every caller do everything: one machine, one user, a loopback address."""

    def decide(self, identity: Identity, action: Action) -> Decision:  # noqa: ARG002
        """Allow it."""
        return ALLOW


_: type[Policy] = OpenPolicy
