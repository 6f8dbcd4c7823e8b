"""A visit: one request for a page, by somebody, who is shown what the management API gives it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec
from aiohttp.web import BaseRequest

from auth.identity import Identity, Scheme
from auth.policy import Action, Allow, Deny
from registry.http.management import inputs
from registry.http.management.route import Call, Managed, Route
from registry.http.management.table import BY_ACTION
from registry.http.observe import RequestRecord
from registry.spec.paths import Template
from registry.spec.problems import NotAllowed, PathUnknown, ProjectsOff

I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741 -- the input's type
V = TypeVar("V", bound=msgspec.Struct)

PREFIX: Final = "/console"
"""What the paths of all pages begin with. No repository and no route of an API does: those of the
first are below ``/v2/``, those of the others below ``/api/``, ``/token`` and ``/.well-known/``."""


class LoginNeeded(Exception):
    """Nobody is told this; somebody may be."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is made of: a template, and the facts that it is filled with."""

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Visit(Generic[I]):
    """A request for a page. ``input`` holds the parameters of its path and query.

    ``host`` is the registry's name and port in the names of images, for this visitor; ``secure``:
    it is reached by TLS there.
    """

    http: BaseRequest
    record: RequestRecord
    input: I
    identity: Identity
    managed: Managed
    host: str
    secure: bool

    async def ask(self, action: str, kind: type[V], /, **given: str) -> V | None:
        """Return what a route of the management API answers; ``None`` if it is not for the visitor.

        ``given`` are its parameters, as a URL has them. What the route refuses is raised.
        """
        route, asked, _, decision = await self._decide(action, given)
        if isinstance(decision, Deny):
            return None
        try:
            return await self._answer(route, asked, decision, kind)
        except ProjectsOff:
            return None

    async def may(self, action: str, /, **given: str) -> bool:
        """Whether the visitor may ask it."""
        *_, decision = await self._decide(action, given)
        return isinstance(decision, Allow)

    async def need(self, action: str, kind: type[V], /, **given: str) -> V:
        """As ``ask``, of what the page is about: if that is not for the visitor, nor is the page.

        ``PathUnknown`` where it must look as if it were not there, ``NotAllowed`` where the visitor
        may know that it is; ``LoginNeeded``. What is denied is told to the audit log.
        """
        route, asked, subject, decision = await self._decide(action, given)
        if isinstance(decision, Deny):
            assert subject is not None  # noqa: S101 -- what is about nothing is not denied
            self.managed.trail.denied(self.record, self.identity, subject, decision)
            if self.identity.scheme is Scheme.NONE and not subject.concerns:
                raise LoginNeeded
            if decision.visible and self.identity.scheme is not Scheme.NONE:
                raise NotAllowed(decision.reason)
            raise PathUnknown
        return await self._answer(route, asked, decision, kind)

    async def _decide(
        self, action: str, given: Mapping[str, str]
    ) -> tuple[Route, msgspec.Struct, Action | None, Allow | Deny]:
        route = BY_ACTION[action]
        assert not route.writes, action  # noqa: S101 -- the console only reads
        asked = inputs.read(route.input, given, "")
        subject, decision = await route.decide(
            self.managed.policy, asked, self.identity, self.record.remote
        )
        return route, asked, subject, decision

    async def _answer(
        self, route: Route, asked: msgspec.Struct, allowed: Allow, kind: type[V]
    ) -> V:
        call = Call(
            self.http, asked, None, self.identity, allowed, self.managed, self.record.remote
        )
        try:
            reply = await route.handler(call)
        except NotAllowed:
            self.managed.trail.refused(self.record, self.identity, allowed.tenant)
            raise
        assert isinstance(reply.value, kind)  # noqa: S101 -- as the table says
        return reply.value


View = Callable[[Visit[Any]], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """A row of the table: where a page is, what it is called, what it takes, and who makes it."""

    path: Template
    action: str
    input: type[msgspec.Struct]
    view: View

    @classmethod
    def of(
        cls,
        path: str,
        action: str,
        input_type: type[I],
        view: Callable[[Visit[I]], Awaitable[Page]],
    ) -> "PageRoute":
        """Make a row; ``path`` is a template below the prefix."""
        return cls(Template.parse(path), f"console.{action}", input_type, view)
