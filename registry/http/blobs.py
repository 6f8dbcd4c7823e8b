"""Blobs on the wire: end-2, end-10."""

from collections.abc import Sequence

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from registry.http.answer import Answer, Headers, Streamed
from registry.http.call import Call
from registry.http.send import send_file, send_pieces, send_relayed
from registry.service.blobs import Blob
from registry.spec.conditions import etag
from registry.spec.errors import PreconditionFailed
from registry.spec.mediatype import OCTET_STREAM
from registry.spec.ranges import ByteRange, content_range, parse_range
from registry.spec.requests import DeleteBlob, GetBlob
from storage.ports import RelayedReader

REDIRECT = "Moorage-Redirect"
"""With ``never`` in this header of a request, the bytes come from the registry itself."""


async def get_blob(call: Call[GetBlob]) -> Answer:
    """Answer GET and HEAD of a blob, or of one range of it (end-2)."""
    blobs = call.server.services.blobs
    blob = await blobs.find(call.place, call.request.digest)
    common = (
        ("Content-Type", OCTET_STREAM),
        ("Docker-Content-Digest", blob.digest),
        ("ETag", etag(blob.digest)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "max-age=31536000, immutable, private"),
    )
    conditions = call.conditions()
    if not conditions.check_read(blob.digest):
        raise PreconditionFailed(blob.digest)
    if conditions.not_modified(blob.digest):
        return Answer(304, common)
    wanted = _ranges(call, blob)
    target = await _elsewhere(call, blob, ranged=wanted is not None)
    if target is not None:
        kept = ("Docker-Content-Digest", blob.digest)
        return Answer(307, (kept, ("Location", target), ("Cache-Control", "no-store")))
    if wanted is None:
        return await _send(call, blob, 0, blob.size, 200, common)
    part = wanted[0]
    partial = (*common, ("Content-Range", content_range(part, blob.size)))
    return await _send(call, blob, part.start, part.end + 1, 206, partial)


def _ranges(call: Call[GetBlob], blob: Blob) -> Sequence[ByteRange] | None:
    """The one range to send, or none.

    Several ranges are answered with the whole content, which RFC 9110 §14.2 allows and
    containers/image accepts; so is a range whose If-Range no longer holds.
    """
    header = call.http.headers.get(hdrs.RANGE)
    if header is None or call.request.head:
        return None
    if_range = call.http.headers.get(hdrs.IF_RANGE)
    if if_range is not None and if_range.strip() != etag(blob.digest):
        return None
    wanted = parse_range(header, blob.size)
    return wanted if wanted is not None and len(wanted) == 1 else None


async def _elsewhere(call: Call[GetBlob], blob: Blob, *, ranged: bool) -> str | None:
    """Where the client is sent for the bytes, if anywhere.

    Never for HEAD, nor where a small answer is as quick as a redirect; nor where the store would
    answer otherwise than we do: to several ranges, and to If-Range, since its ETag is another.
    """
    redirects, headers = call.server.services.redirects, call.http.headers
    if redirects is None or call.request.head or blob.is_small:
        return None
    if headers.get(REDIRECT, "").strip().lower() == "never" or not redirects.apply_to(call.place):
        return None
    if hdrs.IF_RANGE in headers or (hdrs.RANGE in headers and not ranged):
        return None
    return await redirects.url(blob)


async def _send(
    call: Call[GetBlob], blob: Blob, start: int, end: int, status: int, headers: Headers
) -> Answer:
    length = end - start
    if call.request.head:
        return Answer(status, headers, length=length)
    blobs = call.server.services.blobs
    if blob.is_small:
        content = await blobs.read(blob)
        return Answer(status, headers, content[start:end])
    answer = Streamed(status, headers, length)
    idle = call.server.limits.idle_seconds
    if blobs.are_files and not _encrypted(call.http):
        async with blobs.file(blob) as file, answer.begun(call.http):
            await send_file(call.http, file, start, end, idle)
    else:
        async with blobs.open(blob, start, end) as reader, answer.begun(call.http):
            if isinstance(reader, RelayedReader) and not _encrypted(call.http):
                await send_relayed(call.http, reader, idle)
            await send_pieces(call.http, reader, idle)
    return answer


def _encrypted(http: BaseRequest) -> bool:
    """Whether the kernel can't send files to this client as they are."""
    return http.transport is None or http.transport.get_extra_info("ssl_object") is not None


async def delete_blob(call: Call[DeleteBlob]) -> Answer:
    """Take a blob out of the repository (end-10)."""
    await call.server.services.blobs.delete(call.place, call.request.digest)
    return Answer(202)
