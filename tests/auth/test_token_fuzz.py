"""Whatever is sent to the token service, its answer is a proper one, and never a 5xx."""

import asyncio
import base64
import contextlib
import json
import random

import pytest

from auth.roles import Role
from tests.auth.idp import issuing
from tests.auth.served import PASSWORD, World, served
from tests.fuzz.engine import mutate

BASIC = base64.b64encode(f"alice:{PASSWORD}".encode())
EXCHANGE = b"urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
JWT = b"urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"


def get(query, authorization=b""):
    head = b"Authorization: %b\r\n" % authorization if authorization else b""
    return b"GET /token?%b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n" % (query, head)


def post(form, path=b"/token"):
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
        % (path, len(form), form)
    )


@pytest.fixture
async def service(tmp_path):
    async with issuing() as idp:
        path = tmp_path / "a.toml"
        path.write_text(f'[auth.oidc.corp]\nissuer = "{idp.url}"\naudiences = ["moorage"]\n')
        world = World()
        world.roles["demo"]["group:corp/ml"] = Role.DEVELOPER
        async with served(files=[path], world=world) as running:
            running.idp = idp
            yield running


class Wire:
    """One connection after another, so that an answer that closes it ends nothing."""

    def __init__(self, service):
        self.address = service.url[7:].split(":")
        self.pair = None

    async def ask(self, data):
        if self.pair is None:
            self.pair = await asyncio.open_connection(*self.address)
        reader, writer = self.pair
        try:
            writer.write(data)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            return None
        status = int(head.split()[1])
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length:")
        )
        body = await reader.readexactly(length)
        if b"\r\nconnection: close\r\n" in head.lower():
            await self.close()
        return status, head, body

    async def close(self):
        if self.pair is not None:
            self.pair[1].close()
            with contextlib.suppress(ConnectionError):
                await self.pair[1].wait_closed()
        self.pair = None


async def fuzz(service, seeds, wrap, count, seed):
    rng = random.Random(seed)  # noqa: S311 -- repeatable on purpose
    wire = Wire(service)
    try:
        return await _asked(wire, seeds, wrap, count, rng)
    finally:
        await wire.close()


async def _asked(wire, seeds, wrap, count, rng):
    statuses = set()
    for _ in range(count):
        data = mutate(rng, seeds)
        answer = await wire.ask(wrap(data))
        if answer is None:
            continue
        status, head, body = answer
        statuses.add(status)
        assert status in (200, 400, 401, 404, 405, 413, 431), (status, data)
        found = json.loads(body) if body else {}
        if status != 200:
            assert found["errors"], data
        if status == 401:
            assert b"WWW-Authenticate: " in head, data
        assert PASSWORD.encode() not in body
    return statuses


def lines_cut(data):
    """A header's value ends at a line break; that is for the tests of the listener."""
    return data.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


async def test_forms(service):
    token = service.idp.token(groups=["ml"]).encode()
    seeds = [
        b"grant_type=password&username=alice&password=correct+horse+battery&scope=repository:demo:*",
        b"grant_type=refresh_token&refresh_token=offline-0&scope=registry:catalog:*",
        b"grant_type=%b&subject_token=%b&subject_token_type=%b&scope=a" % (EXCHANGE, token, JWT),
    ]
    assert await fuzz(service, seeds, post, 1200, 1) >= {200, 400, 401}


async def test_queries(service):
    seeds = [
        b"account=alice&client_id=docker&offline_token=true&service=moorage",
        b"scope=repository%3Ademo%2Fb%3Apush%2Cpull&scope=registry%3Acatalog%3A%2A&service=moorage",
        b"scope=project:demo:manage+repository(plugin):demo:*",
    ]

    def wrap(data):
        # What ends a request line is for the tests of the listener.
        clean = bytes(each for each in data if 0x21 <= each < 0x7F and each != 0x23)
        return get(clean, b"Basic " + BASIC)

    assert await fuzz(service, seeds, wrap, 800, 2) >= {200, 400}


async def test_authorization_headers(service):
    token = service.idp.token(groups=["ml"]).encode()
    own = (await service.get(auth=("alice", PASSWORD))).fields["token"].encode()
    seeds = [
        b"Basic " + BASIC, b"Bearer " + token, b"Bearer " + own,
        b"Basic " + base64.b64encode(b"a:b"),
        b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Basic " + base64.b64encode(b"x:" + token),
    ]  # fmt: skip

    def wrap(data):
        return get(b"scope=repository:demo/env:pull", lines_cut(data))

    assert await fuzz(service, seeds, wrap, 1000, 3) >= {200, 401}

    def api(data):
        return wrap(data).replace(b"/token?scope=repository:demo/env:pull", b"/v2/")

    assert await fuzz(service, seeds, api, 1000, 4) >= {200, 401}


async def test_revocations(service):
    seeds = [b"token=offline-0&token_type_hint=refresh_token", b"token=mrg_off_0_x.dXNlcjphbGljZQ"]
    assert await fuzz(service, seeds, lambda data: post(data, b"/token/revoke"), 300, 5) >= {
        200,
        400,
    }


async def test_hosts(service):
    """The one thing of a request that gets into a challenge."""
    seeds = [b"images.example.org:5000", b"[::1]:5000", b"127.0.0.1", b"my_registry"]

    def wrap(data):
        return b"GET /v2/ HTTP/1.1\r\nHost: %b\r\n\r\n" % lines_cut(data)

    assert await fuzz(service, seeds, wrap, 600, 6) >= {400, 401}
