"""Signing keys: replicas agree on them, and they change without a restart."""

import asyncio
import base64
import json
import logging

import pytest

from auth import keyring
from auth.keyring import PUBLISH, KeptKey, KeptKeys, KeyFiles, KeysUnavailable
from auth.keys import KeyUnusable
from registry.service.signing_keys import SigningKeys
from storage import keys
from storage.memory import MemoryStore
from storage.testing.faults import FaultyStore
from tests.auth.keys import signing_key

DAY = 86_400


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1_700_000_000.0

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(keyring, "time", clock)
    return clock


@pytest.fixture
def store():
    return MemoryStore()


def ring(store, algorithm="ES256", **changes):
    options = {"rotate_seconds": 30 * DAY, "verify_seconds": 8 * DAY} | changes
    return KeptKeys(SigningKeys(store), algorithm=algorithm, **options)


async def loaded(store, *args, **changes):
    made = ring(store, *args, **changes)
    await made.reload()
    return made


async def test_there_is_no_key_before_the_first_look(store):
    with pytest.raises(KeysUnavailable):
        ring(store).current()


async def test_the_first_process_makes_a_key_and_the_next_finds_it(store):
    one, two = await loaded(store), await loaded(store)
    assert one.current().signing.kid == two.current().signing.kid
    assert await store.list("secrets/tokens/") == ["secrets/tokens/0000000001"]


async def test_replicas_that_start_at_once_agree_on_one_key(store):
    rings = [ring(store) for _ in range(8)]
    await asyncio.gather(*(each.reload() for each in rings))
    await asyncio.gather(*(each.reload() for each in rings))
    assert len({each.current().signing.kid for each in rings}) == 1
    assert len(await store.list("secrets/tokens/")) == 1


async def test_the_set_is_the_same_object_until_it_changes(store, clock):
    one = await loaded(store)
    found = one.current()
    clock.now += DAY
    await one.reload()
    assert one.current() is found


async def test_a_key_is_published_before_it_signs_and_verifies_after(store, clock):
    one = await loaded(store)
    old = one.current().signing.kid
    clock.now += 30 * DAY
    await one.reload()
    published = one.current()
    assert published.signing.kid == old
    assert len(published.verifying) == 2
    clock.now += PUBLISH
    await one.reload()
    assert one.current().signing.kid != old
    assert set(one.current().verifying) == set(published.verifying)
    clock.now += 8 * DAY
    await one.reload()
    assert old in one.current().verifying
    clock.now += 1
    await one.reload()
    assert list(one.current().verifying) == [one.current().signing.kid]
    assert await store.list("secrets/tokens/") == ["secrets/tokens/0000000002"]


async def test_every_replica_knows_a_key_before_it_signs_anything(store, clock):
    """Rotation seen by replicas that look at different moments: no token is ever unknown."""
    one, two = await loaded(store), await loaded(store)
    for minute in range(60 * 24 * 90 // 30):
        clock.now += 1800
        await (one if minute % 2 else two).reload()
        for signs, verifies in ((one, two), (two, one)):
            assert signs.current().signing.kid in verifies.current().verifying
    assert int(keys.last_segment((await store.list("secrets/tokens/"))[-1])) >= 3


async def test_keys_can_be_rotated_by_hand(store, clock):
    one = await loaded(store)
    old = one.current().signing.kid
    assert await one.rotate() == 2
    assert one.current().signing.kid == old
    clock.now += PUBLISH
    await one.reload()
    assert one.current().signing.kid != old


async def test_a_key_that_was_removed_is_gone_and_the_last_one_is_replaced(store):
    one = await loaded(store)
    lost = one.current().signing.kid
    await store.delete(keys.signing_key(1))
    await one.reload()
    assert lost not in one.current().verifying
    assert one.current().signing


async def test_another_algorithm_is_a_new_key_and_the_old_one_goes_on_verifying(store, clock):
    one = await loaded(store)
    two = await loaded(store, "EdDSA")
    assert two.current().signing.algorithm == "EdDSA"
    assert one.current().signing.kid in two.current().verifying
    for _ in range(3):
        clock.now += DAY
        await one.reload()
        await two.reload()
    assert one.current().signing.algorithm == "ES256"
    assert len(await store.list("secrets/tokens/")) == 2


async def test_keys_are_kept_encrypted_where_there_is_a_password(store):
    one = await loaded(store, password="pass")
    data = (await store.get(keys.signing_key(1))).data
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in base64.b64decode(json.loads(data)["pem"])
    two = await loaded(store, password="pass")
    assert two.current().signing.kid == one.current().signing.kid


async def test_a_key_with_another_password_is_told_and_not_used(store, caplog):
    await loaded(store, password="old")
    with caplog.at_level(logging.ERROR, "moorage.auth"):
        two = await loaded(store, password="new")
    assert "signing key 1 is not used" in caplog.text
    assert two.current().signing


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b'{"made": 1, "pem": "!"}'])
async def test_a_damaged_record_is_told_and_the_old_keys_stay(store, data, caplog):
    one = await loaded(store)
    found = one.current()
    await store.put(keys.signing_key(9), data)
    with caplog.at_level(logging.ERROR, "moorage.auth"):
        await one.reload()
    assert one.current() is found
    assert "can't be read" in caplog.text


