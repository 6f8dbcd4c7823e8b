"""Projects, and their removal."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from auth.roles import Role
from registry.http.management.inputs import Nothing, OfProject, Pages
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import (
    ProjectChange,
    ProjectPage,
    ProjectView,
    ProjectWanted,
    RemovalPage,
    RemovalView,
    moment,
)
from registry.service.projects.projects import Project, Wanted
from registry.service.projects.removals import Removal
from registry.spec.problems import (
    Changed,
    NotAllowed,
    PrincipalInvalid,
    ProjectExists,
    ProjectUnknown,
)


class ProjectListing(Pages, frozen=True, kw_only=True):
    """Which projects are asked for."""

    all: Annotated[bool, Meta(description="Those of others too. For administrators.")] = False


class OfRemoval(Nothing, frozen=True, kw_only=True):
    """What is asked of a removal."""

    id: Annotated[str, Meta(min_length=1, max_length=100, description="Id of the project.")]


async def list_projects(call: Call[ProjectListing, None]) -> Reply:
    """List the caller's projects, or for administrators all."""
    asked = call.input
    projects = call.tenancy.projects
    if not asked.all:
        leaf = await projects.of(call.identity, asked.after, asked.limit)
    elif await call.may(Verb.GOVERN):
        leaf = await projects.page(asked.after, asked.limit)
    else:
        raise NotAllowed("only administrators of the registry can list the projects of others")
    return paged(ProjectPage, leaf, project_view, lambda each: each.name)


async def get_project(call: Call[OfProject, None]) -> Reply:
    """Describe a project."""
    project = await call.tenancy.projects.get(call.tenant)
    access = await call.tenancy.directory.access(call.identity, call.tenant.name)
    return Reply(project_view(project, access.role), version=project.version)


async def create_project(call: Call[OfProject, ProjectWanted]) -> Reply:
    """Create a project, if it is not there as it is wanted already."""
    wanted = call.body
    governs = await call.may(Verb.GOVERN)
    if wanted.adopt and not governs:
        raise NotAllowed("only administrators of the registry can adopt repositories")
    if wanted.owner not in ("", call.identity.name) and not governs:
        raise NotAllowed("only administrators of the registry can create a project for others")
    project, made = await call.tenancy.projects.create(
        Wanted(call.input.project.spelling, wanted.visibility, wanted.owner, wanted.adopt),
        call.identity,
    )
    return Reply(project_view(project), 201 if made else 200, version=project.version)


async def change_project(call: Call[OfProject, ProjectChange]) -> Reply:
    """Open a project to others, or close it."""
    project = await call.tenancy.projects.change(
        call.tenant, call.body.visibility, call.identity, call.version()
    )
    return Reply(project_view(project), version=project.version)


async def remove_project(call: Call[OfProject, None]) -> Reply:
    """Remove a project; what it held is taken away afterwards."""
    tenant = call.tenant
    await call.tenancy.projects.remove(tenant, call.identity, call.version())
    removal = await call.tenancy.removals.get(tenant.id)
    return Reply(removal_view(removal), 202, location=f"/removals/{tenant.id}")


async def list_removals(call: Call[Pages, None]) -> Reply:
    """List the removals that have not ended."""
    leaf = await call.tenancy.removals.page(call.input.after, call.input.limit)
    return paged(RemovalPage, leaf, removal_view, lambda each: each.tenant.id)


async def get_removal(call: Call[OfRemoval, None]) -> Reply:
    """Tell how far a removal is: to whoever removed the project, and to administrators."""
    removal = await call.tenancy.removals.get(call.input.id)
    if not await call.may(Verb.ACCOUNT, subject=removal.by):
        raise ProjectUnknown
    return Reply(removal_view(removal))


def project_view(project: Project, role: Role | None = None) -> ProjectView:
    """Describe a project, with the caller's role in it."""
    return ProjectView(
        name=project.name,
        id=project.id,
        display=project.display,
        visibility=project.visibility,
        created=moment(project.at),
        by=project.by,
        role=role or project.role,
    )


def removal_view(removal: Removal) -> RemovalView:
    """Describe a removal."""
    return RemovalView(
        project=removal.tenant.name,
        id=removal.tenant.id,
        removed=moment(removal.at),
        by=removal.by,
        progress=removal.progress,
        keys=removal.keys,
    )


ROUTES = (
    Route.of(
        "GET /projects",
        "project.list",
        Verb.ENTER,
        "List projects",
        list_projects,
        ProjectListing,
        ProjectPage,
        refusals=(NotAllowed,),
    ),
    Route.of(
        "GET /projects/{project}",
        "project.get",
        Verb.DESCRIBE,
        "Describe a project",
        get_project,
        OfProject,
        ProjectView,
    ),
    Route.of(
        "PUT /projects/{project}",
        "project.create",
        Verb.CREATE,
        "Create a project",
        create_project,
        OfProject,
        ProjectView,
        statuses=(201, 200),
        body=ProjectWanted,
        refusals=(ProjectExists, PrincipalInvalid),
    ),
    Route.of(
        "PATCH /projects/{project}",
        "project.change",
        Verb.ADMINISTER,
        "Open or close a project",
        change_project,
        OfProject,
        ProjectView,
        body=ProjectChange,
        conditional=True,
        refusals=(Changed,),
    ),
    Route.of(
        "DELETE /projects/{project}",
        "project.remove",
        Verb.ADMINISTER,
        "Remove a project with all that it holds",
        remove_project,
        OfProject,
        RemovalView,
        statuses=(202,),
        conditional=True,
        refusals=(Changed,),
    ),
    Route.of(
        "GET /removals",
        "removal.list",
        Verb.GOVERN,
        "List removals of projects that have not ended",
        list_removals,
        Pages,
        RemovalPage,
    ),
    Route.of(
        "GET /removals/{id}",
        "removal.get",
        Verb.ENTER,
        "Tell how far the removal of a project is",
        get_removal,
        OfRemoval,
        RemovalView,
        refusals=(ProjectUnknown,),
    ),
)
