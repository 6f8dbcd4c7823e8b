"""Facts: what the directory knows of a caller, and of a caller and a project."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from auth.identity import Ceiling, Identity
from auth.roles import Role, Visibility

Network = IPv4Network | IPv6Network

WHOLE = "*"
"""What a share of all repositories of a project lists."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project as it is stored: by an id that is never used again, though its name may be."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the registry knows of a caller, whatever it asks for.

    ``revoked``: the credential that it showed, or that its token was made from, is no longer good.
    ``expires`` (Unix seconds) and ``networks`` limit a robot account; ``None``, ``()``: none.
    ``ceiling`` is how far the credential reaches by its record now, however far it did when a token
    was made from it. ``groups`` are those of a local account; ``None``: the credential tells them.
    """

    administrator: bool = False
    blocked: bool = False
    revoked: bool = False
    expires: float | None = None
    networks: tuple[Network, ...] = ()
    ceiling: Ceiling | None = None
    groups: frozenset[str] | None = None

    def admits(self, address: str) -> bool:
        """Whether the caller may come from this address; one that can't be read is outside."""
        if not self.networks:
            return True
        try:
            came = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(came, "ipv4_mapped", None)
        return any((mapped or came) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Access:
    """What connects a caller with a project.

    ``tenant`` is ``None`` where there is no such project, and where nothing connects the two: no
    rule can tell one from the other. ``roles`` are the caller's, by the principal that each was
    given to (itself, or a group). ``shared`` lists the repositories that are shared with a project
    of the caller's, by name, or ``WHOLE``.
    """

    standing: Standing = field(default_factory=Standing)
    tenant: Tenant | None = None
    visibility: Visibility = Visibility.PRIVATE
    roles: Mapping[str, Role] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    @property
    def role(self) -> Role | None:
        """The highest of the roles."""
        return max(self.roles.values(), key=lambda role: role.rank, default=None)


Proof = Callable[[], Awaitable[bool]]
"""Tells later on whether facts are still as they were."""


class Directory(Protocol):
    """Knows projects, members and accounts. Answers are never older than the last change."""

    async def standing(self, identity: Identity) -> Standing:
        """Return what is known of the caller. Nothing is known of one that has no account here."""
        ...

    async def access(self, identity: Identity, project: str) -> Access:
        """Return what connects the caller with the project of this name.

        The way to the answer is the same for a project that is not there and for one that the
        caller has nothing to do with, so that the time it takes tells nothing.
        """
        ...

    def proof(self, identity: Identity, project: str, access: Access) -> Proof | None:
        """Return what tells whether ``access``, which was just returned, is still so.

        ``None`` where that can't be told: then it has to be asked for again each time.
        """
        ...

    async def projects(self, identity: Identity) -> list[str]:
        """Return the names of the projects that may concern the caller, in byte order.

        Those that it or a group of its is a member of, that are shared with one of these, or that
        are open to it; perhaps some that no longer are: ``access`` decides.
        """
        ...

    async def removed(self, tenant: str) -> bool:
        """Whether the project with this id was removed, and may be purged."""
        ...
