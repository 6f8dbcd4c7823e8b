"""What a route is, and what its handler is given and gives back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Self, TypeVar

import msgspec
from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.access import Tenant
from auth.chain import Attempts, TooManyAttempts, Unlimited
from auth.identity import Identity
from auth.policy import Action, Allow, Decision, Policy, Verb
from auth.roles import PROJECT_VERBS, REPOSITORY_VERBS
from registry.http.call import joined
from registry.http.trail import Trail
from registry.service.audit.events import Happening
from registry.service.audit.log import AuditLog
from registry.service.backup.jobs import BackupDesk
from registry.service.platform.receiving import Receiver
from registry.service.platform.reconciliation import Reconciler
from registry.service.projects.kept import Leaf
from registry.service.projects.tenancy import Tenancy
from registry.service.services import Services
from registry.service.webhooks.deliverer import Send
from registry.spec.conditions import EntityTags
from registry.spec.errors import RegistryError, TooManyRequests
from registry.spec.names import Place, RepositoryName
from registry.spec.paths import Template
from registry.spec.problems import Problem, ProjectsOff, RequestInvalid

I = TypeVar("I", bound=msgspec.Struct)  # noqa: E741 -- the input's type
B = TypeVar("B")
T = TypeVar("T")

PREFIX: Final = "/api/v1"
"""What the paths of all routes begin with."""


@dataclass(frozen=True, slots=True)
class Managed:
    """What all routes of a process stand on. ``projects`` is ``None`` where there are none.

    ``attempts`` slows down who guesses a secret.
    """

    policy: Policy
    services: Services
    projects: Tenancy | None
    audit: AuditLog
    attempts: Attempts = field(default_factory=Unlimited)
    trail: Trail = field(default_factory=Trail)
    send: Send | None = None
    """Sends an event to a webhook; ``None`` where none is ever sent."""

    receiver: Receiver = field(default_factory=lambda: Receiver(""))
    """Checks the events that a platform sends."""

    bases: Sequence[RepositoryName] = ()
    """Repositories of base images."""

    reconciler: Reconciler | None = None
    """Compares with a platform's list; ``None`` where no platform is asked."""

    backups: BackupDesk | None = None
    """Takes work on backups; ``None`` where nothing says where they are kept."""


