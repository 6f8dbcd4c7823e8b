"""What answers and bodies about a platform's projects look like."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from registry.http.management.derivations import DerivationTerms, DerivedView
from registry.http.management.inputs import Nothing
from registry.http.management.pull_secrets import NamedPullSecret, PullSecretIssued
from registry.http.management.views import Terms, Time, View, moment
from registry.service.platform import names
from registry.service.platform.lifecycle import Standing
from registry.service.platform.reconciliation import Drift, Report
from registry.spec.names import Tag

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
    pull_secret: Annotated[
        NamedPullSecret | None,
        Meta(description="Issue a pull secret for its namespace too, or make that anew."),
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
    pull_secret: PullSecretIssued | None = None


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


def platform_project_view(
    standing: Standing,
    environment: DerivedView | None = None,
    pull_secret: PullSecretIssued | None = None,
) -> PlatformProjectView:
    """Show what was told, what there is, and what was just made with it."""
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
        pull_secret=pull_secret,
    )


def reconciliation_view(report: Report) -> ReconciliationView:
    """Show what a comparison has found."""
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
    return ReconciliationView(
        listed=report.listed, told=report.told, held=report.held, findings=findings
    )
