"""Whole repositories are deleted, and had back."""

from auth.policy import Verb
from registry.http.management.deletion_views import DeletionView, UndeletionBody, UndeletionView
from registry.http.management.inputs import OfRepository
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import moment
from registry.service.audit.events import Happening
from registry.spec.errors import Denied, NameUnknown, QuotaExceeded


async def delete_repository(call: Call[OfRepository, None]) -> Reply:
    """Delete a repository, with its manifests and tags."""
    name = call.input.repository
    repositories = call.managed.services.repositories
    done = await repositories.delete(call.place, call.identity.name, call.allowed.role)
    call.managed.trail.did(
        Happening.REPOSITORY_DELETED,
        call.allowed.tenant,
        repository=name,
        manifests=done.manifests,
        tags=done.tags,
        gone=str(done.gone).lower(),
    )
    return Reply(
        DeletionView(
            repository=name,
            manifests=done.manifests,
            tags=done.tags,
            gone=done.gone,
            since=moment(done.since),
        )
    )


async def undelete_repository(call: Call[OfRepository, UndeletionBody]) -> Reply:
    """Have back what was deleted of a repository."""
    name, since = call.input.repository, call.body.since
    after = 0.0 if since is None else since.timestamp()
    done = await call.managed.services.repositories.undelete(call.place, after, call.identity.name)
    call.managed.trail.did(
        Happening.REPOSITORY_UNDELETED,
        call.allowed.tenant,
        repository=name,
        manifests=done.manifests,
        tags=done.tags,
        lost=len(done.lost),
    )
    return Reply(
        UndeletionView(
            repository=name, manifests=done.manifests, tags=done.tags, lost=tuple(done.lost)
        )
    )


ROUTES = (
    Route.of(
        "DELETE /repositories/{repository}",
        "repository.delete",
        Verb.DELETE,
        "Delete a repository, with its manifests and tags",
        delete_repository,
        OfRepository,
        DeletionView,
        refusals=(NameUnknown, Denied),
    ),
    Route.of(
        "POST /repositories/{repository}/deleted",
        "repository.undelete-all",
        Verb.DELETE,
        "Have back what was deleted of a repository",
        undelete_repository,
        OfRepository,
        UndeletionView,
        body=UndeletionBody,
        refusals=(NameUnknown, QuotaExceeded),
    ),
)
