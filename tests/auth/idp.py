"""A real issuer of tokens: discovery and keys over HTTP, with real keys, and faults to order."""

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager

import jwt
from aiohttp import web

from tests.auth.keys import signing_key
from tests.oracle.serving import serving


class Issuer:
    """An issuer on this machine. What it publishes can be changed while it runs."""

    def __init__(self) -> None:
        self.url = ""
        self.keys = [signing_key("RS256")]
        self.asked = []
        self.status = 200
        self.delay = 0.0
        self.body = None
        self.redirect = ""
        self.discovery = {}
        self.headers = []

    def token(self, key=None, /, headers=None, **claims):
        """A token of this issuer; ``None`` leaves a claim out."""
        key = key or self.keys[-1]
        now = int(time.time())
        good = {
            "iss": self.url, "aud": "moorage", "sub": "alice", "iat": now, "exp": now + 300,
        } | claims  # fmt: skip
        payload = {name: value for name, value in good.items() if value is not None}
        return jwt.encode(
            payload,
            key.private,
            algorithm=key.algorithm,
            headers={"kid": key.kid} | (headers or {}),
        )

    async def answer(self, request):
        self.asked.append(request.path)
        self.headers.append(request.headers)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.redirect:
            return web.Response(status=302, headers={"Location": self.redirect})
        if self.body is not None:
            return web.Response(body=self.body, status=self.status)
        if request.path.endswith("/openid-configuration"):
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.discovery
        else:
            found = {"keys": [key.verifying.jwk() for key in self.keys]}
        return web.Response(body=json.dumps(found), status=self.status)


@asynccontextmanager
async def issuing(authority=None):
    """Run an issuer; with an authority it speaks TLS."""
    issuer = Issuer()
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    host = "localhost" if context else "127.0.0.1"
    async with serving(issuer.answer, host=host, tls=context) as issuer.url:
        yield issuer
