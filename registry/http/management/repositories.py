"""What projects hold: repositories, and their tags."""

from collections.abc import AsyncIterator
from typing import Any, Final

from auth.policy import Verb, Visible
from registry.http.management.inputs import (
    OfRepository,
    Pages,
    PagesOfProject,
    PagesOfRepository,
)
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import (
    DeletedPage,
    DeletedView,
    RepositoryPage,
    RepositoryView,
    TagPage,
    TagView,
    UndeleteBody,
    UndeletedView,
    moment,
)
from registry.service.audit.events import Happening
from registry.service.bounded import results
from registry.service.records import TagRecord
from registry.service.sizes import content_size
from registry.spec.conditions import Conditions, EntityTags
from registry.spec.digest import Digest
from registry.spec.errors import (
    Denied,
    DigestInvalid,
    DigestUnsupported,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
    PreconditionFailed,
    QuotaExceeded,
)
from registry.spec.names import Place, Tag
from registry.spec.pagination import Page

_READS: Final = 16


class OfDigest(OfRepository, frozen=True, kw_only=True):
    """What is asked of a manifest."""

    digest: Digest


class OfTag(OfRepository, frozen=True, kw_only=True):
    """What is asked of a tag."""

    tag: Tag


async def list_catalog(call: Call[Pages, None]) -> Reply:
    """List the repositories that the caller may pull from, of all projects."""
    seen = call.managed.policy.visible(call.identity, call.input.after, call.address)
    return await _repositories(call, seen)


async def list_repositories(call: Call[PagesOfProject, None]) -> Reply:
    """List the repositories of a project that the caller may pull from."""
    return await _repositories(call, visible(call, call.input.project))


async def _repositories(
    call: Call[Pages, None] | Call[PagesOfProject, None], seen: AsyncIterator[Visible]
) -> Reply:
    asked = call.input
    found = await call.managed.services.catalog.page(Page(asked.limit, asked.after), seen)
    after = found.repositories[-1] if found.more and found.repositories else ""
    items = tuple(RepositoryView(name=name) for name in found.repositories)
    return Reply(RepositoryPage(items=items, next=after or None), after=after)


async def visible(call: Call[Any, Any], project: str) -> AsyncIterator[Visible]:
    """The part of the catalog that is the project's, as far as the caller may see it."""
    async for part in call.managed.policy.visible(call.identity, project, call.address):
        if part.name in ("", project):
            # Without projects, places are names.
            yield Visible(project, part.place or Place(project), part.shows)
        return


async def list_tags(call: Call[PagesOfRepository, None]) -> Reply:
    """List the tags of a repository, with what they point at."""
    asked, tags = call.input, call.managed.services.tags
    page = await tags.page(call.place, Page(asked.limit, asked.after))

    async def view(name: str) -> TagView | None:
        try:
            record = await tags.resolve(call.place, Tag(name))
        except ManifestUnknown:  # it was deleted meanwhile
            return None
        return await _tag_view(call, name, record)

    found = await results(page.tags, view, at_once=_READS)
    after = page.tags[-1] if page.more and page.tags else ""
    return Reply(TagPage(items=tuple(filter(None, found)), next=after or None), after=after)


async def get_tag(call: Call[OfTag, None]) -> Reply:
    """Describe a tag."""
    name = call.input.tag
    record = await call.managed.services.tags.resolve(call.place, name)
    return Reply(await _tag_view(call, name, record), version=record.digest)


async def delete_tag(call: Call[OfTag, None]) -> Reply:
    """Delete a tag; what it points at stays."""
    version = call.version()
    match = None if version is None else EntityTags(strong=(f'"{version}"',))
    await call.managed.services.deletions.delete(
        call.place,
        call.input.tag,
        Conditions(match),
        call.identity.name,
        call.allowed.role,
    )
    asked = call.input
    call.managed.trail.did(
        Happening.TAG_DELETED, call.allowed.tenant, repository=asked.repository, subject=asked.tag
    )
    return Reply(status=204)


async def list_deleted(call: Call[PagesOfRepository, None]) -> Reply:
    """List the manifests that can be had back."""
    asked = call.input
    deleted = call.managed.services.deleted
    found, after = await deleted.page(call.place, asked.after, asked.limit)
    items = tuple(
        DeletedView(
            digest=each.digest,
            media_type=each.media_type,
            manifest_bytes=each.size,
            tags=tuple(each.tags),
            deleted=moment(each.at),
            until=moment(each.until),
            by=each.by,
        )
        for each in found
    )
    return Reply(DeletedPage(items=items, next=after or None), after=after)


async def undelete(call: Call[OfDigest, UndeleteBody]) -> Reply:
    """Have a deleted manifest back, with its tags."""
    asked = call.input
    reinstatements = call.managed.services.reinstatements
    tags = await reinstatements.undelete(call.place, asked.digest, call.identity.name)
    call.managed.trail.did(
        Happening.MANIFEST_UNDELETED,
        call.allowed.tenant,
        repository=asked.repository,
        subject=asked.digest,
        tags=" ".join(tags),
    )
    return Reply(UndeletedView(digest=asked.digest, tags=tuple(tags)))


async def _tag_view(
    call: Call[PagesOfRepository, None] | Call[OfTag, None], name: str, record: TagRecord
) -> TagView:
    try:
        size = await content_size(call.managed.services.manifests, call.place, record.target)
    except ManifestUnknown:
        size = None
    platforms = await call.managed.services.configs.platforms(call.place, record.target)
    return TagView(
        name=name,
        digest=record.digest,
        media_type=record.media_type,
        pushed=moment(record.at),
        by=record.by,
        version=record.version,
        manifest_bytes=record.size,
        content_bytes=size,
        platforms=platforms,
    )


ROUTES = (
    Route.of(
        "GET /repositories",
        "repository.catalog",
        Verb.CATALOG,
        "List the repositories of all projects that the caller may pull from",
        list_catalog,
        Pages,
        RepositoryPage,
    ),
    Route.of(
        "GET /projects/{project}/repositories",
        "repository.list",
        Verb.LIST,
        "List repositories",
        list_repositories,
        PagesOfProject,
        RepositoryPage,
    ),
    Route.of(
        "GET /repositories/{repository}/tags",
        "repository.tags",
        Verb.PULL,
        "List tags with their digests and sizes",
        list_tags,
        PagesOfRepository,
        TagPage,
        refusals=(NameUnknown,),
    ),
    Route.of(
        "GET /repositories/{repository}/tags/{tag}",
        "tag.get",
        Verb.PULL,
        "Describe a tag",
        get_tag,
        OfTag,
        TagView,
        refusals=(ManifestUnknown,),
    ),
    Route.of(
        "DELETE /repositories/{repository}/tags/{tag}",
        "tag.delete",
        Verb.DELETE,
        "Delete a tag",
        delete_tag,
        OfTag,
        statuses=(204,),
        conditional=True,
        refusals=(ManifestUnknown, PreconditionFailed, Denied),
    ),
    Route.of(
        "GET /repositories/{repository}/deleted",
        "repository.deleted",
        Verb.DELETE,
        "List the manifests that can be had back",
        list_deleted,
        PagesOfRepository,
        DeletedPage,
    ),
    Route.of(
        "POST /repositories/{repository}/deleted/{digest}",
        "repository.undelete",
        Verb.DELETE,
        "Have a deleted manifest back, with its tags",
        undelete,
        OfDigest,
        UndeletedView,
        body=UndeleteBody,
        refusals=(
            DigestInvalid,
            DigestUnsupported,
            ManifestUnknown,
            ManifestBlobUnknown,
            QuotaExceeded,
        ),
    ),
)
