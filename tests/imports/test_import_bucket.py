"""Imports from a bucket into another one of the same server, which copies; killed on the way.

The suite has a few layers; `make imports` has as many as 100 GB of environments have, and an
environment of 300 MB with its versions, which a real Distribution wrote.
"""

import asyncio
import os
import time

import pytest

from benchmarks.sides import DISTRIBUTION, distribution
from registry.service.bounded import each
from registry.service.imports.tree import TreeSource
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage import keys
from storage.s3 import S3Settings, S3Store
from tests.backup.keeper import Registry
from tests.clients.content import LayoutWriter
from tests.fixtures.programs import require_program
from tests.fixtures.stores import s3_store, settings_of
from tests.hopsworks import packages
from tests.hopsworks.packages import LIBRARIES
from tests.imports.old import LAYERS, BucketTree, killed
from tests.imports.test_import_registries import (
    crane,
    imported,
    listed,
    only_small_ones_are_fetched,
    s3_file,
)
from tests.imports.test_import_tree import NESTED, repositories_go_on
from tests.service.content import image

SIZE = 300_000_000 if "MOORAGE_IMPORT_LAYERS" in os.environ else 3_000_000


async def held(store: S3Store, wanted) -> set[Digest]:
    """All blobs of these repositories: each is read, and compared with its digest."""
    registry, found = Registry(store), set()

    async def look(place: Place) -> None:
        assert wanted[place] == {
            tag: (await registry.services.tags.resolve(place, tag)).target for tag in wanted[place]
        }
        for digest in await registry.members(place):
            await registry.read(place, digest)
            found.add(digest)

    await each(wanted, look, at_once=8)
    return found


async def some_came(store):
    """Whether a blob has come."""
    return await store.list(keys.POINTERS, limit=1)


async def listed_there(store):
    """The repositories that are there."""
    return await store.list(keys.CATALOG, limit=LAYERS)


def on(settings: S3Settings, work):
    """What ``work`` makes of a store over the bucket."""

    async def run():
        async with s3_store(settings) as store:
            return await work(store)

    return asyncio.run(run())


@pytest.fixture
def buckets(minio, tmp_path):
    """An old bucket and a new one, and the arguments that import from one into the other."""
    old, new = settings_of(minio), settings_of(minio)
    command = ("tree", s3_file(old, tmp_path / "old.toml", old.bucket))
    return old, new, (*command, "-c", s3_file(new, tmp_path / "new.toml", new.bucket))


def test_an_import_from_a_bucket_that_is_killed_again_and_again_goes_on(buckets, capsys):
    old, new, command = buckets
    tree = BucketTree()
    wanted = tree.environments(LAYERS)
    objects = on(old, tree.put)
    ran = []
    for part in (5, 3):
        ran.append(killed(LAYERS // part, *command))
        assert on(new, some_came)
        assert len(on(new, listed_there)) < len(wanted)
    began = time.monotonic()
    done = imported(capsys, *command)
    seconds = time.monotonic() - began
    assert (done["failed"], done["repositories"]) == (0, len(wanted))
    assert done["blobs"] <= LAYERS + 1
    assert len(on(new, lambda store: held(store, wanted))) == LAYERS + 1
    read = time.monotonic() - began - seconds
    began = time.monotonic()
    again = imported(capsys, *command)
    assert (again["repositories"], again["manifests"], again["blobs"]) == (len(wanted), 0, 0)
    print(
        f"{objects} objects, {LAYERS} layers of {len(wanted)} repositories; killed after ", end=""
    )
    print(f"{ran[0]:.1f} and {ran[1]:.1f} s, the last run took {seconds:.1f} s; ", end="")
    print(f"all read in {read:.1f} s; imported once more in {time.monotonic() - began:.1f} s")


def test_repositories_in_a_bucket_go_on_behind_any_of_them(minio):
    tree, settings = BucketTree(), settings_of(minio)
    for name in NESTED:
        tree.push(name, image(b"a layer"), b"a layer", tag="v1")
    on(settings, tree.put)
    on(settings, lambda store: repositories_go_on(TreeSource(store, "old")))


@pytest.fixture
def distributed(minio, tmp_path):
    """The bucket that Distribution keeps an environment in: a base, and versions of it."""
    require_program("crane")
    if not DISTRIBUTION.exists():
        pytest.skip("not installed: registry")
    settings = settings_of(minio)
    side = distribution(tmp_path, minio, name=settings.bucket)
    try:
        address = f"{side.endpoint.host}:{side.endpoint.port}"
        layout = LayoutWriter(tmp_path / "base").packed(packages.base(tmp_path, SIZE))
        tag = f"{address}/hopsworks-base/python:4.1.0"
        crane("push", str(layout.directory), tag)
        for number, library in enumerate(LIBRARIES):
            layer = tmp_path / f"{number}.tar"
            library.layer(layer, f"{number}\n")
            base, tag = tag, f"{address}/demo:1-4.1.0.{number}"
            crane("append", "-b", base, "-f", str(layer), "-t", tag)
        yield settings, listed(address)
    finally:
        side.stop()


def test_an_environment_that_distribution_keeps_is_copied_also_where_that_is_killed(
    distributed, minio, tmp_path, capsys, monkeypatch, registry_server
):
    old, wanted = distributed
    new = settings_of(minio)
    target = s3_file(new, tmp_path / "new.toml", new.bucket)
    command = ("tree", s3_file(old, tmp_path / "old.toml", old.bucket), "-c", target)
    for blobs in (3, 8):
        killed(blobs, *command)

    only_small_ones_are_fetched(monkeypatch)
    began = time.monotonic()
    done = imported(capsys, *command)
    seconds = time.monotonic() - began
    assert (done["repositories"], done["failed"]) == (2, 0)
    server = registry_server("s3", arguments=["-c", target])
    assert listed(server.address) == wanted
    for name, tag in wanted:  # crane compares each layer with its digest
        crane("pull", f"{server.address}/{name}:{tag}", str(tmp_path / "pulled.tar"))
    print(f"{len(wanted)} images on a base of {SIZE} bytes; the last run took {seconds:.1f} s")
