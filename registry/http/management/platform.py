"""What a platform tells of its projects: by calls of its own, or by signed events."""

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, field

from auth.identity import Identity, Kind
from auth.policy import Action, Deny, Verb
from registry.http.management.derivations import (
    REFUSALS,
    DerivationTerms,
    DerivedView,
    derived_view,
    source_of,
)
from registry.http.management.inputs import Nothing
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import Terms, Time, View, moment
from registry.service.audit.events import Happening
from registry.service.derivations import Derived
from registry.service.platform import names
from registry.service.platform.lifecycle import Lifecycle, Standing
from registry.service.platform.reconciliation import Drift
from registry.service.webhooks.signature import HEADER
from registry.spec.conditions import Conditions, EntityTags
from registry.spec.errors import PreconditionFailed
from registry.spec.names import Tag
from registry.spec.problems import (
    Invalid,
    NotAllowed,
    PlatformProjectUnknown,
    PlatformUnreadable,
    ProjectExists,
    ProjectGone,
    ProjectNameInvalid,
    SignatureInvalid,
)

_ABSENT = Conditions(if_none_match=EntityTags(anything=True))

Number = Annotated[
    int, Meta(ge=1, le=names.MAX_ID, description="The project's id there.", examples=[119])
]
At = Annotated[
    int,
    Meta(
        ge=0,
        le=2**53,
        description="When that was so, by the platform's clock, in milliseconds since 1970. Of two "
        "things that are told of the same, the later one counts, whichever comes first. By default "
        "now.",
    ),
]
User = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}\Z",
        description="Name of a user there.",
        examples=["meb10000"],
    ),
]
Role = Annotated[
    str,
    Meta(
        max_length=64,
        description="Role there: Data owner, Data scientist, Observer, Feature store restricted. "
        "Any other, such as Under removal, gives nothing.",
        examples=["Data owner"],
    ),
]
Team = Annotated[Mapping[User, Role], Meta(max_length=1000, description="Users and their roles.")]


class OfNumber(Nothing, frozen=True, kw_only=True):
    """What is asked of a project of the platform."""

    number: Number


class EndOfProject(OfNumber, frozen=True, kw_only=True):
    """Which project has ended, and when."""

    at: At = 0


class OfPart(OfNumber, frozen=True, kw_only=True):
    """What is asked of a user's part in a project."""

    user: User


class EndOfPart(OfPart, frozen=True, kw_only=True):
    """Whose part has ended, and when."""

    at: At = 0


class EnvironmentTerms(DerivationTerms, frozen=True, kw_only=True):
    """What a project begins with: a base image, and the tag that is to lead to it."""

    environment: Annotated[
        str,
        Meta(
            max_length=100,
            description="Name of the repository below the project's; empty: the project's own.",
            examples=["python-app"],
        ),
    ] = ""
    tag: Annotated[Tag, Meta(examples=["1611136370296-4.1.0.0"])]


class PlatformProjectTerms(Terms, frozen=True, kw_only=True):
    """A project of the platform."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="Its name there.")]
    at: At = 0
    members: Team = field(default_factory=dict)
    adopt: Annotated[
        bool,
        Meta(
            description="Take over the project, or the repositories, that have that name already."
        ),
    ] = False
    environment: Annotated[
        EnvironmentTerms | None,
        Meta(description="An image for it to begin with. One that is there stays as it is."),
    ] = None


class PlatformMemberTerms(Terms, frozen=True, kw_only=True):
    """What a user is in a project."""

    role: Role
    at: At = 0


class EventType(StrEnum):
    """What an event of a platform tells."""

    PROJECT_CREATED = "project.created"
    PROJECT_RENAMED = "project.renamed"
    PROJECT_DELETED = "project.deleted"
    MEMBER_ADDED = "member.added"
    MEMBER_CHANGED = "member.changed"
    MEMBER_REMOVED = "member.removed"


class PlatformEvent(Terms, frozen=True, kw_only=True):
    """One thing that happened on the platform."""

    id: Annotated[str, Meta(min_length=1, max_length=100, description="For the audit log.")]
    type: EventType
    at: At
    project: Number
    name: Annotated[str, Meta(max_length=100, description="Of project.created and .renamed.")] = ""
    members: Team = field(default_factory=dict)
    environment: EnvironmentTerms | None = None
    user: Annotated[str, Meta(max_length=63, description="Of events about members.")] = ""
    role: Role = ""


class PlatformProjectView(View, frozen=True, kw_only=True):
    """What was told of a project of the platform, and what there is of it here."""

    number: int
    name: str
    told: Annotated[Time, Meta(description="When it was so, by the platform's clock.")]
    deleted: bool
    project: Annotated[str | None, Meta(description="Its name here; null: there is none.")]
    project_id: str | None
    kubernetes_namespace: str
    environment: DerivedView | None = None


class PlatformEventView(View, frozen=True, kw_only=True):
    """What became of an event."""

    applied: Annotated[
        bool,
        Meta(description="Whether it was made so; false: the project was deleted, or is still to "
             "be told of."),
    ]  # fmt: skip
    project: PlatformProjectView | None = None


class ReconciliationTerms(Terms, frozen=True, kw_only=True):
    """What a comparison with the platform's list is to do."""

    dry_run: Annotated[bool, Meta(description="Only tell what differs.")] = False
    ends: (
        Annotated[int, Meta(ge=0, le=100_000, description="Most projects to end; null: as set.")]
        | None
    ) = None


