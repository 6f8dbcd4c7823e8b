"""Verbs, roles, and the one table that says which role may do what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Verb(StrEnum):
    """What can be asked for. Each is about a repository, a project, or the registry as a whole."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    LIST = "list"
    """Know that the repository exists: it is in the caller's catalog."""

    DESCRIBE = "describe"
    """Read the project's settings and members."""

    OPERATE = "operate"
    """Run the project: its robot accounts, its rules, why something was denied."""

    ADMINISTER = "administer"
    """Decide on the project: members, visibility, shares, its removal."""

    ENTER = "enter"
    """Find out that there is a registry, and that one's login is good."""

    CATALOG = "catalog"
    """List repositories; which ones is decided for each by ``LIST``."""

    CREATE = "create"
    """Create a project."""

    ACCOUNT = "account"
    """See to an account: its password and its access tokens."""

    PROVISION = "provision"
    """Keep the projects of a platform: made, peopled and removed as they are there."""

    GOVERN = "govern"
    """Run the registry: accounts, and projects of others."""

    PURGE = "purge"
    """Take away what a removed project has left. The registry's own work; nobody else's."""


REPOSITORY_VERBS: Final = frozenset({Verb.PULL, Verb.PUSH, Verb.DELETE, Verb.LIST})
READING: Final = frozenset({Verb.PULL, Verb.LIST, Verb.DESCRIBE, Verb.ENTER, Verb.CATALOG})
"""What changes nothing."""

PROJECT_VERBS: Final = frozenset({Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER, Verb.PURGE})


class Role(StrEnum):
    """What a member is in a project, from least to most."""

    GUEST = "guest"
    DEVELOPER = "developer"
    MAINTAINER = "maintainer"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        """The place in the order: of two roles that somebody has, the higher counts."""
        return _RANKS[self]

    @classmethod
    def parse(cls, text: str) -> "Role":
        """Read a role by its own name or by that of a platform; ``ValueError`` for any other."""
        name = text.strip().lower()
        known = PLATFORM_ROLES.get(name)
        if known is not None:
            return known
        try:
            return cls(name)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no role: use {', '.join(cls)}") from None


_RANKS: Final[Mapping[Role, int]] = {role: rank for rank, role in enumerate(Role)}

PLATFORM_ROLES: Final[Mapping[str, Role]] = {
    "data owner": Role.OWNER,
    "data scientist": Role.DEVELOPER,
    "observer": Role.GUEST,
    "feature store restricted": Role.GUEST,
}
"""What Hopsworks calls them, in lower case. *Under removal* is no role: no access at all."""

_READ: Final = frozenset({Verb.PULL, Verb.LIST})

RIGHTS: Final[Mapping[Role, frozenset[Verb]]] = {
    Role.GUEST: _READ | {Verb.DESCRIBE},
    Role.DEVELOPER: _READ | {Verb.DESCRIBE, Verb.PUSH},
    Role.MAINTAINER: _READ | {Verb.DESCRIBE, Verb.PUSH, Verb.DELETE, Verb.OPERATE},
    Role.OWNER: _READ | {Verb.DESCRIBE, Verb.PUSH, Verb.DELETE, Verb.OPERATE, Verb.ADMINISTER},
}
"""What each role may do in its project."""

READER: Final = _READ
"""What those may do who are no members: in a public project, or in a repository shared with theirs.
"""

ADMINISTRATOR: Final = frozenset({Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER})
"""What the registry's administrators may do in every project. They read no content but as members,
which they can make themselves, and which shows."""


class Visibility(StrEnum):
    """Who besides its members may pull from a project."""

    PRIVATE = "private"
    """Nobody."""

    INTERNAL = "internal"
    """Every caller that has logged in."""

    PUBLIC = "public"
    """Everybody."""
