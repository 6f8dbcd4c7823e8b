"""Redis dies, is flushed, hangs, fails over, is full, or refuses: replicas go on, and come back."""

import asyncio
import re
import time
from pathlib import Path

import pytest
import trustme
from redis.exceptions import OutOfMemoryError

from registry.service.remembered import Remembered
from storage import _redis_primary
from storage._pace import PACE
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.memory import MemoryStore
from storage.ports import NotFound, PreconditionFailed
from storage.redis import RedisCoordinator
from storage.redis_address import RedisAccess, RedisAddress
from tests.storage.replicas import QUICK, TIMEOUT, Observer, make_old, replica, until

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "run-replicas.md"


@pytest.fixture
def store():
    return MemoryStore()


async def count_up(party, store, name="tag/a"):
    """Change a register as tags are changed; give its new value."""
    while True:
        try:
            async with party.change(name):
                try:
                    standing = await store.get(name)
                except NotFound:
                    await store.create(name, b"1")
                    return 1
                value = int(standing.data) + 1
                await store.replace(name, b"%d" % value, standing.version)
                return value
        except PreconditionFailed:
            continue


class Reader:
    """Reads the register through what it remembers."""

    def __init__(self, party, store):
        self.memory = Remembered(party.coordinator, 100_000, lambda _: 1)
        self.store = store

    async def read(self, name="tag/a"):
        async def load():
            return int((await self.store.get(name)).data)

        return await self.memory.get(name, load)


async def both_trust(*parties):
    for party in parties:
        await until(party.trusts)


async def quickly(work, seconds=20.0):
    start = time.monotonic()
    result = await work
    assert time.monotonic() - start < seconds
    return result


async def test_replicas_outlive_a_redis_that_is_killed_and_come_back_to_it(redis_servers, store):
    server = redis_servers.server()
    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        reader = Reader(other, store)
        value = await count_up(one, store)
        assert [await reader.read() for _ in range(3)] == [value] * 3
        assert reader.memory.hits == 2
        server.kill()
        for party in (one, other, one):
            value = await count_up(party, store)
            assert await reader.read() == value
        assert reader.memory.hits == 2
        assert ("alone", True) in one.observer.told
        assert await store.list("coordination/alone/")
        server.start()
        await both_trust(one, other)
        assert await reader.read() == value
        value = await count_up(one, store)
        assert [await reader.read() for _ in range(3)] == [value] * 3
        assert reader.memory.hits == 4
        assert [told for told in one.observer.told if told[0] == "alone"] == [
            ("alone", True),
            ("alone", False),
        ]
        assert not await store.list("coordination/alone/")
        assert one.observer.count("new_term") == 2


async def test_a_replica_that_is_cut_off_stops_the_others_from_trusting_what_they_remember(
    redis_servers, store
):
    """The others have their Redis, and would never hear of the change."""
    server, nowhere = redis_servers.server(), "redis://127.0.0.1:1"
    async with replica(store, server.url) as there:
        await both_trust(there)
        reader = Reader(there, store)
        value = await count_up(there, store)
        assert [await reader.read() for _ in range(2)] == [value] * 2
        async with replica(store, nowhere) as alone:
            assert await there.trusts("tag/a")
            for _ in range(3):
                value = await count_up(alone, store)
                assert await reader.read() == value
            assert not await there.trusts("tag/a")
            value = await count_up(there, store)
            assert await Reader(alone, store).read() == value
        # It died, or was ended: its notice lapses.
        await both_trust(there)
        assert await reader.read() == value


async def test_a_flush_in_the_middle_of_a_change_costs_nothing_but_speed(redis_servers, store):
    server = redis_servers.server()
    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        before = await other.stamps("tag/a")
        async with one.change("tag/a"):
            server.client().flushall()
            assert await other.stamps("tag/a", "b") == (None, None)
            await asyncio.sleep(3 * QUICK.renewal)
        start = time.monotonic()
        assert await quickly(count_up(other, store)) == 1
        assert await other.stamps("tag/a") == (None,)
        await both_trust(one, other)
        assert time.monotonic() - start > QUICK.flux / 2
        assert await one.stamps("tag/a") == await one.stamps("tag/a")
        assert await one.stamps("tag/a") != before
        assert one.observer.count("lock_lost") == 1
        assert ("alone", True) not in one.observer.told


