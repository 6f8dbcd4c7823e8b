"""Image pull secrets of projects."""

from typing import Annotated, Any, Final

from msgspec import Meta

from auth.access import Tenant
from auth.identity import Identity
from auth.policy import Verb
from registry.http.management.robots import OfRobot, RobotName, robot_view
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import RobotView, Terms, View
from registry.service.projects.robots import MAX_OVERLAP
from registry.spec.problems import AddressUnknown, Changed, Invalid, RobotUnknown, TooMany

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"


class PullSecretWanted(Terms, frozen=True, kw_only=True):
    """Where a pull secret is to be kept, and how long the one before it stays good."""

    namespace: Annotated[
        Annotated[str, Meta(max_length=63, pattern=rf"^{_LABEL}\Z")] | None,
        Meta(description="Namespace of the Secret; null: the one of the project."),
    ] = None
    name: Annotated[
        Annotated[str, Meta(max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})*\Z")] | None,
        Meta(description="Name of the Secret; null: moorage-<the robot account's>."),
    ] = None
    overlap_seconds: Annotated[
        float,
        Meta(ge=0, le=MAX_OVERLAP, description="How long the last one stays good beside it."),
    ] = 600.0


class NamedPullSecret(PullSecretWanted, frozen=True, kw_only=True):
    """A pull secret that comes with something else."""

    robot: RobotName = "kubelet"


class PullSecretIssued(View, frozen=True, kw_only=True):
    """A new pull secret."""

    robot: RobotView
    host: Annotated[str, Meta(description="The registry's host and port, as images name it.")]
    manifest: Annotated[
        dict[str, Any],
        Meta(
            description="The Secret of Kubernetes, of the type kubernetes.io/dockerconfigjson. It "
            "is shown this once."
        ),
    ]


async def issued_to(
    call: Call[Any, Any], tenant: Tenant, robot: str, by: Identity, wanted: PullSecretWanted
) -> PullSecretIssued:
    """Make a pull secret of a project, or make it anew. ``by`` must be allowed ``OPERATE``."""
    issued = await call.tenancy.pull_secrets.issue(
        tenant,
        robot,
        by,
        namespace=wanted.namespace,
        kept_as=wanted.name,
        overlap=wanted.overlap_seconds,
    )
    secret = issued.secret
    return PullSecretIssued(
        robot=robot_view(issued.robot), host=secret.host, manifest=dict(secret.manifest())
    )


async def issue_pull_secret(call: Call[OfRobot, PullSecretWanted]) -> Reply:
    """Make a pull secret, or make it anew."""
    issued = await issued_to(call, call.tenant, call.input.robot, call.identity, call.body)
    return Reply(issued, 201)


async def revoke_pull_secret(call: Call[OfRobot, None]) -> Reply:
    """End a pull secret."""
    await call.tenancy.pull_secrets.revoke(call.tenant, call.input.robot, call.identity)
    return Reply(status=204)


REFUSALS: Final = (Invalid, AddressUnknown, Changed, TooMany)
"""What nobody gets a pull secret for."""

ROUTES = (
    Route.of(
        "POST /projects/{project}/pull-secrets/{robot}",
        "pull-secret.issue",
        Verb.OPERATE,
        "Make an image pull secret for Kubernetes, or make it anew",
        issue_pull_secret,
        OfRobot,
        PullSecretIssued,
        statuses=(201,),
        body=PullSecretWanted,
        refusals=REFUSALS,
    ),
    Route.of(
        "DELETE /projects/{project}/pull-secrets/{robot}",
        "pull-secret.revoke",
        Verb.OPERATE,
        "End an image pull secret",
        revoke_pull_secret,
        OfRobot,
        statuses=(204,),
        refusals=(RobotUnknown, Invalid, Changed),
    ),
)
