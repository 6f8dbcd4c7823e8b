"""Robot accounts of projects."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import OfProject, PagesOfProject
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import (
    RobotIssued,
    RobotPage,
    RobotView,
    RobotWanted,
    Rotation,
    SecretView,
    maybe,
    moment,
)
from registry.service.projects.robots import IssuedRobot, Robot, RobotTerms
from registry.spec.problems import Changed, Invalid, RobotUnknown, TooMany

RobotName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        description="Name of the robot account: lower-case letters and digits, joined by "
        "single . _ -",
        examples=["ci"],
    ),
]


class OfRobot(OfProject, frozen=True, kw_only=True):
    """What is asked of a robot account."""

    robot: RobotName


async def list_robots(call: Call[PagesOfProject, None]) -> Reply:
    """List the robot accounts of a project."""
    leaf = await call.tenancy.robots.page(call.tenant, call.input.after, call.input.limit)
    return paged(RobotPage, leaf, robot_view, lambda each: each.name)


async def get_robot(call: Call[OfRobot, None]) -> Reply:
    """Describe a robot account."""
    robot = await call.tenancy.robots.get(call.tenant, call.input.robot)
    return Reply(robot_view(robot), version=robot.version)


async def put_robot(call: Call[OfRobot, RobotWanted]) -> Reply:
    """Make a robot account, with a secret, or change the terms of one, which keeps its secret."""
    wanted = call.body
    terms = RobotTerms(
        wanted.role,
        wanted.scopes,
        None if wanted.expires is None else wanted.expires.timestamp(),
        wanted.networks,
    )
    issued = await call.tenancy.robots.put(
        call.tenant, call.input.robot, terms, call.identity, call.version()
    )
    return _issued(issued, 200 if issued.secret is None else 201)


async def rotate_robot(call: Call[OfRobot, Rotation]) -> Reply:
    """Give a robot account a new secret."""
    issued = await call.tenancy.robots.rotate(
        call.tenant, call.input.robot, call.identity, call.body.overlap_seconds
    )
    return _issued(issued, 201)


async def remove_robot(call: Call[OfRobot, None]) -> Reply:
    """End a robot account."""
    await call.tenancy.robots.remove(call.tenant, call.input.robot, call.identity, call.version())
    return Reply(status=204)


def _issued(issued: IssuedRobot, status: int) -> Reply:
    view = RobotIssued(robot=robot_view(issued.robot), secret=issued.secret)
    return Reply(view, status, version=issued.robot.version)


def robot_view(robot: Robot) -> RobotView:
    """Describe a robot account."""
    return RobotView(
        name=robot.name,
        login=robot.login,
        role=robot.role,
        secrets=tuple(SecretView(id=number, expires=maybe(end)) for number, end in robot.secrets),
        changed=moment(robot.at),
        by=robot.by,
        scopes=robot.scopes,
        expires=maybe(robot.expires),
        networks=robot.networks,
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/robots",
        "robot.list",
        Verb.OPERATE,
        "List robot accounts",
        list_robots,
        PagesOfProject,
        RobotPage,
    ),
    Route.of(
        "GET /projects/{project}/robots/{robot}",
        "robot.get",
        Verb.OPERATE,
        "Describe a robot account",
        get_robot,
        OfRobot,
        RobotView,
        refusals=(RobotUnknown, Invalid),
    ),
    Route.of(
        "PUT /projects/{project}/robots/{robot}",
        "robot.put",
        Verb.OPERATE,
        "Make a robot account, or change its terms",
        put_robot,
        OfRobot,
        RobotIssued,
        statuses=(201, 200),
        body=RobotWanted,
        conditional=True,
        refusals=(Invalid, Changed, TooMany),
    ),
    Route.of(
        "POST /projects/{project}/robots/{robot}/secrets",
        "robot.rotate",
        Verb.OPERATE,
        "Replace the secret of a robot account",
        rotate_robot,
        OfRobot,
        RobotIssued,
        statuses=(201,),
        body=Rotation,
        refusals=(RobotUnknown, Invalid),
    ),
    Route.of(
        "DELETE /projects/{project}/robots/{robot}",
        "robot.remove",
        Verb.OPERATE,
        "End a robot account",
        remove_robot,
        OfRobot,
        statuses=(204,),
        conditional=True,
        refusals=(RobotUnknown, Invalid, Changed),
    ),
)
