"""What a registry says that an import asks: it may be slow, or hostile."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from registry.http.origin import Origin
from registry.service.imports.importer import Importer
from registry.service.imports.source import SourceUnavailable, SourceUnknown
from registry.service.ingest import Ingest
from registry.spec.digest import Digest
from registry.spec.mediatype import OCI_MANIFEST
from registry.spec.names import Place, RepositoryName
from tests.backup.keeper import Registry
from tests.service.content import image

DEMO, CONFIG = RepositoryName("demo"), b"{}"
SECRET = b"of another project"


@asynccontextmanager
async def origin(handle):
    """An origin whose every request goes to ``handle``."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        async with Origin(f"http://127.0.0.1:{port}", repositories=["demo", "evil"]) as opened:
            yield opened
    finally:
        await runner.cleanup()


async def test_a_token_that_comes_in_two_pieces_is_whole():
    async def handle(request):
        if request.path == "/token":
            answer = web.StreamResponse()
            await answer.prepare(request)
            for part in (b'{"token": ', b'"a"}'):
                await answer.write(part)
                await asyncio.sleep(0.05)
            return answer
        if request.headers.get("Authorization") != "Bearer a":
            realm = f'Bearer realm="http://{request.host}/token",service="s"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        return web.json_response({"tags": ["v1"]})

    async with origin(handle) as source:
        assert await source.tags(DEMO) == ["v1"]


async def test_lists_and_manifests_are_not_looked_for_on_other_hosts():
    followed = []

    async def handle(request):
        if request.path == "/elsewhere":
            followed.append(request.path)
            return web.json_response({"tags": ["v1"]})
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with origin(handle) as source:
        with pytest.raises(SourceUnavailable, match="307"):
            await source.tags(DEMO)
        with pytest.raises(SourceUnavailable, match="307"):
            await source.manifest(DEMO, Digest.of(b""))
        assert followed == []
        async with source.blob(DEMO, Digest.of(b"")):
            assert followed == ["/elsewhere"]


async def test_a_list_without_an_end_is_given_up(monkeypatch):
    monkeypatch.setattr("registry.http.origin_client._PAGES", 5)
    asked = []

    async def handle(request):
        asked.append(request.path)
        link = f'</v2/demo/tags/list?last={len(asked)}>; rel="next"'
        return web.json_response({"tags": ["v1"]}, headers={"Link": link})

    async with origin(handle) as source:
        with pytest.raises(SourceUnavailable, match="does not end"):
            await source.tags(DEMO)
    assert len(asked) == 6


async def test_referrers_are_given_up_only_where_the_registry_does_not_know_them():
    statuses = [403, 200, 404]

    async def handle(_):
        return web.json_response({"manifests": []}, status=statuses.pop(0))

    async with origin(handle) as source:
        with pytest.raises(SourceUnknown, match="403"):
            await source.referrers(DEMO, Digest.of(b""))
        for _ in range(3):
            assert not await source.referrers(DEMO, Digest.of(b""))
    assert statuses == []


async def test_the_word_of_a_registry_is_no_right_to_what_is_here():
    """It says that it has the victim's blob, in every repository; its bytes are others."""
    manifest = json.loads(image(SECRET))
    blobs = {Digest.of(CONFIG): CONFIG, Digest.of(SECRET): b"x" * len(SECRET)}

    async def handle(request):
        _, kind, last = request.path.rsplit("/", 2)
        if kind == "tags":
            return web.json_response({"tags": ["v1"]})
        if kind == "manifests":
            return web.Response(body=image(SECRET), content_type=OCI_MANIFEST)
        if kind == "blobs":
            return web.Response(body=blobs[last])
        return web.Response(status=404)

    registry = Registry()
    await registry.push(Place("victim"), image(SECRET), SECRET, CONFIG, tag="v1")

    async def where(name):
        return Place(name)

    assert manifest["layers"][0]["digest"] == Digest.of(SECRET)
    async with origin(handle) as source:
        done = await Importer(
            registry.store,
            registry.coordinator,
            registry.services,
            Ingest(registry.store, registry.services.blobs),
            source,
            where,
        ).run()
    assert done.failed == 2
    for place, (_, _, found) in (await registry.content()).items():
        assert place == Place("victim") or SECRET not in found.values()