async def test_a_redis_that_hangs_is_given_up_within_a_second(redis_servers, store):
    server = redis_servers.server()
    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        server.pause()
        try:
            assert await quickly(one.stamps("tag/a")) == (None,)
            start = time.monotonic()
            for _ in range(20):  # none waits for the time-out again
                assert await one.stamps("tag/a") == (None,)
            assert time.monotonic() - start < 20 * TIMEOUT / 2
            end = time.monotonic() + 3
            values = []
            while time.monotonic() < end:
                values.append(await quickly(count_up(one, store)))
                values.append(await quickly(count_up(other, store)))
            assert values == sorted(set(values))
            async with one.hold("a"):
                pass
        finally:
            server.go_on()
        await both_trust(one, other)
        assert one.observer.count("new_term") == 1, "it is the same Redis"


async def test_sentinels_name_another_primary_and_replicas_go_on_there(redis_servers, store):
    group = redis_servers.sentinels(down_after=500)
    options = {"timeout": 1.0}
    async with (
        replica(store, group.url, **options) as one,
        replica(store, group.url, **options) as other,
    ):
        await both_trust(one, other)
        reader = Reader(other, store)
        values = [await count_up(one, store)]
        primary = group.primary()
        primary.kill()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for party in (one, other):
                values.append(await count_up(party, store))
                assert await reader.read() == values[-1]
        assert values == sorted(set(values))
        await both_trust(one, other)
        assert await reader.read() == values[-1]
        assert one.observer.count("new_term") == 2


async def test_a_node_of_a_cluster_is_killed_and_replicas_go_on(redis_servers, store):
    cluster = redis_servers.cluster()
    async with replica(store, cluster.url, timeout=1.0) as one:
        await both_trust(one)
        assert await count_up(one, store) == 1
        with_key = [
            server for server in cluster.servers if server.client().execute_command("DBSIZE") > 0
        ]
        assert len(with_key) == 1, "all keys are in one hash slot"
        with_key[0].kill()
        assert await count_up(one, store) == 2
        assert one.coordinator.alone


async def test_a_full_redis_fails_nothing(redis_servers, store):
    server = redis_servers.server("--maxmemory-policy", "noeviction")
    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        client = server.client()
        client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            client.set("a", "b")
        for party in (one, other):
            value = await quickly(count_up(party, store))
            assert await Reader(other, store).read() == value
            async with party.hold("a"):
                pass
        assert await one.trusts("tag/a")
        client.flushall()
        await both_trust(one, other)
        assert ("alone", True) not in one.observer.told


async def test_without_rights_there_is_no_redis(redis_servers, store):
    server = redis_servers.server()
    server.client().execute_command("ACL", "SETUSER", "default", "-eval")
    async with replica(store, server.url) as one:
        assert await count_up(one, store) == 1
        assert await one.stamps("a") == (None,)
        reasons = {told[1] for told in one.observer.told if told[0] == "disconnected"}
        assert any("no permissions to run the 'eval' command" in reason for reason in reasons)


def rights():
    """The rule that the how-to page gives."""
    (rule,) = re.findall(r"```\nACL SETUSER (moorage.*?)```", HOW_TO.read_text(), re.DOTALL)
    return rule.split()


async def test_the_documented_rights_are_enough(redis_servers):
    server = redis_servers.server()
    server.client().execute_command("ACL", "SETUSER", *rights())
    server.client().execute_command("ACL", "SETUSER", "default", "off")
    access = RedisAccess(username="moorage", password="PASSWORD")
    url = RedisAddress.parse(f"{server.url}/0")
    async with RedisCoordinator(url, access, installation="test", pace=QUICK) as one:
        await one.wait_usable()
        await use_all(one)
    denied = RedisAccess(username="moorage", password="wrong")
    async with RedisCoordinator(url, denied, installation="test", pace=QUICK) as one:
        with pytest.raises(CoordinationUnavailable):
            async with one.hold("a"):
                pass


async def use_all(party):
    """Whatever it can do with Redis."""
    async with party.hold("a", wait=1), party.change("a", "b"):
        await asyncio.sleep(2 * QUICK.renewal)
        with pytest.raises(LeaseHeld):
            async with party.hold("a"):
                pass
    async with asyncio.timeout(10):
        while None in await party.stamps("a"):
            await asyncio.sleep(0.01)
    async with party.change("a"):
        assert await party.stamps("a") == (None,)
        await asyncio.sleep(0.02)


