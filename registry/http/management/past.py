"""The past of tags, and the way back to it."""

from auth.policy import Verb
from registry.http.management.repositories import OfTag
from registry.http.management.route import Call, Reply, Route
from registry.http.management.tag_views import (
    RollbackTerms,
    RolledBackView,
    TagHistoryView,
    TagStateView,
)
from registry.http.management.views import moment
from registry.service.audit.events import Happening
from registry.spec.errors import (
    Denied,
    DigestInvalid,
    DigestUnsupported,
    ManifestBlobUnknown,
    ManifestUnknown,
    PreconditionFailed,
    QuotaExceeded,
)
from registry.spec.problems import Invalid


async def get_history(call: Call[OfTag, None]) -> Reply:
    """Tell what a tag is and was, also if it has been deleted."""
    name = call.input.tag
    states = await call.managed.services.tags.histories.of(call.place, name)
    if not states:
        raise ManifestUnknown(name)
    items = tuple(
        TagStateView(digest=each.digest or None, since=moment(each.at), by=each.by)
        for each in states
    )
    return Reply(TagHistoryView(name=name, items=items), version=states[0].digest)


async def roll_back(call: Call[OfTag, RollbackTerms]) -> Reply:
    """Point a tag back at what it was."""
    asked, wanted = call.input, call.body
    done = await call.managed.services.rollbacks.roll_back(
        call.place,
        asked.tag,
        call.identity.name,
        call.allowed.role,
        to=wanted.to,
        steps=wanted.steps,
        expected=call.version(),
    )
    if done.digest != done.before:
        call.managed.trail.did(
            Happening.TAG_ROLLED_BACK,
            call.allowed.tenant,
            repository=asked.repository,
            subject=asked.tag,
            digest=done.digest,
            before=done.before or None,
        )
    view = RolledBackView(name=asked.tag, digest=done.digest, before=done.before or None)
    return Reply(view, version=done.digest)


ROUTES = (
    Route.of(
        "GET /repositories/{repository}/tags/{tag}/history",
        "tag.history",
        Verb.PULL,
        "Tell what a tag is and was",
        get_history,
        OfTag,
        TagHistoryView,
        refusals=(ManifestUnknown,),
    ),
    Route.of(
        "POST /repositories/{repository}/tags/{tag}/rollback",
        "tag.rollback",
        Verb.PUSH,
        "Point a tag back at what it was",
        roll_back,
        OfTag,
        RolledBackView,
        body=RollbackTerms,
        conditional=True,
        refusals=(
            Denied,
            DigestInvalid,
            DigestUnsupported,
            Invalid,
            ManifestBlobUnknown,
            ManifestUnknown,
            PreconditionFailed,
            QuotaExceeded,
        ),
    ),
)
