"""Each store says which layout it has, and is refused to who does not know it."""

import asyncio
import contextlib
import dataclasses

import pytest

from storage._layout import MARKER
from storage.filesystem import FileStore
from storage.s3 import S3Store
from storage.testing import LayoutContract
from tests.cli.test_cli import moorage
from tests.fixtures.stores import s3_store, settings_of
from tests.oracle.s3_proxy import S3Proxy


class _Directory:
    def __init__(self, path):
        self.path = path

    @contextlib.asynccontextmanager
    async def open(self):
        store = FileStore(self.path)
        try:
            yield store
        finally:
            store.close()

    async def marker(self):
        return (self.path / MARKER).read_bytes()

    async def mark(self, data):
        if data is None:
            (self.path / MARKER).unlink()
        else:
            (self.path / MARKER).write_bytes(data)


class _InBucket:
    """``other`` is a store in the same bucket, so that the marker can be got at."""

    def __init__(self, settings, other):
        self.settings = settings
        self.bucket = other._bucket

    @contextlib.asynccontextmanager
    async def open(self):
        store = await S3Store.opened(self.settings)
        try:
            yield store
        finally:
            await store.close()

    async def marker(self):
        return (await self.bucket.get(MARKER)).data

    async def mark(self, data):
        if data is None:
            await self.bucket.delete(MARKER)
        else:
            await self.bucket.put(MARKER, [data])


@contextlib.asynccontextmanager
async def in_bucket(server, **more):
    settings = settings_of(server, **more)
    async with s3_store(settings) as other:
        place = _InBucket(settings, other)
        await place.mark(None)
        yield place


class TestDirectory(LayoutContract):
    @pytest.fixture
    def place(self, tmp_path):
        return _Directory(tmp_path)


class TestMinIO(LayoutContract):
    @pytest.fixture
    async def place(self, minio):
        async with in_bucket(minio) as place:
            yield place


class TestWithoutConditions(LayoutContract):
    """A look and then a write: whoever is first writes what the others would."""

    @pytest.fixture
    async def place(self, minio):
        async with (
            S3Proxy(minio.endpoint, forgets=("If-Match", "If-None-Match")) as proxy,
            in_bucket(minio, endpoint=proxy.endpoint) as place,
        ):
            yield place


@pytest.mark.parametrize("kind", ["filesystem", "minio"])
async def test_a_newer_layout_is_refused_by_a_registry_that_starts(request, tmp_path, kind):
    env = {"MOORAGE__SERVER__ADDR": "127.0.0.1:0", "MOORAGE__STORAGE__PATH": str(tmp_path)}
    async with contextlib.AsyncExitStack() as stack:
        if kind == "minio":
            server = request.getfixturevalue("minio")
            place = await stack.enter_async_context(in_bucket(server))
            env |= {f"MOORAGE__{k}": v for k, v in server.settings(place.bucket.name).items()}
        else:
            place = _Directory(tmp_path)
        await place.mark(b'{"layout": 2}')
        done = await asyncio.to_thread(moorage, "serve", env=env)
    assert done.returncode == 3
    assert "its layout has version 2, and this release knows 1" in done.stderr


async def test_stores_below_prefixes_of_one_bucket_have_a_marker_each(minio):
    settings = settings_of(minio)
    for prefix in ("a/", "b/"):
        async with s3_store(dataclasses.replace(settings, prefix=prefix)):
            pass
    async with s3_store(settings) as store:
        found = (await store._bucket.page("")).keys
    assert found == [f"a/{MARKER}", f"b/{MARKER}", MARKER]
