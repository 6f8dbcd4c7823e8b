"""Tags that are derived: an image is cloned, retagged or begun from a base, with no byte copied."""

from typing import Annotated, Any

from msgspec import Meta

from auth.identity import Identity
from auth.policy import Action, Deny, Verb
from registry.http.management.inputs import RepositoryParameter
from registry.http.management.repositories import OfTag
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import Terms, View
from registry.service.audit.events import Happening
from registry.service.derivations import Derived, Source
from registry.spec.conditions import Conditions, still
from registry.spec.errors import (
    Denied,
    DigestInvalid,
    DigestUnsupported,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameInvalid,
    PreconditionFailed,
    QuotaExceeded,
    TagInvalid,
)
from registry.spec.names import parse_reference
from registry.spec.problems import Invalid


class DerivationTerms(Terms, frozen=True, kw_only=True):
    """The image that a tag is to lead to."""

    repository: Annotated[
        RepositoryParameter,
        Meta(description="Where it is, which the caller may pull from.", examples=["base/python"]),
    ]
    reference: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="Its tag or its digest there.",
            examples=["4.1.0"],
        ),
    ]


class DerivedView(View, frozen=True, kw_only=True):
    """A tag that was derived."""

    name: str
    digest: Annotated[str, Meta(description="Where it points: the digest of its source.")]
    media_type: str
    manifest_bytes: int


async def source_of(
    call: Call[Any, Any], wanted: DerivationTerms, identity: Identity | None = None
) -> Source:
    """Return the image that is asked for, if the caller, or ``identity``, may pull it.

    ``ManifestUnknown`` else, as of one that is not there: who may not see it learns no more.
    """
    reference = parse_reference(wanted.reference)
    action = Action(Verb.PULL, wanted.repository, address=call.address)
    decision = await call.managed.policy.decide(identity or call.identity, action)
    if isinstance(decision, Deny):
        raise ManifestUnknown(reference)
    return Source(decision.place, reference)


async def derive_tag(call: Call[OfTag, DerivationTerms]) -> Reply:
    """Point a tag at an image that is there, in this repository or in another."""
    asked, wanted, version = call.input, call.body, call.version()
    derived = await call.managed.services.derivations.derive(
        await source_of(call, wanted),
        call.place,
        asked.tag,
        call.identity.name,
        call.allowed.role,
        Conditions() if version is None else still(version),
    )
    # Members learn of no repository elsewhere from the log, as with mounts.
    own = wanted.repository.project == asked.repository.project
    call.managed.trail.did(
        Happening.TAG_PUSHED,
        call.allowed.tenant,
        repository=asked.repository,
        subject=asked.tag,
        digest=derived.digest,
        media_type=derived.media_type,
        size=derived.size,
        source=wanted.repository if own else None,
    )
    return Reply(derived_view(asked.tag, derived), version=derived.digest)


def derived_view(tag: str, derived: Derived) -> DerivedView:
    """Describe what was derived."""
    return DerivedView(
        name=tag,
        digest=derived.digest,
        media_type=derived.media_type,
        manifest_bytes=derived.size,
    )


REFUSALS = (
    Denied,
    DigestInvalid,
    DigestUnsupported,
    Invalid,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameInvalid,
    QuotaExceeded,
    TagInvalid,
)
"""What a derivation may be refused with."""

ROUTES = (
    Route.of(
        "PUT /repositories/{repository}/tags/{tag}",
        "tag.derive",
        Verb.PUSH,
        "Point a tag at an image that is there, with no byte copied",
        derive_tag,
        OfTag,
        DerivedView,
        body=DerivationTerms,
        conditional=True,
        refusals=(*REFUSALS, PreconditionFailed),
    ),
)
