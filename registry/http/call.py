"""What a handler is given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
from aiohttp import hdrs
from aiohttp.web import BaseRequest
from multidict import MultiMapping

from auth.identity import Identity
from auth.policy import Action, Allow, Policy, Verb
from auth.roles import Role
from registry.http.answer import Answer
from registry.http.gate import Gate
from registry.http.limits import Limits
from registry.http.observe import RequestRecord
from registry.http.throttle import Throttle
from registry.http.trail import Trail
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.names import Place, RepositoryName

R = TypeVar("R")


_NO_CONDITIONS = Conditions()


def joined(headers: MultiMapping[str], name: str) -> str | None:
    """All lines of a header as the one list that they are (RFC 9110 §5.3); ``None`` for none."""
    lines = headers.getall(name, None)
    return None if lines is None else ", ".join(lines)


@dataclass(frozen=True, slots=True)
class Server:
    """What all requests of a process share."""

    services: Services
    policy: Policy
    limits: Limits
    gate: Gate
    throttle: Throttle | None = None
    trail: Trail = field(default_factory=Trail)


class Call(msgspec.Struct, Generic[R], frozen=True):
    """One request on its way: as it came, as it was understood, and whose it is.

    ``place`` is where the decision that allowed it says that the repository is kept. Services know
    repositories by their places, clients by their names: ``request.repository`` is for answers.
    ``role`` is the caller's in the project.
    """

    http: BaseRequest
    request: R
    identity: Identity
    place: Place
    server: Server
    record: RequestRecord
    role: Role | None = None

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.http.remote or ""

    def conditions(self) -> Conditions:
        """The request's entity-tag conditions; several lines of one header are one list."""
        headers = self.http.headers
        if hdrs.IF_MATCH not in headers and hdrs.IF_NONE_MATCH not in headers:
            return _NO_CONDITIONS
        return Conditions.parse(joined(headers, hdrs.IF_MATCH), joined(headers, hdrs.IF_NONE_MATCH))

    def warnings(self) -> tuple[tuple[str, str], ...]:
        """Header lines for who has pushed into a project that is nearly full (RFC 9111 §5.5).

        containers/image, buildah and others print them (spec, "Warnings").
        """
        text = self.server.services.quotas.warning(self.place.tenant)
        return (("Warning", f'299 - "{text}"'),) if text else ()

    async def readable(self, repository: RepositoryName) -> Place | None:
        """Where another repository is kept, if the caller may pull from it, else ``None``."""
        action = Action(Verb.PULL, repository, address=self.address)
        decision = await self.server.policy.decide(self.identity, action)
        if isinstance(decision, Allow):
            return decision.place
        self.server.trail.denied(self.record, self.identity, action, decision)
        return None

    async def readable_sibling(self, place: Place) -> bool:
        """Whether the caller may pull from a repository of the same project as the request's."""
        project = RepositoryName(getattr(self.request, "repository", "")).project
        name = RepositoryName(project + place[len(place.tenant) :])
        return await self.readable(name) == place


Handler = Callable[[Call[R]], Awaitable[Answer]]
