"""How collection stands, what it makes of a blob, and how far a scrub is."""

from typing import Annotated

from msgspec import Meta

from auth.policy import Verb
from registry.http.management.inputs import Nothing
from registry.http.management.repositories import OfDigest
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import Time, View, maybe
from registry.spec.errors import BlobUnknown, DigestInvalid, DigestUnsupported
from registry.spec.life import Life


class CollectionView(View, frozen=True, kw_only=True):
    """What waits for the collector, and how long things stay."""

    grace_seconds: float
    undelete_seconds: float
    due: Annotated[int, Meta(description="Candidates that are due. Each names up to 500 blobs.")]
    later: Annotated[int, Meta(description="Candidates that are to be looked at later.")]
    more: Annotated[bool, Meta(description="There are more than 10,000, which were counted.")]
    first: Annotated[Time | None, Meta(description="When the first of them is due, or was.")]


class ScrubView(View, frozen=True, kw_only=True):
    """The last scrub, or the one that is under way."""

    began: Annotated[Time | None, Meta(description="Null: there was none yet.")]
    ended: Annotated[Time | None, Meta(description="Null: it is under way, or was broken off.")]
    looked: Annotated[int, Meta(description="Blobs and manifests that were read.")]
    bytes: int
    damaged: Annotated[int, Meta(description="Those whose bytes were not what they should be.")]


class BlobView(View, frozen=True, kw_only=True):
    """A blob of a repository, and what becomes of it."""

    digest: str
    bytes: int | None
    state: Annotated[
        Life,
        Meta(
            description="`condemned`: nothing needs it, and it goes unless a client is told of it. "
            "`hidden`: it was deleted by itself."
        ),
    ]
    since: Annotated[Time | None, Meta(description="Of that state; null for a live one.")]
    until: Annotated[Time | None, Meta(description="It stays until then at least.")]
    needed_by: Annotated[
        tuple[str, ...],
        Meta(
            description="Manifests of the repository that need it, as far as the collector has "
            "read them: it does so before it condemns anything."
        ),
    ]
    more: Annotated[bool, Meta(description="There are more than those.")]


async def get_collection(call: Call[Nothing, None]) -> Reply:
    """Tell how collection stands."""
    standing = call.managed.services.standing
    found = await standing.queue()
    return Reply(
        CollectionView(
            grace_seconds=standing.terms.grace,
            undelete_seconds=standing.terms.window,
            due=found.due,
            later=found.later,
            more=found.more,
            first=maybe(found.first),
        )
    )


async def get_scrub(call: Call[Nothing, None]) -> Reply:
    """Tell how far a scrub is."""
    found = await call.managed.services.standing.scrub()
    return Reply(
        ScrubView(
            began=maybe(found.began or None),
            ended=maybe(found.ended or None),
            looked=found.looked,
            bytes=found.bytes,
            damaged=found.damaged,
        )
    )


async def get_blob(call: Call[OfDigest, None]) -> Reply:
    """Tell what becomes of a blob. Unlike a client's HEAD it keeps nothing from going."""
    found = await call.managed.services.standing.of(call.place, call.input.digest)
    return Reply(
        BlobView(
            digest=found.digest,
            bytes=found.size,
            state=found.life,
            since=maybe(found.since),
            until=maybe(found.until),
            needed_by=tuple(found.needed_by),
            more=found.more,
        )
    )


ROUTES = (
    Route.of(
        "GET /collection",
        "collection.get",
        Verb.GOVERN,
        "Tell what waits for the collector of garbage",
        get_collection,
        Nothing,
        CollectionView,
    ),
    Route.of(
        "GET /scrub",
        "scrub.get",
        Verb.GOVERN,
        "Tell how far a scrub is, and what it found",
        get_scrub,
        Nothing,
        ScrubView,
    ),
    Route.of(
        "GET /repositories/{repository}/blobs/{digest}",
        "blob.describe",
        Verb.DELETE,
        "Tell whether a blob is condemned, and what needs it",
        get_blob,
        OfDigest,
        BlobView,
        refusals=(BlobUnknown, DigestInvalid, DigestUnsupported),
    ),
)