async def test_a_connection_by_tls_with_a_certificate_and_a_password(redis_servers, tmp_path):
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = ("--tls-cert-file", tmp_path / "cert.pem", "--tls-key-file", tmp_path / "key.pem")
    server = redis_servers.server(
        "--tls-ca-cert-file", str(tmp_path / "ca.pem"), *map(str, files), tls=True
    )
    address = RedisAddress.parse(f"rediss://{server.address}")
    access = RedisAccess(
        ca=str(tmp_path / "ca.pem"),
        certificate=str(tmp_path / "cert.pem"),
        key=str(tmp_path / "key.pem"),
    )
    async with RedisCoordinator(address, access, installation="test", pace=QUICK) as one:
        async with asyncio.timeout(10):
            await one.wait_usable()
        await use_all(one)
    for refused in (RedisAccess(ca=access.ca), RedisAccess(certificate=access.certificate)):
        observer = Observer()
        options = {"installation": "test", "pace": QUICK, "observer": observer}
        async with RedisCoordinator(address, refused, **options) as one:
            async with asyncio.timeout(10):
                while not observer.count("disconnected"):
                    await asyncio.sleep(0.01)
            assert not one.usable


async def test_a_replica_of_redis_is_not_taken_for_the_primary(redis_servers, store):
    primary = redis_servers.server("--repl-diskless-sync-delay", "0")
    copy = redis_servers.server("--replicaof", primary.host, str(primary.port))
    async with replica(store, copy.url) as one:
        assert not one.redis.connected
        assert any("not the primary" in str(told) for told in one.observer.told)


async def test_a_redis_that_is_too_old_says_so(redis_servers, store, monkeypatch):
    monkeypatch.setattr(_redis_primary, "_OLDEST", (99, 0))
    async with replica(store, redis_servers.server().url) as one:
        assert any("99.0 is the oldest that will do" in str(told) for told in one.observer.told)


async def test_a_store_that_can_not_judge_is_not_changed_without_redis(redis_servers, store):
    server = redis_servers.server()
    async with replica(store, server.url, conditional=False) as one:
        await both_trust(one)
        assert await count_up(one, store) == 1
        server.kill()
        with pytest.raises(CoordinationUnavailable, match="can't judge"):
            await count_up(one, store)
        async with one.hold("upload"):
            pass
        assert await one.stamps("tag/a") == (None,)
        assert not await store.list("coordination/alone/")
        server.start()
        await until(lambda: usable(one))
        assert await count_up(one, store) == 2


async def usable(party):
    return party.redis.usable


async def test_a_lease_lives_through_the_loss_of_redis(redis_servers, store):
    server = redis_servers.server()
    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        async with one.hold("a"):
            server.client().flushall()
            await asyncio.sleep(3 * QUICK.renewal)
            await until(lambda: usable(other))
            with pytest.raises(LeaseHeld):
                async with other.hold("a"):
                    pass


async def test_fences_grow_through_a_restart_and_without_redis(redis_servers, store):
    server = redis_servers.server()
    fences = []

    async def take(party):
        async with party.hold("a", wait=2) as lease:
            fences.append(lease.fence)

    async with replica(store, server.url) as one, replica(store, server.url) as other:
        await both_trust(one, other)
        await take(one)
        await take(other)
        server.kill()
        await take(one)
        await take(other)
        server.start()
        await both_trust(one, other)
        await take(one)
        await take(other)
    assert fences == sorted(set(fences))


async def test_two_that_name_different_redis_are_slow_and_right(redis_servers, store):
    """A mistake in the settings: each would trust a Redis that the other never tells."""
    urls = [redis_servers.server().url, redis_servers.server().url]
    async with replica(store, urls[0]) as one, replica(store, urls[1]) as other:
        readers = [Reader(one, store), Reader(other, store)]
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for party in (one, other):
                value = await count_up(party, store)
                assert [await reader.read() for reader in readers] == [value] * 2
        assert one.observer.count("new_term") + other.observer.count("new_term") > 3


async def test_a_table_is_found_by_whoever_comes_later(redis_servers, store):
    """A replica that starts, or starts again, may rely on Redis at once."""
    server, pace = redis_servers.server(), PACE.scaled(0.4)
    async with replica(store, server.url, pace=pace) as one:
        await make_old(one.redis)
        start = time.monotonic()
        async with replica(store, server.url, pace=pace) as other:
            await until(other.trusts)
        assert time.monotonic() - start < pace.flux
