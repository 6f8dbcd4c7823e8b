"""What answers and bodies look like: one frozen Struct each, described for the OpenAPI document."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from auth.roles import Role, Visibility
from registry.service.audit.events import Result
from registry.service.projects.removals import Progress

Time = Annotated[datetime, Meta(tz=True)]
"""A moment, as RFC 3339 writes it, with its offset from UTC."""

Principal = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=300,
        description="A caller or a group: user:…, group:…, workload:…, robot:…",
        examples=["user:alice"],
    ),
]
Scopes = Annotated[
    str,
    Meta(
        max_length=32_768,
        description="The most that a secret is good for, as scopes are written, spaces between: "
        "repository:demo/*:pull. Without it, all that its owner may do.",
    ),
]
Expires = Annotated[datetime, Meta(tz=True, description="When it ends; null: never.")]
Secret = Annotated[str, Meta(description="The secret. It is shown this once, and kept as a hash.")]


def moment(seconds: float) -> datetime:
    """Return a time (Unix seconds) for an answer, without fractions of a second."""
    return datetime.fromtimestamp(int(seconds), UTC)


def maybe(seconds: float | None) -> datetime | None:
    """Return a time as ``moment`` does, ``None`` for none."""
    return None if seconds is None else moment(seconds)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer. All fields are always there; what has no value is null."""