@dataclass(frozen=True, slots=True)
class Call(Generic[I, B]):
    """A request on its way to a handler: understood, and allowed.

    ``input`` holds the parameters of its path and query, ``body`` what its body says; ``sent`` is
    that as it came.
    """

    http: BaseRequest
    input: I
    body: B
    identity: Identity
    allowed: Allow
    managed: Managed
    address: str
    sent: bytes = b""

    @property
    def tenancy(self) -> Tenancy:
        """The services of projects; ``ProjectsOff`` where there are none."""
        if self.managed.projects is None:
            raise ProjectsOff
        return self.managed.projects

    @property
    def tenant(self) -> Tenant:
        """The project that the decision was about; ``ProjectsOff`` where there are none."""
        if self.allowed.tenant is None:
            raise ProjectsOff
        return self.allowed.tenant

    @property
    def place(self) -> Place:
        """Where the repository is kept that the decision was about."""
        return self.allowed.place

    def within(self, project: str, repository: RepositoryName) -> Place:
        """Where a repository is kept of the project that the decision was about."""
        tenant = self.allowed.tenant
        # Without projects, places are names.
        root = tenant.id if tenant is not None else project
        return Place(root + repository[len(project) :])

    async def may(self, verb: Verb, *, subject: str = "") -> bool:
        """Whether the caller may do something else too, which is about no project."""
        action = Action(verb, subject=subject, address=self.address)
        return isinstance(await self.managed.policy.decide(self.identity, action), Allow)

    @asynccontextmanager
    async def guessing(self, account: str) -> AsyncIterator[None]:
        """Check a secret inside, such as only ``account`` has: who guesses has to wait.

        ``TooManyRequests`` before it is checked; a problem that is raised inside is a failure.
        """
        attempts = self.managed.attempts
        try:
            await attempts.admit(self.address, account)
        except TooManyAttempts as error:
            raise TooManyRequests(error.retry_after) from error
        try:
            yield
        except Problem as error:
            self.managed.trail.did(Happening.LOGIN_FAILED, subject=account, reason=error.message)
            await attempts.failed(self.address, account)
            raise
        await attempts.succeeded(self.address, account)

    def version(self) -> str | None:
        """The version that a change is to be made to, as services take it.

        ``If-Match`` with one entity tag: that version; ``If-None-Match: *``: ``""``, nothing there;
        neither: ``None``, whatever there is. Another condition is refused: to leave it out would
        make a write unconditional that was meant not to be.
        """
        headers = self.http.headers
        match, none_match = joined(headers, hdrs.IF_MATCH), joined(headers, hdrs.IF_NONE_MATCH)
        if match is None and none_match is None:
            return None
        if match is None and none_match is not None and EntityTags.parse(none_match).anything:
            return ""
        if match is not None and none_match is None:
            tags = EntityTags.parse(match)
            if len(tags.strong) == 1 and not tags.weak:
                return tags.strong[0][1:-1]
        raise RequestInvalid(
            "to make a change conditional, give If-Match with the one ETag that you read, or "
            "If-None-Match: *"
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler gives back.

    ``value`` becomes the body, ``None``: there is none. ``version`` becomes the ``ETag``. ``after``
    tells where the next page begins; ``location`` is a path below ``PREFIX``.
    """

    value: msgspec.Struct | bytes | None = None
    status: int = 200
    version: str = ""
    after: str = ""
    location: str = ""


def paged(
    page: Callable[..., msgspec.Struct],
    leaf: Leaf[T],
    view: Callable[[T], msgspec.Struct],
    cursor: Callable[[T], str],
) -> Reply:
    """Give back a page of ``leaf``'s items; ``cursor`` tells where it goes on behind one."""
    after = cursor(leaf.items[-1]) if leaf.more and leaf.items else ""
    return Reply(page(items=tuple(map(view, leaf.items)), next=after or None), after=after)


Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]
Refusal = type[Problem] | type[RegistryError]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table.

    The caller must be allowed ``verb``: on the repository of the input if it has one, else on its
    project, for ``Verb.ACCOUNT`` on its user. ``None``: anyone may, and what the handler does is
    decided for each thing that it finds. ``statuses`` are those of success; ``refusals`` what it
    may be refused with beside what any route may.
    """

    method: str
    path: Template
    action: str
    verb: Verb | None
    summary: str
    handler: Handler
    input: type[msgspec.Struct]
    answer: type[msgspec.Struct] | None
    statuses: tuple[int, ...]
    body: type[msgspec.Struct] | None = None
    conditional: bool = False
    refusals: tuple[Refusal, ...] = field(default=())

    @classmethod
    def of(
        cls,
        request: str,
        action: str,
        verb: Verb | None,
        summary: str,
        handler: Callable[[Call[I, B]], Awaitable[Reply]],
        input_type: type[I],
        answer: type[msgspec.Struct] | None = None,
        *,
        statuses: tuple[int, ...] = (200,),
        body: type[msgspec.Struct] | None = None,
        conditional: bool = False,
        refusals: tuple[Refusal, ...] = (),
    ) -> Self:
        """Make a row; ``request`` is the method and the path template."""
        method, _, path = request.partition(" ")
        template = Template.parse(path)
        fields = {each.name for each in msgspec.structs.fields(input_type)}
        assert set(template.parameters) <= fields, request  # noqa: S101 -- a slip of the table
        return cls(
            method,
            template,
            action,
            verb,
            summary,
            handler,
            input_type,
            answer,
            statuses,
            body,
            conditional,
            refusals,
        )

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != hdrs.METH_GET

    def asks(self, given: msgspec.Struct, identity: Identity, address: str) -> Action | None:
        """Return what the caller must be allowed, ``None`` for a route that anyone may ask."""
        if self.verb is None:
            return None
        project: str = getattr(given, "project", "")
        if self.verb in REPOSITORY_VERBS:
            # Of a project as a whole, that is of the repository that has its name.
            repository = getattr(given, "repository", None) or RepositoryName(project)
            return Action(self.verb, repository, address=address)
        if self.verb in PROJECT_VERBS:
            return Action(self.verb, project=project, address=address)
        subject = ""
        if self.verb is Verb.ACCOUNT:
            user = getattr(given, "user", None)
            subject = identity.name if user is None else f"user:{user}"
        return Action(self.verb, subject=subject, address=address)

    async def decide(
        self, policy: Policy, given: msgspec.Struct, identity: Identity, address: str
    ) -> tuple[Action | None, Decision]:
        """Say whether the caller may ask for it with this input, and of what that was decided."""
        action = self.asks(given, identity, address)
        if action is None:
            return None, Allow()
        return action, await policy.decide(identity, action)