class FindingView(View, frozen=True, kw_only=True):
    """A project that differs from what the platform has."""

    number: int
    name: str
    drift: Drift
    detail: str
    mended: bool


class ReconciliationView(View, frozen=True, kw_only=True):
    """What a comparison has found."""

    listed: Annotated[int, Meta(description="Projects that the platform lists.")]
    told: Annotated[int, Meta(description="Projects of it that were known before.")]
    held: Annotated[
        bool, Meta(description="More projects were to be ended than may be at once: none was.")
    ]
    findings: tuple[FindingView, ...]


async def put_project(call: Call[OfNumber, PlatformProjectTerms]) -> Reply:
    """Make a project of the platform, or make it what it is there."""
    wanted = call.body
    standing = await _platform(call).tell(
        call.input.number,
        wanted.name,
        wanted.at or _now(),
        _actor(call),
        members=wanted.members,
        adopt=wanted.adopt,
    )
    return Reply(_view(standing, await _environment(call, standing, wanted.environment)))


async def get_project(call: Call[OfNumber, None]) -> Reply:
    """Tell what was told of a project, and what there is of it."""
    standing = await _platform(call).get(call.input.number)
    if standing is None:
        raise PlatformProjectUnknown(call.input.number)
    return Reply(_view(standing))


async def end_project(call: Call[EndOfProject, None]) -> Reply:
    """End a project that was deleted there."""
    asked = call.input
    await _platform(call).tell_end(asked.number, asked.at or _now(), _actor(call))
    return Reply(status=204)


async def put_member(call: Call[OfPart, PlatformMemberTerms]) -> Reply:
    """Give a user a role in a project."""
    asked, wanted = call.input, call.body
    return await _member(call, asked.number, asked.user, wanted.role, wanted.at)


async def end_member(call: Call[EndOfPart, None]) -> Reply:
    """End a user's part in a project."""
    asked = call.input
    await _member(call, asked.number, asked.user, "", asked.at)
    return Reply(status=204)


async def take_event(call: Call[Nothing, PlatformEvent]) -> Reply:
    """Take an event that the platform has signed, in the platform's own name."""
    call.managed.receiver.check(call.http.headers.get(HEADER), call.sent)
    told = call.body
    try:
        standing, made = await _apply(call, told)
    except ProjectGone:
        # The event is late, and there is nothing that the platform could do about it.
        standing, made = None, None
    call.managed.trail.did(
        Happening.PLATFORM_TOLD, subject=told.id, type=told.type.value, number=told.project
    )
    view = _view(standing, made) if standing is not None else None
    return Reply(PlatformEventView(applied=view is not None, project=view))


async def reconcile(call: Call[Nothing, ReconciliationTerms]) -> Reply:
    """Compare with the platform's list of projects, and mend what differs."""
    if call.managed.reconciler is None:
        raise Invalid("no platform is asked: set auth.hopsworks.url and platform.key")
    wanted = call.body
    report = await call.managed.reconciler.run(_actor(call), dry=wanted.dry_run, ends=wanted.ends)
    findings = tuple(
        FindingView(
            number=each.number,
            name=each.name,
            drift=each.drift,
            detail=each.detail,
            mended=each.mended,
        )
        for each in report.findings
    )
    view = ReconciliationView(
        listed=report.listed, told=report.told, held=report.held, findings=findings
    )
    return Reply(view)


async def _apply(
    call: Call[Any, Any], told: PlatformEvent
) -> tuple[Standing | None, DerivedView | None]:
    platform, by, number = _platform(call), _actor(call), told.project
    match told.type:
        case EventType.PROJECT_CREATED | EventType.PROJECT_RENAMED:
            standing = await platform.tell(number, told.name, told.at, by, members=told.members)
            return standing, await _environment(call, standing, told.environment)
        case EventType.PROJECT_DELETED:
            return await platform.tell_end(number, told.at, by), None
        case _:
            role = "" if told.type is EventType.MEMBER_REMOVED else told.role
            return await platform.tell_member(number, told.user, role, told.at, by), None


