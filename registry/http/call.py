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
from registry.service.manifests import Manifests
from registry.service.platform.shared import SharedRepository
from registry.service.platform.view import SharedView
from registry.service.services import Services
from registry.service.tags import Tags
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import NameInvalid
from registry.spec.names import Place, RepositoryName
from registry.spec.requests import GetBlob

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
    shared: SharedRepository | None = None
    """The repository that all projects of a platform are shown in, if there is one."""

    def view(
        self, repository: RepositoryName | None, identity: Identity, address: str
    ) -> SharedView | None:
        """What the caller is shown of ``repository``, if it is the shared one; else ``None``."""
        if self.shared is None or repository != self.shared.name:
            return None
        return SharedView(self.shared, identity, address)


class Call(msgspec.Struct, Generic[R], frozen=True):
    """One request on its way: as it came, as it was understood, and whose it is.

    ``place`` is where the decision that allowed it says that the repository is kept. Services know
    repositories by their places, clients by their names: ``request.repository`` is for answers.
    ``role`` is the caller's in the project. ``view`` is what the caller is shown of the repository,
    where that is shared.
    """

    http: BaseRequest
    request: R
    identity: Identity
    place: Place
    server: Server
    record: RequestRecord
    role: Role | None = None
    view: SharedView | None = None

    @property
    def manifests(self) -> Manifests | SharedView:
        """By whom manifests of the repository are read and stored."""
        return self.view or self.server.services.manifests

    @property
    def tags(self) -> Tags | SharedView:
        """By whom the tags of the repository are listed."""
        return self.view or self.server.services.tags

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

    async def readable(self, repository: RepositoryName, digest: Digest) -> Place | None:
        """Where another repository may hold a blob, if the caller may pull it, else ``None``."""
        action = Action(Verb.PULL, repository, address=self.address)
        view = self.server.view(repository, self.identity, self.address)
        if view is not None:
            decision = await view.decide(Verb.PULL, GetBlob(repository, digest))
        else:
            decision = await self.server.policy.decide(self.identity, action)
        if isinstance(decision, Allow):
            return decision.place
        self.server.trail.denied(self.record, self.identity, action, decision)
        return None

    async def readable_sibling(self, place: Place, digest: Digest) -> bool:
        """Whether the caller may pull from a repository of the same project as the request's."""
        project = RepositoryName(getattr(self.request, "repository", "")).project
        try:
            name = RepositoryName.parse(project + place[len(place.tenant) :])
        except NameInvalid:  # where uploads of others wait
            return False
        return await self.readable(name, digest) == place


Handler = Callable[[Call[R]], Awaitable[Answer]]
