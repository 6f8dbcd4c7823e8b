"""Reading request bodies: bounded, timed, and asked for only when they are wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from registry.http.limits import Limits
from registry.http.receive import receive_in_blocks
from registry.spec.errors import (
    BodyTooLarge,
    ManifestTooLarge,
    RegistryError,
    RequestTimeout,
    Unsupported,
)


async def chunks(request: BaseRequest, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as it comes. ``RequestTimeout`` from a client that stalls or trickles.

    ``Unsupported`` where it is coded for the way otherwise than in chunks (RFC 9112 §6.1): what is
    digested and stored is what the client has. A client that waits for ``100 Continue`` (RFC 9110
    §10.1.1) is told to go on by the first step: one that is refused before that never sends its
    layer.
    """
    if request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").lower() != "chunked":
        raise Unsupported("the body has a transfer coding: send it as it is, or in chunks")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    receive_in_blocks(request)
    content = request.content
    loop = asyncio.get_running_loop()
    came, waited = 0, 0.0
    while True:
        # Only the wait for the client counts, not the time that the store takes.
        began = loop.time()
        try:
            async with asyncio.timeout(limits.idle_seconds - waited):
                data = await content.readany()
        except TimeoutError:
            raise RequestTimeout from None
        except Exception:
            # The client is gone. What came before that and was not read yet counts all the same,
            # and the reader gives nothing while it has an error.
            content.set_exception(None)  # type: ignore[arg-type]
            left = content.read_nowait()
            if left:
                yield left
            raise
        if not data:
            return
        came += len(data)
        waited += loop.time() - began
        if came >= limits.slowest_bytes:
            came, waited = 0, 0.0
        yield data


async def manifest(request: BaseRequest, limits: Limits) -> bytes:
    """Return the whole of a manifest's body; ``ManifestTooLarge`` as soon as that is known."""
    return await whole(request, limits, limits.manifest_bytes, ManifestTooLarge)


async def whole(
    request: BaseRequest,
    limits: Limits,
    most: int,
    error: Callable[[int], RegistryError] = BodyTooLarge,
) -> bytes:
    """Return the whole body; ``error(most)`` as soon as it is known to be longer."""
    if (request.content_length or 0) > most:
        raise error(most)
    body = bytearray()
    async for data in chunks(request, limits):
        body += data
        if len(body) > most:
            raise error(most)
    return bytes(body)
