"""A proxy before a store that speaks S3: it loses answers, refuses, stalls, cuts off, forgets.

    async with S3Proxy(minio.endpoint) as proxy:
        settings = dataclasses.replace(settings, endpoint=proxy.endpoint)
        proxy.fault(3, "lose")            # the third request from now on: done, but not answered

Faults are by the number of the request, or by what a function of the request says.
"""

import asyncio
import contextlib
import io
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Self

import aiohttp
from aiohttp import web
from yarl import URL

from conformance.stores import ACCESS_KEY, SECRET_KEY
from storage._s3_settings import S3Settings
from storage._s3_sign import signer
from tests.oracle.serving import serving

Kind = Literal["refuse", "lose", "slow", "deny", "hang", "cut", "gone", "done"]
"""
- ``refuse``: the connection is closed, nothing is done;
- ``lose``: it is done, and the connection is closed in place of the answer;
- ``slow``: 503 SlowDown, nothing is done;
- ``deny``: 403 AccessDenied, nothing is done;
- ``hang``: nothing is done, nor answered;
- ``cut``: the answer ends in the middle of its body;
- ``done``: nothing is done, but the answer is 204.
"""

_DROPPED = {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "content-length"}
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Fault:
    """What happens to the ``left``-th request that fits, and to ``times`` from there on."""

    fits: Callable[[web.BaseRequest], bool]
    kind: Kind
    left: int
    times: int


class S3Proxy:
    """Listens on a free loopback port. ``forgets``: names of headers that the store never sees."""

    def __init__(
        self, target: str, *, forgets: Iterable[str] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self._target = target
        self._forgets = {name.lower() for name in forgets}
        self._tls = tls
        self._faults: list[Fault] = []
        self.log: list[str] = []
        """Method and raw path with query of each request, in order."""
        self.headers: list[dict[str, str]] = []
        self.endpoint = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._signer = await signer(
            S3Settings(bucket="any", access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        )
        self._serving = serving(self._handle, tls=self._tls)
        self.endpoint = await self._serving.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._serving.__aexit__(None, None, None)
        await self._session.close()

    def fault(
        self,
        nth: int,
        kind: Kind,
        *,
        times: int = 1,
        fits: Callable[[web.BaseRequest], bool] = lambda _: True,
    ) -> None:
        """Do that to the nth request from now on that fits, and to the ones after it."""
        self._faults.append(Fault(fits, kind, nth, times))

    def mend(self) -> None:
        """No faults any more."""
        self._faults.clear()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.log.append(f"{request.method} {request.raw_path}")
        self.headers.append(dict(request.headers))
        kind = self._strikes(request)
        if kind in ("refuse", "gone"):
            return self._hang_up(request)
        if kind == "hang":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
            return self._hang_up(request)
        if kind in ("slow", "deny"):
            await _body(request)
            status, body = (503, _BUSY) if kind == "slow" else (403, _DENIED)
            return web.Response(status=status, body=body)
        if kind == "done":
            await _body(request)
            return web.Response(status=204)
        async with self._forward(request, await _body(request)) as answer:
            if kind == "lose":
                await answer.read()
                return self._hang_up(request)
            return await self._pass_on(request, answer, cut=kind == "cut")

    def _strikes(self, request: web.BaseRequest) -> Kind | None:
        for fault in self._faults:
            if not fault.fits(request):
                continue
            fault.left -= 1
            if fault.left <= 0:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault.kind
        return None

    def _hang_up(self, request: web.BaseRequest) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    @contextlib.asynccontextmanager
    async def _forward(self, request: web.BaseRequest, body: bytes):
        headers = dict(request.headers)
        url = self._target + request.raw_path
        if self._forgets or self._tls:
            headers = {
                name: value
                for name, value in headers.items()
                if name.lower() not in _DROPPED | self._forgets
            }
            headers = await self._signer.sign(request.method, url, headers, None)
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=io.BytesIO(body),
            allow_redirects=False,
        ) as answer:
            yield answer

    async def _pass_on(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, *, cut: bool
    ) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in ("transfer-encoding", "connection")
        }
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        body = await answer.read()
        await response.write(body[: len(body) // 2] if cut else body)
        if cut:
            await asyncio.sleep(0.02)  # what was written is on its way
            return self._hang_up(request)
        await response.write_eof()
        return response


async def _body(request: web.BaseRequest) -> bytes:
    return b"".join([data async for data in request.content.iter_any()])
