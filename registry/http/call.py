"""What a handler is given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiohttp import hdrs
from aiohttp.web import BaseRequest
from multidict import MultiMapping

from auth.identity import Identity
from auth.policy import Action, Allow, Policy, Verb
from registry.http.answer import Answer
from registry.http.limits import Limits
from registry.service.services import Services
from registry.spec.conditions import Conditions
from registry.spec.names import RepositoryName

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


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One request on its way: as it came, as it was understood, and whose it is."""

    http: BaseRequest
    request: R
    identity: Identity
    server: Server

    def conditions(self) -> Conditions:
        """The request's entity-tag conditions; several lines of one header are one list."""
        headers = self.http.headers
        if hdrs.IF_MATCH not in headers and hdrs.IF_NONE_MATCH not in headers:
            return _NO_CONDITIONS
        return Conditions.parse(joined(headers, hdrs.IF_MATCH), joined(headers, hdrs.IF_NONE_MATCH))

    def may(self, verb: Verb, repository: RepositoryName) -> bool:
        """Whether the caller may do this to another repository than the request's own."""
        decision = self.server.policy.decide(self.identity, Action(verb, repository))
        return isinstance(decision, Allow)


Handler = Callable[[Call[R]], Awaitable[Answer]]
