"""Who is asking."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

SECRET: Final = "secret:"  # noqa: S105 -- a prefix of names
"""What the name of a credential begins with that the registry gave out and can revoke."""


class Kind(StrEnum):
    """What sort of caller it is. Privilege follows from this and from records, never from a name.

    (harbor#23675: an account that anyone could create was trusted for its name's prefix.)
    """

    ANONYMOUS = "anonymous"
    USER = "user"
    ROBOT = "robot"
    WORKLOAD = "workload"
    SYSTEM = "system"
    """The registry's own background work; no credential leads to it."""


class Scheme(StrEnum):
    """How the caller proved who it is. Refusals differ by it: a bearer is told what to ask for."""

    NONE = "none"
    BASIC = "basic"
    BEARER = "bearer"
    CERTIFICATE = "certificate"
    SESSION = "session"
    """By the cookie of a browser that logged in at the console."""


class Ceiling(Protocol):
    """The most that a credential lets its owner do, whatever the owner's roles are."""

    def permits(self, kind: str, name: str, action: str) -> bool:
        """Whether ``action`` on the resource is within it.

        ``("repository", "demo/app", "pull")``, ``("registry", "catalog", "*")`` and
        ``("project", "demo", "manage")``, as in the token protocol's scopes. Quick, no I/O.
        """
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credentials, if any, have been checked.

    ``name`` is unique among all callers and safe to log; it begins with its kind: ``user:alice``,
    ``robot:demo/ci``, ``workload:…``, ``anonymous``. An upload session belongs to it. ``groups``
    are what the credential says now, never joined with what an earlier one said (CVE-2025-23208).

    ``ceiling`` is the most that the credential lets it do; ``None``: all that its roles give.
    ``projects`` is what the caller's token says of the projects whose repositories it grants, from
    name to id: it counts for no project that has another id by now. ``None`` for every caller that
    did not show such a token. ``credential`` names the credential in logs, never its secret. One
    that the registry itself gave out is ``SECRET`` and its id, also in tokens that were made from
    it: when it is revoked these are worth nothing either.

    ``confirmed`` is false for one that is only remembered, because whoever vouches for it does not
    answer now: it may still read, and everything else has to wait.
    """

    name: str
    kind: Kind = Kind.USER
    groups: frozenset[str] = frozenset()
    ceiling: Ceiling | None = None
    projects: Mapping[str, str] | None = None
    scheme: Scheme = Scheme.NONE
    credential: str = ""
    confirmed: bool = True


ANONYMOUS = Identity("anonymous", Kind.ANONYMOUS)
"""A caller that showed no credentials."""
