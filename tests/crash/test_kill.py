"""`kill -9` at random moments of pushes under load: what was acknowledged is there and whole.

`MOORAGE_CRASH_SECONDS` makes each test go on for longer than the few rounds of a normal run.
"""

import asyncio
import contextlib
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator

import pytest

from registry.spec.names import SessionId
from storage import keys
from storage.filesystem import FileStore
from storage.ports import ContentStore
from tests.fixtures.stores import s3_store, settings_of
from tests.oracle.content import digest_of, random_bytes, with_digest
from tests.oracle.load import Pusher, finish_uploads, pushing, verify, verify_names
from tests.oracle.wire import Client

SECONDS = float(os.environ.get("MOORAGE_CRASH_SECONDS", "0"))
ROUNDS = 4
CLIENTS = 4

pytestmark = pytest.mark.timeout(max(120, SECONDS * 3 + 120))


def rounds():
    """Give numbers for a few rounds, or for as long as was asked."""
    until = time.monotonic() + SECONDS
    number = 0
    while number < ROUNDS or time.monotonic() < until:
        yield number
        number += 1


def check(address: str, pushers: list[Pusher]) -> None:
    """Check all that the clients were told, through connections of their own (any worker)."""
    errors = [error for pusher in pushers for error in pusher.errors]
    assert not errors, errors[0]
    with Client(address, fresh=True) as client:
        for pusher in pushers:
            verify(client, pusher.ledger)
        verify_names(client)


@pytest.mark.parametrize(
    ("store", "workers"), [("filesystem", 1), ("filesystem", 2), ("s3", 1)], ids=str
)
def test_after_the_servers_death_all_that_was_acknowledged_is_whole(
    request, registry_server, store, workers
):
    """Each round: push, kill every process at once, start on the same data, compare, go on."""
    settings = request.getfixturevalue("minio").settings("killed") if store == "s3" else {}
    server = registry_server(store, workers=workers, settings=settings)
    chance = random.Random(workers)  # noqa: S311
    acknowledged = broken = resumed = 0
    starts = []
    for number in rounds():
        with pushing(server.address, CLIENTS, number, f"r{number}-") as pushers:
            time.sleep(chance.uniform(0.3, 1.3))
            server.kill()
            time.sleep(0.1)
        began = time.monotonic()
        server.start()
        starts.append(time.monotonic() - began)
        check(server.address, pushers)
        with Client(server.address, fresh=True) as client:
            for pusher in pushers:
                resumed += finish_uploads(client, pusher.ledger)
                verify(client, pusher.ledger)
        acknowledged += sum(pusher.ledger.acknowledged for pusher in pushers)
        broken += sum(min(pusher.ledger.broken, 1) for pusher in pushers)
    print(
        f"\n{store}, {workers} workers: {len(starts)} kills, {acknowledged} requests acknowledged, "
        f"{broken} clients cut off, {resumed} uploads resumed, "
        f"restart {max(starts):.2f} s at most"
    )
    assert acknowledged > (50 if store == "filesystem" else 20) * len(starts)
    assert broken > 0, "no kill met a push: this proves nothing"
    assert resumed > 0


def test_a_workers_death_costs_no_acknowledged_write_and_service_goes_on(registry_server):
    """One of two workers is killed again and again; clients go on with the other."""
    server = registry_server("filesystem", workers=2)
    chance = random.Random(3)  # noqa: S311
    killed = 0
    with pushing(server.address, CLIENTS, 77) as pushers:
        for _ in rounds():
            time.sleep(chance.uniform(0.3, 0.8))
            both = time.monotonic() + 40  # each death makes the supervisor wait longer
            while len(victims := server.worker_pids()) < 2:
                assert time.monotonic() < both, "a worker is not started anew"
                time.sleep(0.05)
            os.kill(chance.choice(victims), signal.SIGKILL)
            killed += 1
            with Client(server.address, fresh=True) as client:
                began = time.monotonic()
                while True:
                    try:
                        client.get("/v2/").expect(200)
                        break
                    except OSError:
                        assert time.monotonic() - began < 60, "no worker serves"
        time.sleep(0.5)
    check(server.address, pushers)
    with Client(server.address, fresh=True) as client:
        resumed = sum(finish_uploads(client, pusher.ledger) for pusher in pushers)
        for pusher in pushers:
            verify(client, pusher.ledger)
    acknowledged = sum(pusher.ledger.acknowledged for pusher in pushers)
    print(f"\n{killed} workers killed, {acknowledged} requests acknowledged, {resumed} resumed")
    assert acknowledged > 100


