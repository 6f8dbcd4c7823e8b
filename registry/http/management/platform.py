"""What a platform tells of its projects: by calls of its own, or by signed events."""

import time
from typing import Any

from auth.identity import Identity, Kind
from auth.policy import Action, Deny, Verb
from registry.http.management.derivations import (
    REFUSALS,
    DerivedView,
    derived_view,
    source_of,
)
from registry.http.management.inputs import Nothing
from registry.http.management.platform_views import (
    EndOfPart,
    EndOfProject,
    EnvironmentTerms,
    EventType,
    OfNumber,
    OfPart,
    PlatformEvent,
    PlatformEventView,
    PlatformMemberTerms,
    PlatformProjectTerms,
    PlatformProjectView,
    ReconciliationTerms,
    ReconciliationView,
    platform_project_view,
    reconciliation_view,
)
from registry.http.management.pull_secrets import (
    REFUSALS as SECRET_REFUSALS,
)
from registry.http.management.pull_secrets import (
    NamedPullSecret,
    PullSecretIssued,
    issued_to,
)
from registry.http.management.route import Call, Reply, Route
from registry.service.audit.events import Happening
from registry.service.bounded import both
from registry.service.derivations import Derived
from registry.service.platform import names
from registry.service.platform.lifecycle import Lifecycle, Standing
from registry.service.webhooks.signature import HEADER
from registry.spec.conditions import ABSENT
from registry.spec.errors import PreconditionFailed
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


async def put_project(call: Call[OfNumber, PlatformProjectTerms]) -> Reply:
    """Make a project of the platform, or make it what it is there."""
    wanted = call.body
    if wanted.adopt and not await call.may(Verb.GOVERN):
        raise NotAllowed("only administrators of the registry can adopt what is there")
    standing = await _platform(call).tell(
        call.input.number,
        wanted.name,
        wanted.at or _now(),
        _actor(call),
        members=wanted.members,
        adopt=wanted.adopt,
    )
    made = await _environment(call, standing, wanted.environment)
    secret = await _pull_secret(call, standing, wanted.pull_secret)
    return Reply(platform_project_view(standing, made, secret))


async def get_project(call: Call[OfNumber, None]) -> Reply:
    """Tell what was told of a project, and what there is of it."""
    standing = await _platform(call).get(call.input.number)
    if standing is None:
        raise PlatformProjectUnknown(call.input.number)
    return Reply(platform_project_view(standing))


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
    view = platform_project_view(standing, made) if standing is not None else None
    return Reply(PlatformEventView(applied=view is not None, project=view))


async def reconcile(call: Call[Nothing, ReconciliationTerms]) -> Reply:
    """Compare with the platform's list of projects, and mend what differs."""
    if call.managed.reconciler is None:
        raise Invalid("no platform is asked: set auth.hopsworks.url and platform.key")
    wanted = call.body
    report = await call.managed.reconciler.run(_actor(call), dry=wanted.dry_run, ends=wanted.ends)
    return Reply(reconciliation_view(report))


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
    return Reply(platform_project_view(standing))


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
    action = Action(Verb.PUSH, repository, address=call.address)
    source, allowed = await both(
        source_of(call, wanted, by), call.managed.policy.decide(by, action)
    )
    if isinstance(allowed, Deny):
        raise NotAllowed(allowed.reason)
    try:
        derived = await services.derivations.derive(
            source, allowed.place, wanted.tag, by.name, allowed.role, ABSENT
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


async def _pull_secret(
    call: Call[Any, Any], standing: Standing, wanted: NamedPullSecret | None
) -> PullSecretIssued | None:
    """Issue the pull secret of a project's namespace.

    No event does: its answer would be a secret for whoever sends a captured event again.
    """
    if wanted is None or standing.project is None:
        return None
    by, project = _actor(call), standing.project.name
    allowed = await call.managed.policy.decide(
        by, Action(Verb.OPERATE, project=project, address=call.address)
    )
    if isinstance(allowed, Deny) or allowed.tenant is None:
        raise NotAllowed(f"{by.name} runs no pull secrets of {project}: make it an owner there")
    return await issued_to(call, allowed.tenant, wanted.robot, by, wanted)


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
        refusals=tuple(dict.fromkeys((*_TOLD, *REFUSALS, NotAllowed, *SECRET_REFUSALS))),
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