@pytest.mark.parametrize("method", ["list", "get", "create"])
async def test_while_the_store_is_away_the_old_keys_stay(store, clock, method, caplog):
    faulty = FaultyStore(store)
    one = await loaded(faulty)
    found = one.current()
    clock.now += 60 * DAY
    faulty.fail(method=method)
    with caplog.at_level(logging.ERROR, "moorage.auth"):
        await one.reload()
    assert one.current() is found


async def test_keys_come_once_the_store_does(store):
    faulty = FaultyStore(store)
    faulty.fail(method="list")
    one = ring(faulty)
    task = asyncio.create_task(keyring.watch(one, 60))
    await one.reload()
    with pytest.raises(KeysUnavailable):
        one.current()
    async with asyncio.timeout(5):
        while True:
            await asyncio.sleep(0.05)
            try:
                one.current()
            except KeysUnavailable:
                continue
            break
    task.cancel()


async def test_adding_a_number_that_is_taken_is_no_error(store):
    kept = SigningKeys(store)
    assert await kept.add(KeptKey(1, 5, b"a"))
    assert not await kept.add(KeptKey(1, 6, b"b"))
    assert await kept.all() == [KeptKey(1, 5, b"a")]
    await kept.remove(1)
    await kept.remove(1)
    assert await kept.all() == []


def write(path, key, password=""):
    path.write_bytes(key.to_pem(password))
    return path


async def test_keys_in_files_first_signs_all_verify(tmp_path):
    files = [write(tmp_path / "a", signing_key()), write(tmp_path / "b", signing_key("RS256"))]
    found = KeyFiles(files).current()
    assert found.signing.kid == signing_key().kid
    assert set(found.verifying) == {signing_key().kid, signing_key("RS256").kid}


async def test_changed_files_are_read_anew_and_bad_ones_leave_the_old(tmp_path, caplog):
    file = write(tmp_path / "a", signing_key())
    one = KeyFiles([file])
    first = one.current()
    await one.reload()
    assert one.current() is first
    file.write_bytes(b"rubbish")
    with caplog.at_level(logging.ERROR, "moorage.auth"):
        await one.reload()
    assert one.current() is first
    assert str(file) in caplog.text
    write(file, signing_key("EdDSA"))
    await one.reload()
    assert one.current().signing.kid == signing_key("EdDSA").kid


def test_files_that_can_not_be_used_are_named(tmp_path):
    with pytest.raises(KeyUnusable, match="missing: can't be read"):
        KeyFiles([tmp_path / "missing"])
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(KeyUnusable, match="bad: this is no private key"):
        KeyFiles([tmp_path / "bad"])
    secret = write(tmp_path / "secret", signing_key(), "pass")
    assert KeyFiles([secret], "pass").current()
    with pytest.raises(KeyUnusable, match="password"):
        KeyFiles([secret])


async def test_generation_does_not_block_the_loop():
    """An RSA key takes a second or so."""
    task = asyncio.create_task(loaded(MemoryStore(), "RS256"))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await task).current().signing.algorithm == "RS256"
    assert turns > 5