async def _member(call: Call[Any, Any], number: int, user: str, role: str, at: int) -> Reply:
    standing = await _platform(call).tell_member(number, user, role, at or _now(), _actor(call))
    if standing is None:
        raise PlatformProjectUnknown(number)
    return Reply(_view(standing))


async def _environment(
    call: Call[Any, Any], standing: Standing, wanted: EnvironmentTerms | None
) -> DerivedView | None:
    """Derive the environment that a project begins with; one that is there stays."""
    if wanted is None or standing.project is None:
        return None
    by, services = _actor(call), call.managed.services
    repository = names.repository(
        standing.name, wanted.environment, call.tenancy.platform.terms.bases
    )
    source = await source_of(call, wanted, by)
    action = Action(Verb.PUSH, repository, address=call.address)
    allowed = await call.managed.policy.decide(by, action)
    if isinstance(allowed, Deny):
        raise NotAllowed(allowed.reason)
    try:
        derived = await services.derivations.derive(
            source, allowed.place, wanted.tag, by.name, allowed.role, _ABSENT
        )
    except PreconditionFailed:
        there = await services.tags.resolve(allowed.place, wanted.tag)
        return derived_view(wanted.tag, Derived(there.target, there.media_type, there.size))
    call.managed.trail.did(
        Happening.TAG_PUSHED,
        allowed.tenant,
        repository=repository,
        subject=wanted.tag,
        digest=derived.digest,
        media_type=derived.media_type,
        size=derived.size,
    )
    return derived_view(wanted.tag, derived)


def _platform(call: Call[Any, Any]) -> Lifecycle:
    return call.tenancy.platform


def _actor(call: Call[Any, Any]) -> Identity:
    """In whose name it is done: the platform's, which owns its projects; without one the caller's.

    Events name nobody: their signature does.
    """
    service = call.tenancy.platform.terms.service
    return Identity(service, Kind(service.partition(":")[0])) if service else call.identity


def _now() -> int:
    return int(time.time() * 1000)


def _view(standing: Standing, environment: DerivedView | None = None) -> PlatformProjectView:
    project = standing.project
    return PlatformProjectView(
        number=standing.number,
        name=standing.name,
        told=moment(standing.at / 1000),
        deleted=standing.gone,
        project=project.name if project is not None else None,
        project_id=project.id if project is not None else None,
        kubernetes_namespace=names.kubernetes_namespace(standing.name),
        environment=environment,
    )


_TOLD = (Invalid, ProjectExists, ProjectGone, ProjectNameInvalid)

ROUTES = (
    Route.of(
        "GET /platform/projects/{number}",
        "platform-project.get",
        Verb.PROVISION,
        "Tell what a platform told of a project",
        get_project,
        OfNumber,
        PlatformProjectView,
        refusals=(PlatformProjectUnknown,),
    ),
    Route.of(
        "PUT /platform/projects/{number}",
        "platform-project.put",
        Verb.PROVISION,
        "Make a project of a platform, with its environment",
        put_project,
        OfNumber,
        PlatformProjectView,
        body=PlatformProjectTerms,
        refusals=(*_TOLD, *(each for each in REFUSALS if each is not Invalid), NotAllowed),
    ),
    Route.of(
        "DELETE /platform/projects/{number}",
        "platform-project.end",
        Verb.PROVISION,
        "End a project that was deleted on the platform",
        end_project,
        EndOfProject,
        statuses=(204,),
    ),
    Route.of(
        "PUT /platform/projects/{number}/members/{user}",
        "platform-member.put",
        Verb.PROVISION,
        "Give a user of a platform a role in a project",
        put_member,
        OfPart,
        PlatformProjectView,
        body=PlatformMemberTerms,
        refusals=(*_TOLD, PlatformProjectUnknown),
    ),
    Route.of(
        "DELETE /platform/projects/{number}/members/{user}",
        "platform-member.end",
        Verb.PROVISION,
        "End the part of a user of a platform in a project",
        end_member,
        EndOfPart,
        statuses=(204,),
        refusals=(*_TOLD, PlatformProjectUnknown),
    ),
    Route.of(
        "POST /platform/reconcile",
        "platform.reconcile",
        Verb.PROVISION,
        "Compare with a platform's list of projects, and mend what differs",
        reconcile,
        Nothing,
        ReconciliationView,
        body=ReconciliationTerms,
        refusals=(Invalid, PlatformUnreadable),
    ),
    Route.of(
        "POST /platform/events",
        "platform.event",
        None,
        "Take an event that a platform has signed",
        take_event,
        Nothing,
        PlatformEventView,
        body=PlatformEvent,
        refusals=(
            *_TOLD,
            *(each for each in REFUSALS if each is not Invalid),
            NotAllowed,
            SignatureInvalid,
        ),
    ),
)