class Page(View, frozen=True, kw_only=True):
    """A part of a list."""

    next: Annotated[
        str | None, Meta(description="Where the next page begins (`after`); null on the last one.")
    ] = None


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a body says. A field that is not known is refused."""


class ProjectView(View, frozen=True, kw_only=True):
    """A project."""

    name: str
    id: Annotated[str, Meta(description="Never used again, also when the name is.")]
    display: Annotated[str, Meta(description="The name as its creator wrote it.")]
    visibility: Visibility
    created: Time
    by: Principal
    role: Annotated[Role | None, Meta(description="The caller's own role in it.")] = None


class ProjectPage(Page, frozen=True, kw_only=True):
    """A page of projects, by name."""

    items: tuple[ProjectView, ...]


class ProjectWanted(Terms, frozen=True, kw_only=True):
    """A project to be created."""

    visibility: Visibility = Visibility.PRIVATE
    owner: Annotated[
        str, Meta(max_length=300, description="Its first member; without it, the caller.")
    ] = ""
    adopt: Annotated[
        bool,
        Meta(
            description="Take over the repositories that were pushed under its name before there "
            "were projects. For administrators."
        ),
    ] = False


class ProjectChange(Terms, frozen=True, kw_only=True):
    """What is to be different about a project."""

    visibility: Visibility


Amount = Annotated[int, Meta(ge=0, le=2**62)]


class QuotaTerms(Terms, frozen=True, kw_only=True):
    """What a project may hold; null: any number. With no limit at all nothing is counted."""

    bytes: Annotated[
        Amount | None, Meta(description="Bytes of blobs and manifests, in each repository.")
    ] = None
    repositories: Amount | None = None
    tags: Annotated[Amount | None, Meta(description="In all repositories.")] = None
    warn_percent: Annotated[
        int, Meta(ge=1, le=100, description="From when on pushes are warned; 100: never.")
    ] = 90


class AmountsView(View, frozen=True, kw_only=True):
    """So much of each kind."""

    bytes: int
    repositories: int
    tags: int


class QuotaView(View, frozen=True, kw_only=True):
    """What a project may hold, and what it holds. All is null where it has no limits."""

    limits: QuotaTerms | None = None
    used: AmountsView | None = None
    reserved: Annotated[
        AmountsView | None,
        Meta(description="What pushes that are under way have taken, and perhaps a little more."),
    ] = None
    physical_bytes: Annotated[
        int | None,
        Meta(description="Bytes of content that differs, as of the last count."),
    ] = None
    counted: Annotated[
        Time | None,
        Meta(description="When that was. Null: not yet, and until then nothing is refused."),
    ] = None


class RemovalView(View, frozen=True, kw_only=True):
    """How far the removal of a project is: what it held is taken away in the background."""

    project: str
    id: str
    removed: Time
    by: Principal
    progress: Progress
    keys: Annotated[int, Meta(description="How many stored objects are gone.")]


class RemovalPage(Page, frozen=True, kw_only=True):
    """A page of removals that have not ended."""

    items: tuple[RemovalView, ...]


class MemberView(View, frozen=True, kw_only=True):
    """A member of a project."""

    principal: Principal
    role: Role
    since: Time
    by: Principal


class MemberPage(Page, frozen=True, kw_only=True):
    """A page of members."""

    items: tuple[MemberView, ...]


class MemberTerms(Terms, frozen=True, kw_only=True):
    """What a member is to be."""

    role: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="owner, maintainer, developer or guest; or what a platform calls them: "
            "Data owner, Data scientist.",
            examples=["developer"],
        ),
    ]


class SecretView(View, frozen=True, kw_only=True):
    """A secret of a robot account: its id, never the secret."""

    id: str
    expires: Expires | None = None


class RobotView(View, frozen=True, kw_only=True):
    """A robot account of a project."""

    name: str
    login: Annotated[str, Meta(description="The user name that goes with its secret.")]
    role: Role
    secrets: tuple[SecretView, ...]
    changed: Time
    by: Principal
    scopes: Scopes | None = None
    expires: Expires | None = None
    networks: Annotated[
        tuple[str, ...], Meta(description="From where it may be used; empty: from anywhere.")
    ] = ()


class RobotPage(Page, frozen=True, kw_only=True):
    """A page of robot accounts, by name."""

    items: tuple[RobotView, ...]


class RobotWanted(Terms, frozen=True, kw_only=True):
    """What a robot account may do, until when, and from where."""

    role: Role = Role.DEVELOPER
    scopes: Scopes | None = None
    expires: Expires | None = None
    networks: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(max_length=32, examples=[["10.0.0.0/8"]]),
    ] = ()


class RobotIssued(View, frozen=True, kw_only=True):
    """A robot account, with its secret where it has just got one."""

    robot: RobotView
    secret: Secret | None = None


class Rotation(Terms, frozen=True, kw_only=True):
    """How a secret is to be replaced."""

    overlap_seconds: Annotated[
        float,
        Meta(ge=0, le=604_800, description="How long the last secret stays good beside it."),
    ] = 0.0


class TokenView(View, frozen=True, kw_only=True):
    """An access token, or a refresh token that a client keeps instead of a password."""

    id: str
    label: str
    created: Time
    kind: Annotated[str, Meta(description="access or refresh.")] = "access"
    scopes: Scopes | None = None
    expires: Expires | None = None


class TokenPage(Page, frozen=True, kw_only=True):
    """A page of tokens."""

    items: tuple[TokenView, ...]


class TokenWanted(Terms, frozen=True, kw_only=True):
    """An access token to be made."""

    label: Annotated[
        str, Meta(min_length=1, max_length=100, description="What it is for.", examples=["laptop"])
    ]
    scopes: Scopes | None = None
    expires: Expires | None = None


class TokenIssued(View, frozen=True, kw_only=True):
    """A new access token."""

    token: TokenView
    secret: Secret
    login: Annotated[str, Meta(description="The user name that goes with it.")]


class ShareView(View, frozen=True, kw_only=True):
    """What a project lets another one pull."""

    target: Annotated[str, Meta(description="Name of the other project.")]
    since: Time
    by: Principal
    repository: Annotated[
        str | None, Meta(description="Name of the repository; null: all of the project.")
    ] = None


class SharePage(Page, frozen=True, kw_only=True):
    """A page of shares."""

    items: tuple[ShareView, ...]


class UserView(View, frozen=True, kw_only=True):
    """What is known of a user."""

    name: str
    local: Annotated[bool, Meta(description="Whether it has a password here.")]
    created: Time
    by: Principal
    administrator: bool = False
    blocked: bool = False
    groups: Annotated[
        tuple[str, ...] | None, Meta(description="Null where its credentials tell them.")
    ] = None


class UserPage(Page, frozen=True, kw_only=True):
    """A page of users."""

    items: tuple[UserView, ...]


Password = Annotated[str, Meta(max_length=1024, description="A password.")]
Groups = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...], Meta(max_length=256)
]


class UserTerms(Terms, frozen=True, kw_only=True):
    """What is to be known of a user. ``password``: to make a local account, and only then."""

    groups: Groups | None = None
    administrator: bool = False
    blocked: bool = False
    password: Password | None = None


class PasswordChange(Terms, frozen=True, kw_only=True):
    """A new password."""

    password: Password
    current: Annotated[
        str, Meta(max_length=1024, description="The present one; administrators need none.")
    ] = ""


class Bootstrap(Terms, frozen=True, kw_only=True):
    """What makes the first administrator."""

    secret: Annotated[str, Meta(max_length=1024, description="auth.bootstrap_secret.")]
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    password: Password


class CallerView(View, frozen=True, kw_only=True):
    """Whom the registry takes the caller for."""

    name: Principal
    kind: str
    scheme: Annotated[str, Meta(description="How it has shown who it is.")]
    groups: tuple[str, ...] = ()
    administrator: bool = False
    ceiling: Annotated[
        str | None, Meta(description="The most that its credential is good for; null: all.")
    ] = None
    credential: Annotated[str, Meta(description="Id of its credential, as logs have it.")] = ""
    address: Annotated[str, Meta(description="Where the registry sees it come from.")] = ""


class ExplanationView(View, frozen=True, kw_only=True):
    """A decision, and what led to it."""

    allowed: bool
    reason: Annotated[str, Meta(description="Why not; empty where it is allowed.")] = ""
    why: Annotated[str, Meta(description="The reason in one word, from a closed list.")] = ""
    findings: Annotated[
        tuple[str, ...], Meta(description="What was looked at, in this order.")
    ] = ()


class RepositoryView(View, frozen=True, kw_only=True):
    """A repository."""

    name: str


class RepositoryPage(Page, frozen=True, kw_only=True):
    """A page of repositories, by name."""

    items: tuple[RepositoryView, ...]


Platforms = Annotated[
    tuple[str, ...],
    Meta(
        description="What the image runs on; several for an index, none for what is no image.",
        examples=[["linux/amd64"]],
    ),
]


class TagView(View, frozen=True, kw_only=True):
    """A tag, and the image that it points at."""

    name: str
    digest: str
    media_type: str
    pushed: Time
    by: Principal
    version: Annotated[int, Meta(description="How often the tag has been pointed anew.")]
    manifest_bytes: Annotated[int, Meta(description="Size of the manifest.")]
    content_bytes: Annotated[
        int | None,
        Meta(
            description="Size of all that a pull of it fetches; null where it is too much to "
            "add up."
        ),
    ] = None
    platforms: Platforms = ()


class TagPage(Page, frozen=True, kw_only=True):
    """A page of tags, by name."""

    items: tuple[TagView, ...]


class DeletedView(View, frozen=True, kw_only=True):
    """A manifest that was deleted, and can be had back."""

    digest: str
    media_type: str
    manifest_bytes: Annotated[int, Meta(description="Size of the manifest.")]
    tags: Annotated[tuple[str, ...], Meta(description="The tags that led to it.")]
    deleted: Time
    until: Annotated[datetime, Meta(tz=True, description="Until when it can be had back.")]
    by: Annotated[str, Meta(description="Who deleted it.")]


class DeletedPage(Page, frozen=True, kw_only=True):
    """A page of deleted manifests, by digest. It may have fewer items than were asked for."""

    items: tuple[DeletedView, ...]


class UndeleteBody(Terms, frozen=True, kw_only=True):
    """What is said of a manifest that is to be had back: nothing, an empty object."""


class UndeletedView(View, frozen=True, kw_only=True):
    """A manifest that was had back."""

    digest: str
    tags: Annotated[tuple[str, ...], Meta(description="Those of its tags that lead to it again.")]


class AuditEventView(View, frozen=True, kw_only=True):
    """Something that happened."""

    time: Time
    action: Annotated[str, Meta(description="What, from a closed list.", examples=["tag.pushed"])]
    result: Annotated[Result, Meta(description="unknown: it broke off, and may have been done.")]
    principal: Annotated[
        str, Meta(description="Who did it; of a failed login, who it wanted to be.")
    ]
    address: Annotated[
        str, Meta(description="Where it came from; empty: from the registry itself.")
    ]
    request_id: str
    credential: Annotated[str, Meta(description="Id of the credential that was shown.")]
    project: str
    repository: str
    subject: Annotated[str, Meta(description="What it was done to: a tag, a digest, a principal.")]
    details: dict[str, str]
    writer: Annotated[str, Meta(description="The process that wrote it down.")]
    number: Annotated[int, Meta(description="Its number among the events of that process.")]
    hash: str
    cursor: Annotated[
        str, Meta(description="Where a page begins that goes on behind it (`after`).")
    ]


class AuditPage(Page, frozen=True, kw_only=True):
    """A page of events, the oldest first. It may have fewer items than were asked for."""

    items: tuple[AuditEventView, ...]
