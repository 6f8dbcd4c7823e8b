"""The storm: three replicas collect without pause while clients push, mount, delete and push again.

Nothing that was acknowledged may break, nothing that was promised be taken back within the grace,
and an hour after the end nothing may be left that no manifest needs. ``make storm`` takes ten
minutes for each store (MOORAGE_STORM_SECONDS).
"""

import asyncio
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from conformance.stores import ACCESS_KEY, SECRET_KEY
from registry.service.collection.collector import Collector
from registry.service.collection.mark import Marker
from registry.service.services import Services
from registry.service.terms import Terms
from storage import keys
from storage.filesystem import FileStore
from storage.inprocess import InProcessCoordinator
from storage.s3 import S3Settings, S3Store
from tests.fixtures.programs import require_program
from tests.storm.clients import CraneClient, StormClient, blobs_of

SECONDS = float(os.environ.get("MOORAGE_STORM_SECONDS", "5"))
KINDS = ("push", "again", "mounted", "skipped", "derived", "crane copied", "wipe")
"""What has to have happened at all; a short storm on a slow machine goes on for a while for it."""

GRACE, CLIENTS = (6.0 if SECONDS > 60 else 2.0), 6

pytestmark = pytest.mark.timeout(60 + 2 * SECONDS + 240)

SETTINGS = {
    "COLLECTION__GRACE_SECONDS": str(GRACE),
    "COLLECTION__UNDELETE_SECONDS": "0",
    "COLLECTION__INTERVAL_SECONDS": "0.2",
    "COLLECTION__PER_SECOND": "0",
    "LOG__ACCESS": "false",
}


@pytest.fixture(params=["filesystem", "s3"])
def storm(request, registry_server, redis_servers, tmp_path):
    """Three replicas over one store and one Redis; and what opens that store."""
    settings = SETTINGS | {"COORDINATION__REDIS__URL": redis_servers.server().url}
    options = {"data": tmp_path / "data"}
    if request.param == "s3":
        minio = request.getfixturevalue("minio")
        settings |= minio.settings("storm")
        options = {}
    servers = registry_server.together(3, request.param, settings=settings, **options)

    @asynccontextmanager
    async def opened():
        if request.param == "filesystem":
            store = FileStore(tmp_path / "data")
            yield store, True
            store.close()
            return
        store = await S3Store.opened(
            S3Settings(
                bucket="storm",
                endpoint=minio.endpoint,
                access_key=ACCESS_KEY,
                secret_key=SECRET_KEY,
            )
        )
        yield store, store.honours.delete
        await store.close()

    return servers, opened


def test_nothing_acknowledged_breaks_and_no_garbage_is_left(storm, capsys):
    require_program("crane")
    servers, opened = storm
    addresses = [server.address for server in servers]
    clients = [StormClient(number, addresses, CLIENTS, GRACE) for number in range(CLIENTS)]
    for client in clients:
        client.peers = clients
    crane = CraneClient(addresses[0], clients)
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        running = [pool.submit(client.run, stop) for client in [*clients, crane]]
        began, going = time.monotonic(), [*clients, crane]
        while not any(each.done() for each in running):
            time.sleep(0.1)
            took, seen = time.monotonic() - began, sum((each.done for each in going), Counter())
            if took > SECONDS + 60 or (took > SECONDS and all(seen[kind] for kind in KINDS)):
                break
        stop.set()
        for each in running:
            each.result()
    time.sleep(GRACE)
    for each in [*clients, crane]:
        each.check()
    for client in clients:
        client.close()
    counted = sum((each.done for each in [*clients, crane]), Counter())
    collected = sum(server.log.read_text().count("removed blob") for server in servers)
    for server in servers:
        server.stop()
    left, size = asyncio.run(garbage(opened))
    with capsys.disabled():
        print(f"\nstorm of {SECONDS:.0f} s: {dict(sorted(counted.items()))}, removed {collected}")
    assert left == []
    assert size == 0
    assert collected or SECONDS < 60, "the collector was not at work"
    assert all(counted[kind] for kind in KINDS if SECONDS > 60)


async def garbage(opened) -> tuple[list[str], int]:
    """What an hour of collection and a full mark leave that no manifest needs."""
    ahead = 0.0
    terms = Terms(GRACE, 0.0, lambda: time.time() + ahead)
    async with opened() as (store, exact):
        coordinator = InProcessCoordinator()
        services = Services.over(store, coordinator, files=None, memory=0, exact=exact, terms=terms)
        settings = {"exact": exact}
        collector = Collector(store, coordinator, services.candidates, terms, **settings)
        for _ in range(10):
            ahead += 360
            assert not (await collector.collect()).failed
        assert await store.list(keys.CANDIDATES) == []
        unneeded = await unneeded_keys(store)
        histories = services.tags.histories
        marker = Marker(store, coordinator, services.candidates, terms, histories, **settings)
        marked = await marker.mark(look=True)
        assert marked.candidates == 0 or unneeded
        sizes = [(await store.stat(key)).size for key in unneeded]
        return unneeded, sum(sizes)


async def every(store, prefix) -> list[str]:
    found: list[str] = []
    while page := await store.list(prefix, after=found[-1] if found else "", limit=1000):
        found += page
    return found


async def unneeded_keys(store) -> list[str]:
    """Every key of content that no manifest needs: found without any of the collector's means."""
    found = await every(store, "repos/")
    needed: set[str] = set()
    held: set[str] = set()
    announced: set[str] = set()
    for key in found:
        if "!/manifests/" in key:
            manifest = (await store.get(key)).data.partition(b"\n")[2]
            blobs = blobs_of(manifest)
            place = key.split("!/")[0]
            held |= {f"{place}!/blobs/{blob}" for blob in blobs}
            held |= {f"{place}!/needed/{blob}/{key.rpartition('/')[2]}" for blob in blobs}
            needed |= blobs
            announced.add(key.replace("!/manifests/", "!/pushed/"))
    left = [key for key in found if ("!/blobs/" in key or "!/needed/" in key) and key not in held]
    left += [key for key in found if "!/pushed/" in key and key.rpartition("/")[0] not in announced]
    left += await every(store, "mounts/")
    left += [key for key in await every(store, "refs/") if key.split("/")[1] not in needed]
    named = set()
    for key in await every(store, "blobs/"):
        if keys.pointer_digest(key) not in needed:
            left.append(key)
        pointer = (await store.get(key)).data.partition(b"\n")[0]
        named.update(part for part in pointer.decode().split('"') if part.startswith("data/"))
    left += [key for key in await every(store, "data/") if key not in named]
    return left
