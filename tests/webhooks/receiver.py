"""A receiver of webhooks that is as well or as badly behaved as a test wants it to be."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.oracle.serving import serving


@dataclass
class Receiver:
    """Serves on a free loopback port in the test's own loop, and keeps what it got."""

    behave: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None
    tls: ssl.SSLContext | None = None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    serving: Any = None
    url: str = ""

    async def __aenter__(self) -> Self:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.read()
            self.got.append((dict(request.headers), body))
            if self.behave is not None:
                return await self.behave(request)
            return web.Response(status=204)

        self.serving = serving(answer, tls=self.tls)
        url = await self.serving.__aenter__()
        self.url = url.replace("127.0.0.1", "localhost") + "/hook"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.serving.__aexit__(None, None, None)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    async def until(self, count: int, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


def hangs(seconds: float = 60.0):
    async def behave(_request):
        await asyncio.sleep(seconds)
        return web.Response()

    return behave


def says(status: int, **headers: str):
    async def behave(_request):
        return web.Response(status=status, headers=headers)

    return behave
