"""Upload sessions on the wire: end-4, end-5, end-6, end-11, end-13, end-14."""

from functools import partial
from typing import Any

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from registry.http.answer import Answer
from registry.http.body import chunks
from registry.http.call import Call
from registry.http.limits import Limits
from registry.service.blobs import Blob
from registry.service.intake import Chunk
from registry.service.uploads import Progress
from registry.spec.digest import Digest
from registry.spec.names import RepositoryName
from registry.spec.ranges import ContentRange, upload_range
from registry.spec.requests import (
    AppendUpload,
    CancelUpload,
    FinishUpload,
    GetBlob,
    GetUpload,
    StartUpload,
    url_for,
)


async def start_upload(call: Call[StartUpload]) -> Answer:
    """Mount, take a whole blob, or open a session (end-11, end-4b, end-4a, end-4c)."""
    asked = call.request
    services = call.server.services
    if asked.mount is not None:
        blob = await _mount(call, asked.mount)
        if blob is not None:
            return _created(call, asked.repository, blob)
    uploads = services.uploads
    if asked.digest is not None:
        chunk = _chunk(call.http, call.server.limits)
        blob = await uploads.upload(call.place, call.identity.name, asked.digest, chunk)
        return _created(call, asked.repository, blob)
    progress = await uploads.start(call.place, call.identity.name, asked.algorithm or "sha256")
    return _open(202, asked.repository, progress)


async def _mount(call: Call[StartUpload], digest: Digest) -> Blob | None:
    """Take the blob from the repository that the client names, or from any of the same project."""
    blobs = call.server.services.blobs
    asked = call.request
    if asked.source is None:
        readable = partial(call.readable_sibling, digest=digest)
        return await blobs.mount_any(call.place, digest, readable)
    source = await call.readable(asked.source, digest)
    return None if source is None else await blobs.mount(call.place, digest, source)


async def get_upload(call: Call[GetUpload]) -> Answer:
    """Tell how far a session is (end-13)."""
    asked = call.request
    progress = await call.server.services.uploads.status(
        call.place, asked.session, call.identity.name
    )
    return _open(204, asked.repository, progress)


async def append_upload(call: Call[AppendUpload]) -> Answer:
    """Take a chunk (end-5)."""
    asked = call.request
    progress = await call.server.services.uploads.append(
        call.place,
        asked.session,
        call.identity.name,
        _chunk(call.http, call.server.limits),
    )
    return _open(202, asked.repository, progress)


async def finish_upload(call: Call[FinishUpload]) -> Answer:
    """Take the last chunk, if any, and close the session (end-6)."""
    asked = call.request
    blob = await call.server.services.uploads.finish(
        call.place,
        asked.session,
        call.identity.name,
        asked.digest,
        _chunk(call.http, call.server.limits),
    )
    return _created(call, asked.repository, blob)


async def cancel_upload(call: Call[CancelUpload]) -> Answer:
    """Drop a session (end-14)."""
    asked = call.request
    await call.server.services.uploads.cancel(call.place, asked.session, call.identity.name)
    return Answer(204)


def _chunk(http: BaseRequest, limits: Limits) -> Chunk:
    header = http.headers.get(hdrs.CONTENT_RANGE)
    content_range = ContentRange.parse(header) if header is not None else None
    length = http.content_length
    if length is None and not http.body_exists:
        length = 0
    return Chunk(chunks(http, limits), length, content_range)


def _open(status: int, repository: RepositoryName, progress: Progress) -> Answer:
    return Answer(
        status,
        (
            ("Location", url_for(GetUpload(repository, progress.session))),
            ("Range", upload_range(progress.offset)),
            ("Docker-Upload-UUID", progress.session),
        ),
    )


def _created(call: Call[Any], repository: RepositoryName, blob: Blob) -> Answer:
    return Answer(
        201,
        (
            ("Location", url_for(GetBlob(repository, blob.digest, head=False))),
            ("Docker-Content-Digest", blob.digest),
            *call.warnings(),
        ),
    )