def test_an_upload_goes_on_with_another_worker_after_its_own_was_killed(registry_server):
    """C1: POST, PATCH and PUT on connections of their own, with a kill between any two."""
    server = registry_server("filesystem", workers=2)
    data = random_bytes(0, 900_000)
    client = Client(server.address, fresh=True)

    def patient(method: str, target: str, headers=(), body=None):
        for _ in range(50):
            try:
                return client.request(method, target, headers, body)
            except OSError:
                time.sleep(0.05)
        pytest.fail("no worker answers")

    location = patient("POST", "/v2/a/b/blobs/uploads/").expect(202)["Location"]
    for at in range(0, 900_000, 300_000):
        os.kill(random.Random(at).choice(server.worker_pids()), signal.SIGKILL)  # noqa: S311
        offset = 0 if at == 0 else int(patient("GET", location).expect(204)["Range"][2:]) + 1
        assert offset == at
        span = ("Content-Range", f"{at}-{at + 299_999}")
        patient("PATCH", location, [span], data[at : at + 300_000]).expect(202)
    patient("PUT", with_digest(location, digest_of(data)), body=b"").expect(201)
    assert patient("GET", f"/v2/a/b/blobs/{digest_of(data)}").expect(200).body == data


def test_a_kill_in_the_middle_of_a_body_leaves_nothing_half_written(registry_server):
    """The bytes of a blob under way are never readable, whatever moment the kill comes at."""
    server = registry_server("filesystem", workers=1)
    for number in range(3):
        data = random_bytes(number, 8_000_000)
        digest = digest_of(data)
        with Client(server.address) as client, client.connect() as connection:
            location = client.post("/v2/a/b/blobs/uploads/").expect(202)["Location"]
            target = with_digest(location, digest)
            connection.send(connection.head("PUT", target, [("Content-Length", str(len(data)))]))
            connection.send(data[: 2_000_000 * (number + 1)])
            server.kill()
        server.start()
        with Client(server.address) as client:
            client.get(f"/v2/a/b/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
            reply = client.get(location)
            if reply.status == 404:
                continue
            offset = int(reply.expect(204)["Range"][2:]) + 1
            offset = 0 if offset == 1 else offset
            span = ("Content-Range", f"{offset}-{len(data) - 1}")
            client.put(target, span, body=data[offset:]).expect(201)
            assert client.get(f"/v2/a/b/blobs/{digest}").expect(200).body == data


@contextlib.asynccontextmanager
async def opened(store: str, place, bucket: str) -> AsyncIterator[ContentStore]:
    """The store of a registry that is dead."""
    if store == "s3":
        async with s3_store(settings_of(place, bucket=bucket)) as bucket_store:
            yield bucket_store
    else:
        files = FileStore(place, threads=2)
        yield files
        files.close()


@pytest.mark.parametrize("store", ["filesystem", "s3"])
def test_bytes_of_which_no_record_tells_are_swept(request, registry_server, tmp_path, store):
    """The process dies while the first request of a session brings its bytes."""
    place = request.getfixturevalue("minio") if store == "s3" else tmp_path
    settings = place.settings("unrecorded") if store == "s3" else {}
    server = registry_server(store, data=None if store == "s3" else tmp_path, settings=settings)

    async def left() -> list[str]:
        """What there is of content that is not finished."""
        if store == "filesystem":
            return [each.name for each in (tmp_path / "partial").iterdir()]
        async with opened(store, place, "unrecorded") as bucket:
            return [*await bucket._bucket.uploads(data, math.inf)]

    with Client(server.address) as client:
        location = client.post("/v2/demo/app/blobs/uploads/").expect(202)["Location"]
        data = keys.data(SessionId(location.partition("?")[0].rpartition("/")[2]))
        with client.connect() as slow:
            slow.send(slow.head("PATCH", location, [("Content-Length", "30000000")]))
            slow.send(random_bytes("left", 20_000_000))
            while not asyncio.run(left()):
                time.sleep(0.05)
            server.kill()

    async def sweep() -> None:
        assert len(await left()) == 1
        async with opened(store, place, "unrecorded") as content:
            assert list(await content.list(keys.UPLOADS)) == [], "there is no record"
            assert await content.sweep(3600) == 0
            assert await content.sweep(0) == 1
        assert await left() == []

    asyncio.run(sweep())
    server.start()
