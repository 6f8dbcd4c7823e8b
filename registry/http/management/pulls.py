"""The pull history: who pulled which tag last, and how often."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import PagesOfProject, RepositoryParameter
from registry.http.management.route import Call, Reply, Route, paged
from registry.http.management.views import Page, Time, View, moment
from registry.service.pulls.history import Pulled
from registry.spec.errors import NameUnknown


class PullsOfRepository(PagesOfProject, frozen=True, kw_only=True):
    """Of which repository of the project the pulls are asked for."""

    repository: RepositoryParameter


class PullView(View, frozen=True, kw_only=True):
    """How often a tag or a digest was pulled, and when last."""

    reference: Annotated[str, Meta(description="The tag or the digest that was asked for.")]
    count: Annotated[int, Meta(description="GET and HEAD requests of its manifest.")]
    last: Time
    by: Annotated[str, Meta(description="Who asked last.", examples=["robot:demo/ci"])]
    digest: Annotated[str, Meta(description="The manifest that the last one got.")]


class PullPage(Page, frozen=True, kw_only=True):
    """A page of the pull history of a repository, by reference."""

    items: tuple[PullView, ...]


async def list_pulls(call: Call[PullsOfRepository, None]) -> Reply:
    """List how often tags and digests were pulled. Those that are gone by now too."""
    asked = call.input
    if asked.repository.project != asked.project:
        raise NameUnknown
    place = call.within(asked.project, asked.repository)
    history = call.managed.services.pulls
    leaf = await history.page(place, asked.after, asked.limit)
    return paged(PullPage, leaf, _view, lambda each: each.reference)


def _view(pulled: Pulled) -> PullView:
    return PullView(
        reference=pulled.reference,
        count=pulled.count,
        last=moment(pulled.last),
        by=pulled.by,
        digest=pulled.digest,
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/repositories/{repository}/pulls",
        "repository.pulls",
        Verb.OPERATE,
        "List how often tags were pulled, and when last",
        list_pulls,
        PullsOfRepository,
        PullPage,
        refusals=(NameUnknown,),
    ),
)
