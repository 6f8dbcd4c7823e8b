"""Members of projects, and what projects share with each other."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from auth.roles import Role
from registry.http.management.inputs import OfProject, PagesOfProject
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import (
    MemberPage,
    MemberTerms,
    MemberView,
    SharePage,
    ShareView,
    moment,
)
from registry.service.projects.members import Member
from registry.service.projects.shares import Share, cursor
from registry.spec.problems import (
    Changed,
    Invalid,
    LastOwner,
    MemberUnknown,
    PrincipalInvalid,
    ShareUnknown,
    TooMany,
)


class OfMember(OfProject, frozen=True, kw_only=True):
    """What is asked of a member."""

    principal: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=250,
            description="user:<name>, group:<name> or workload:<name>.",
            examples=["user:alice"],
        ),
    ]


class OfShare(OfProject, frozen=True, kw_only=True):
    """What is asked of a share."""

    target: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="The other project: its name, or, to share with one that the caller has "
            "no part in, its id.",
        ),
    ]
    repository: Annotated[
        Annotated[str, Meta(max_length=250)] | None,
        Meta(description="Name of the repository; without it, all of them."),
    ] = None


async def list_members(call: Call[PagesOfProject, None]) -> Reply:
    """List the members of a project."""
    leaf = await call.tenancy.members.page(call.tenant, call.input.after, call.input.limit)
    return paged(MemberPage, leaf, member_view, lambda each: each.principal)


async def get_member(call: Call[OfMember, None]) -> Reply:
    """Describe a member."""
    member = await call.tenancy.members.get(call.tenant, call.input.principal)
    return Reply(member_view(member), version=member.version)


async def put_member(call: Call[OfMember, MemberTerms]) -> Reply:
    """Make somebody a member, or change a member's role."""
    try:
        role = Role.parse(call.body.role)
    except ValueError as error:
        raise Invalid(str(error)) from None
    member, made = await call.tenancy.members.put(
        call.tenant, call.input.principal, role, call.identity, call.version()
    )
    return Reply(member_view(member), 201 if made else 200, version=member.version)


async def remove_member(call: Call[OfMember, None]) -> Reply:
    """End a membership."""
    await call.tenancy.members.remove(
        call.tenant, call.input.principal, call.identity, call.version()
    )
    return Reply(status=204)


async def list_shares(call: Call[PagesOfProject, None]) -> Reply:
    """List what a project shares."""
    leaf = await call.tenancy.shares.page(call.tenant, call.input.after, call.input.limit)
    return paged(SharePage, leaf, share_view, cursor)


async def put_share(call: Call[OfShare, None]) -> Reply:
    """Let the members of another project pull."""
    asked = call.input
    share, made = await call.tenancy.shares.put(
        call.tenant, asked.target, asked.repository, call.identity
    )
    return Reply(share_view(share), 201 if made else 200)


async def remove_share(call: Call[OfShare, None]) -> Reply:
    """Revoke a share."""
    asked = call.input
    await call.tenancy.shares.remove(call.tenant, asked.target, asked.repository, call.identity)
    return Reply(status=204)


def member_view(member: Member) -> MemberView:
    """Describe a member."""
    return MemberView(
        principal=member.principal, role=member.role, since=moment(member.at), by=member.by
    )


def share_view(share: Share) -> ShareView:
    """Describe a share."""
    return ShareView(
        target=share.target, repository=share.repository, since=moment(share.at), by=share.by
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/members",
        "member.list",
        Verb.DESCRIBE,
        "List members",
        list_members,
        PagesOfProject,
        MemberPage,
    ),
    Route.of(
        "GET /projects/{project}/members/{principal*}",
        "member.get",
        Verb.DESCRIBE,
        "Describe a member",
        get_member,
        OfMember,
        MemberView,
        refusals=(MemberUnknown, PrincipalInvalid),
    ),
    Route.of(
        "PUT /projects/{project}/members/{principal*}",
        "member.put",
        Verb.ADMINISTER,
        "Make somebody a member, or change a role",
        put_member,
        OfMember,
        MemberView,
        statuses=(201, 200),
        body=MemberTerms,
        conditional=True,
        refusals=(PrincipalInvalid, Invalid, Changed, LastOwner, TooMany),
    ),
    Route.of(
        "DELETE /projects/{project}/members/{principal*}",
        "member.remove",
        Verb.ADMINISTER,
        "End a membership",
        remove_member,
        OfMember,
        statuses=(204,),
        conditional=True,
        refusals=(MemberUnknown, PrincipalInvalid, Changed, LastOwner),
    ),
    Route.of(
        "GET /projects/{project}/shares",
        "share.list",
        Verb.DESCRIBE,
        "List what the project shares",
        list_shares,
        PagesOfProject,
        SharePage,
    ),
    Route.of(
        "PUT /projects/{project}/shares/{target}",
        "share.put",
        Verb.ADMINISTER,
        "Let the members of another project pull",
        put_share,
        OfShare,
        ShareView,
        statuses=(201, 200),
        refusals=(Invalid, TooMany),
    ),
    Route.of(
        "DELETE /projects/{project}/shares/{target}",
        "share.remove",
        Verb.ADMINISTER,
        "Revoke a share",
        remove_share,
        OfShare,
        statuses=(204,),
        refusals=(Invalid, ShareUnknown),
    ),
)
