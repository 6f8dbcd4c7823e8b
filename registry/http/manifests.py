"""Manifests on the wire: end-3, end-7, end-9, end-12."""

import msgspec
from aiohttp import hdrs

from registry.http.answer import Answer, next_page
from registry.http.body import manifest
from registry.http.call import Call, joined
from registry.service.manifests import Push
from registry.spec.conditions import etag
from registry.spec.errors import PreconditionFailed
from registry.spec.mediatype import OCI_INDEX, accepts
from registry.spec.pagination import Page
from registry.spec.requests import (
    DeleteManifest,
    GetManifest,
    ListReferrers,
    PutManifest,
    url_for,
)


async def get_manifest(call: Call[GetManifest]) -> Answer:
    """Answer GET and HEAD of a manifest by tag or digest (end-3)."""
    services, reference = call.server.services, call.request.reference
    stored = await call.manifests.get(call.place, reference)
    headers = [
        ("Content-Type", stored.media_type),
        ("Docker-Content-Digest", stored.digest),
        ("ETag", etag(stored.digest)),
    ]
    conditions = call.conditions()
    if not conditions.check_read(stored.digest):
        raise PreconditionFailed(stored.digest)
    services.pulls.note(call.place, reference, stored.digest, call.identity.name)
    if conditions.not_modified(stored.digest):
        return Answer(304, headers)
    accept = joined(call.http.headers, hdrs.ACCEPT)
    if accept is not None and not accepts(accept, stored.media_type):
        # Sent all the same: a platform that accepts Docker's types only asks for the digest.
        headers.append(("Warning", f'299 - "this manifest is stored as {stored.media_type}"'))
    return Answer(200, headers, stored.data)


async def put_manifest(call: Call[PutManifest]) -> Answer:
    """Store a manifest and point tags at it (end-7)."""
    asked = call.request
    http = call.http
    body = await manifest(http, call.server.limits)
    pushed = await call.manifests.put(
        call.place,
        Push(
            asked.reference,
            asked.tags,
            body,
            http.headers.get(hdrs.CONTENT_TYPE),
            call.conditions(),
        ),
        call.identity.name,
        call.role,
    )
    headers = [
        ("Location", url_for(GetManifest(asked.repository, pushed.digest, head=False))),
        ("Docker-Content-Digest", pushed.digest),
        ("ETag", etag(pushed.digest)),
    ]
    if pushed.subject is not None:
        headers.append(("OCI-Subject", pushed.subject))
    headers.extend(("OCI-Tag", tag) for tag in asked.tags)
    headers.extend(call.warnings())
    answer = Answer(201, headers)
    answer.told = {"media_type": pushed.media_type, "size": len(body)}
    answer.names = pushed.blobs
    return answer


async def delete_manifest(call: Call[DeleteManifest]) -> Answer:
    """Delete a tag, or a manifest and its tags (end-9)."""
    asked = call.request
    await call.server.services.deletions.delete(
        call.place, asked.reference, call.conditions(), call.identity.name, call.role
    )
    return Answer(202)


async def list_referrers(call: Call[ListReferrers]) -> Answer:
    """List a subject's referrers as an image index (end-12)."""
    asked = call.request
    descriptors, last = await call.server.services.manifests.referrers_of(
        call.place, asked.digest, asked.artifact_types, asked.page
    )
    headers = [("Content-Type", OCI_INDEX)]
    if asked.artifact_types:
        headers.append(("OCI-Filters-Applied", "artifactType"))
    if last is not None:
        following = msgspec.structs.replace(asked, page=Page(asked.page.n, last))
        headers.append(next_page(following))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    return Answer(200, headers, msgspec.json.encode(index, enc_hook=str))
