"""The contract of ``ObjectStore``, one test for each clause."""
# ruff: noqa: S101, D102 - tests: they assert, and their names say what

import asyncio
import time
from typing import ClassVar

import pytest

from storage.ports import (
    MAX_KEY,
    MAX_VALUE,
    AlreadyExists,
    InvalidKey,
    NotFound,
    ObjectStore,
    PreconditionFailed,
    StorageError,
    Value,
)

INVALID_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/..",
    "../a",
    "a/../b",
    "a/./b",
    "a b",
    "a\n",
    "a\x00",
    "a~",
    "a%2Fb",
    "a\\b",
    "é",
    "a" * 256,
    "/".join(["abc"] * (MAX_KEY // 4 + 1)),
]
"""Keys that break the grammar of ``storage.ports``, each in its own way."""

LONGEST_KEY = "/".join([*["a" * 255] * 3, "a" * 254, "b"])
UNUSUAL_KEYS = ["...", ".a", "a.", "-", "!", "a!/b", "=:_", "A/a", "a" * 255, LONGEST_KEY]


def _brief(key: str) -> str:
    return ascii(key[:10])


class ObjectStoreContract:
    """Subclass it with a fixture ``store``: a driver with nothing in it."""

    turns: ClassVar[int] = 5
    """How often writers compete for a key."""

    @pytest.fixture
    async def store(self) -> ObjectStore:
        """The driver under test, empty."""
        raise NotImplementedError

    # get and stat

    async def test_getting_a_missing_key_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(NotFound) as caught:
            await store.get("a/b")
        assert caught.value.key == "a/b"

    async def test_stat_of_a_missing_key_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(NotFound):
            await store.stat("a/b")

    async def test_a_prefix_of_a_key_is_not_an_object(self, store: ObjectStore) -> None:
        await store.put("a/b/c", b"1")
        for key in ("a", "a/b", "a/b/c/d"):
            with pytest.raises(NotFound):
                await store.get(key)
            with pytest.raises(NotFound):
                await store.stat(key)

    async def test_what_was_put_is_returned_with_its_version(self, store: ObjectStore) -> None:
        version = await store.put("a/b", b"hello")
        value = await store.get("a/b")
        assert (value.data, value.version) == (b"hello", version)

    async def test_stat_tells_size_version_and_time(self, store: ObjectStore) -> None:
        version = await store.put("a/b", b"hello")
        stat = await store.stat("a/b")
        assert (stat.size, stat.version) == (5, version)
        assert abs(stat.modified - time.time()) < 60

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 70_000, MAX_VALUE])
    async def test_values_of_any_size_come_back_whole(
        self,
        store: ObjectStore,
        size: int,
        durable: bool,  # noqa: FBT001
    ) -> None:
        data = (bytes(range(256)) * (size // 256 + 1))[:size]
        await store.put("a/b", data, durable=durable)
        assert (await store.get("a/b")).data == data
        assert (await store.stat("a/b")).size == size

    async def test_a_value_that_is_too_large_is_a_value_error(self, store: ObjectStore) -> None:
        large = bytes(MAX_VALUE + 1)
        with pytest.raises(ValueError, match="a/b"):
            await store.put("a/b", large)
        with pytest.raises(ValueError, match="a/b"):
            await store.create("a/b", large)
        with pytest.raises(ValueError, match="a/b"):
            await store.replace("a/b", large, "1")
        with pytest.raises(ValueError, match="a/b"):
            await store.put_all([("a/a", b"")], [("a/b", large)])
        with pytest.raises(ValueError, match="a/b"):
            await store.create("a/a", b"", beside=[("a/b", large)])
        with pytest.raises(ValueError, match="a/b"):
            await store.create("a/a", b"", then=[("a/b", large)])
        assert list(await store.list("a/")) == []

    # put

    @pytest.mark.parametrize("durable", [True, False])
    async def test_put_replaces_what_was_there(
        self,
        store: ObjectStore,
        durable: bool,  # noqa: FBT001
    ) -> None:
        for data in (b"one", b"", b"two", b"three"):
            version = await store.put("a/b", data, durable=durable)
            value = await store.get("a/b")
            assert (value.data, value.version) == (data, version)

    async def test_equal_versions_mean_equal_bytes(self, store: ObjectStore) -> None:
        seen: dict[str, bytes] = {}
        for number in range(30):
            data = b"x" * (number % 3)
            version = await store.put("a/b", data, durable=number % 2 == 0)
            assert seen.setdefault(version, data) == data

    async def test_of_concurrent_puts_one_stands_whole(self, store: ObjectStore) -> None:
        values = [bytes([65 + number]) * 5000 for number in range(16)]
        await asyncio.gather(*[store.put("a/b", value) for value in values])
        assert (await store.get("a/b")).data in values

    async def test_no_reader_sees_half_of_a_value(self, store: ObjectStore) -> None:
        values = {bytes([65 + number]) * (1 + 9000 * number) for number in range(4)}
        await store.put("a/b", min(values))
        writing = True

        async def write() -> None:
            nonlocal writing
            for _ in range(20):
                for value in values:
                    await store.put("a/b", value, durable=False)
            writing = False

        async def read() -> None:
            while writing:
                assert (await store.get("a/b")).data in values
                await asyncio.sleep(0)

        await asyncio.gather(write(), read(), read())

    @pytest.mark.parametrize("steps", range(4))
    async def test_a_cancelled_write_has_ended_when_it_raises(
        self, store: ObjectStore, steps: int
    ) -> None:
        await store.put("a/b", b"old")
        for number in range(10):
            task = asyncio.ensure_future(store.put("a/b", b"new %d" % number))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            found = await store.get("a/b")
            await asyncio.sleep(0.003)
            assert await store.get("a/b") == found
            assert found.data in {b"old", *(b"new %d" % n for n in range(number + 1))}

    async def test_create_puts_what_follows_it(self, store: ObjectStore) -> None:
        await store.create("a/b", b"1", then=[("a/c", b"2"), ("a/d", b"")])
        assert [(await store.get(key)).data for key in ("a/b", "a/c", "a/d")] == [b"1", b"2", b""]

    async def test_create_that_lost_puts_nothing_of_what_follows(self, store: ObjectStore) -> None:
        await store.put("a/b", b"1")
        with pytest.raises(AlreadyExists):
            await store.create("a/b", b"2", then=[("a/c", b"2")])
        assert list(await store.list("a/")) == ["a/b"]

    @pytest.mark.parametrize(
        "how", [{"durable": True}, {"durable": False}, {"settled": False}], ids=str
    )
    async def test_create_puts_what_is_beside_it_whether_it_won_or_lost(
        self, store: ObjectStore, how: dict[str, bool]
    ) -> None:
        beside, then = [("a/c", b"2"), ("x/y", b"")], [("a/d", b"3")]
        await store.create("a/b", b"1", beside=beside, then=then, **how)
        assert list(await store.list("a/")) == ["a/b", "a/c", "a/d"]
        assert [(key, (await store.get(key)).data) for key, _ in beside] == beside
        await store.put("a/b", b"other")
        await store.delete("a/d")
        later = [("a/c", b"4"), ("x/z", b"")]
        with pytest.raises(AlreadyExists):
            await store.create("a/b", b"1", beside=later, then=then, **how)
        assert [(key, (await store.get(key)).data) for key, _ in later] == later
        assert list(await store.list("a/")) == ["a/b", "a/c"]
        assert (await store.get("a/b")).data == b"other"

    # put_all

    @pytest.mark.parametrize("settled", [True, False])
    async def test_put_all_puts_each_item_of_each_step(
        self,
        store: ObjectStore,
        settled: bool,  # noqa: FBT001
    ) -> None:
        items = [("a/b", b"1"), ("c/d/e", b""), ("a/c", b"3"), ("c/d/f", b"x" * 5000)]
        for steps in ([items], [[item] for item in items], [items[:2], [], items[2:]]):
            await store.put_all(*steps, settled=settled)
            assert [(key, (await store.get(key)).data) for key, _ in items] == items
            for key, _ in items:
                await store.delete(key)

    async def test_the_steps_of_put_all_come_in_order(self, store: ObjectStore) -> None:
        await store.put_all([("a/b", b"1")], [("a/b", b"2"), ("a/c", b"1")], [("a/b", b"3")])
        assert (await store.get("a/b")).data == b"3"

    async def test_a_later_step_is_never_seen_without_the_one_before(
        self, store: ObjectStore
    ) -> None:
        writing = True

        async def write() -> None:
            nonlocal writing
            for number in range(20):
                first = [(f"a/{number}/{part}", b"") for part in range(3)]
                await store.put_all(first, [(f"b/{number}", b"")])
            writing = False

        async def look() -> None:
            while writing:
                for key in await store.list("b/"):
                    assert len(await store.list(f"a/{key[2:]}/")) == 3
                await asyncio.sleep(0)

        await asyncio.gather(write(), look())

    async def test_many_items_may_be_in_one_step(self, store: ObjectStore) -> None:
        items = [(f"a/{number:03}", b"%d" % number) for number in range(200)]
        await store.put_all(items)
        assert list(await store.list("a/")) == [key for key, _ in items]
        assert (await store.get("a/199")).data == b"199"

    async def test_put_all_of_nothing_does_nothing(self, store: ObjectStore) -> None:
        await store.put_all()
        await store.put_all([])

    # create

    async def test_create_writes_where_nothing_is(self, store: ObjectStore) -> None:
        for key, data in (("a/b", b"hello"), ("a/c", b"")):
            version = await store.create(key, data)
            value = await store.get(key)
            assert (value.data, value.version) == (data, version)

    async def test_create_leaves_what_is_there(self, store: ObjectStore) -> None:
        for first, durable in ((b"", True), (b"first", True), (b"second", False)):
            await store.put("a/b", first, durable=durable)
            for data in (b"", b"other", first):
                with pytest.raises(AlreadyExists):
                    await store.create("a/b", data)
            assert (await store.get("a/b")).data == first

    async def test_of_concurrent_creates_exactly_one_returns(self, store: ObjectStore) -> None:
        for turn in range(self.turns):
            tasks = [store.create(f"a/{turn}", b"%d" % number) for number in range(16)]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            won = [number for number, result in enumerate(results) if isinstance(result, str)]
            assert len(won) == 1
            assert sum(isinstance(result, AlreadyExists) for result in results) == 15
            assert (await store.get(f"a/{turn}")).data == b"%d" % won[0]

    @pytest.mark.parametrize("durable", [True, False])
    async def test_create_and_replace_mean_the_same_however_durable(
        self,
        store: ObjectStore,
        durable: bool,  # noqa: FBT001
    ) -> None:
        version = await store.create("a/b", b"1", then=[("a/c", b"2")], durable=durable)
        with pytest.raises(AlreadyExists):
            await store.create("a/b", b"2", durable=durable)
        assert await store.get("a/b") == Value(b"1", version)
        assert (await store.get("a/c")).data == b"2"
        newer = await store.replace("a/b", b"3", version, durable=durable)
        with pytest.raises(PreconditionFailed):
            await store.replace("a/b", b"4", version, durable=durable)
        assert await store.get("a/b") == Value(b"3", newer)
        newer = await store.replace("a/b", b"5", newer, durable=not durable)
        assert await store.get("a/b") == Value(b"5", newer)
        await store.delete("a/b")
        with pytest.raises(PreconditionFailed):
            await store.replace("a/b", b"4", newer, durable=durable)

    async def test_create_works_again_after_a_delete(self, store: ObjectStore) -> None:
        await store.create("a/b", b"1")
        await store.delete("a/b")
        await store.create("a/b", b"2")
        assert (await store.get("a/b")).data == b"2"

    # replace

    async def test_replace_writes_at_the_expected_version(self, store: ObjectStore) -> None:
        version = await store.create("a/b", b"1")
        newer = await store.replace("a/b", b"2", version)
        value = await store.get("a/b")
        assert (value.data, value.version) == (b"2", newer)

    async def test_replace_refuses_another_version(self, store: ObjectStore) -> None:
        version = await store.create("a/b", b"1")
        newer = await store.replace("a/b", b"2", version)
        for stale in (version, "", "0", newer + "0"):
            with pytest.raises(PreconditionFailed):
                await store.replace("a/b", b"3", stale)
        assert (await store.get("a/b")).data == b"2"

    async def test_replace_refuses_what_is_gone(self, store: ObjectStore) -> None:
        version = await store.create("a/b", b"1")
        await store.delete("a/b")
        with pytest.raises(PreconditionFailed):
            await store.replace("a/b", b"2", version)
        with pytest.raises(NotFound):
            await store.get("a/b")

    async def test_of_concurrent_replaces_exactly_one_returns(self, store: ObjectStore) -> None:
        version = await store.create("a/b", b"start")
        for _ in range(self.turns):
            tasks = [store.replace("a/b", b"%d" % number, version) for number in range(16)]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            won = [number for number, result in enumerate(results) if isinstance(result, str)]
            assert len(won) == 1
            assert sum(isinstance(result, PreconditionFailed) for result in results) == 15
            value = await store.get("a/b")
            assert value.data == b"%d" % won[0]
            version = await store.replace("a/b", b"start", value.version)

    async def test_no_increment_is_lost_among_concurrent_replaces(self, store: ObjectStore) -> None:
        await store.create("a/b", b"0")

        async def increment() -> None:
            while True:
                value = await store.get("a/b")
                try:
                    await store.replace("a/b", b"%d" % (int(value.data) + 1), value.version)
                except PreconditionFailed:
                    continue
                return

        await asyncio.gather(*[increment() for _ in range(12)])
        assert (await store.get("a/b")).data == b"12"

    # delete

    async def test_delete_removes_the_object(self, store: ObjectStore) -> None:
        for durable in (True, False):
            await store.put("a/b", b"1")
            await store.delete("a/b", durable=durable)
            with pytest.raises(NotFound):
                await store.get("a/b")
            assert list(await store.list("a/")) == []

    async def test_deleting_a_missing_object_is_no_error(self, store: ObjectStore) -> None:
        await store.delete("a/b")
        await store.delete("a/b", version="1")
        await store.put("a/b", b"1")
        for key in ("a", "a/b/c"):
            await store.delete("c/" + key)

    async def test_delete_leaves_the_neighbours(self, store: ObjectStore) -> None:
        await store.put_all([("a/b/c", b"1"), ("a/b/d", b"2"), ("a/bc", b"3")])
        await store.delete("a/b/c")
        assert list(await store.list("a/")) == ["a/b/d", "a/bc"]

    async def test_delete_at_a_version_refuses_another(self, store: ObjectStore) -> None:
        version = await store.put("a/b", b"1")
        newer = await store.put("a/b", b"2")
        with pytest.raises(PreconditionFailed):
            await store.delete("a/b", version=version)
        assert (await store.get("a/b")).data == b"2"
        await store.delete("a/b", version=newer)
        with pytest.raises(NotFound):
            await store.get("a/b")

    async def test_of_a_replace_and_deletes_of_one_version_exactly_one_returns(
        self, store: ObjectStore
    ) -> None:
        """And what was replaced is there afterwards: no deletion comes late."""
        for turn in range(2 * self.turns):
            key = f"a/{turn}"
            version = await store.create(key, b"start")
            results = await asyncio.gather(
                store.replace(key, b"new", version),
                *[store.delete(key, version=version) for _ in range(4)],
                return_exceptions=True,
            )
            lost = [isinstance(result, PreconditionFailed) for result in results]
            if lost[0]:
                # who comes when it is gone has nothing to do, which is no error
                assert not all(lost[1:])
                assert results[1:].count(True) == 1, "one is told that it was the one"
                with pytest.raises(NotFound):
                    await store.get(key)
                assert await store.delete(key, version=version) is False
                await store.create(key, b"again")
            else:
                assert all(lost[1:])
                assert (await store.get(key)).data == b"new"

    async def test_writes_go_on_while_neighbours_are_deleted(self, store: ObjectStore) -> None:
        async def come_and_go(name: str) -> None:
            for _ in range(15):
                await store.put(f"a/b/c/{name}", b"1", durable=False)
                assert (await store.get(f"a/b/c/{name}")).data == b"1"
                await store.delete(f"a/b/c/{name}", durable=False)

        await asyncio.gather(*[come_and_go(f"{number}") for number in range(8)])
        assert list(await store.list("a/")) == []

    # list

    async def test_list_gives_whole_keys_in_byte_order_at_any_depth(
        self, store: ObjectStore
    ) -> None:
        keys = [
            "a/b",
            "a/b!/c",
            "a/b-c",
            "a/b.c/d",
            "a/b0",
            "a/b:c",
            "a/b=",
            "a/bA",
            "a/b_",
            "a/c/d",
        ]
        for key in reversed(keys):
            await store.put(key, b"")
        assert list(await store.list("a/")) == sorted(keys)

    async def test_repositories_list_in_the_order_of_their_names(self, store: ObjectStore) -> None:
        names = ["a", "a-b", "a.b/c", "a/b", "a/b/c", "a0", "a_b", "aa", "b"]
        for name in names:
            await store.put(f"catalog/{name}!", b"")
        listed = await store.list("catalog/")
        assert [key.removeprefix("catalog/").removesuffix("!") for key in listed] == sorted(names)

    async def test_a_prefix_is_a_directory(self, store: ObjectStore) -> None:
        await store.put_all([(key, b"") for key in ("a/v1/x", "a/v1-rc/x", "a/v10", "b/v1/x")])
        assert list(await store.list("a/v1/")) == ["a/v1/x"]

    async def test_a_prefix_with_nothing_below_lists_nothing(self, store: ObjectStore) -> None:
        await store.put("a/b", b"")
        for prefix in ("c/", "a/c/", "a/b/", "a/b/c/"):
            assert list(await store.list(prefix)) == []

    async def test_listing_starts_behind_after(self, store: ObjectStore) -> None:
        keys = ["a/a", "a/b/a", "a/b/b", "a/c", "a/d!/a"]
        await store.put_all([(key, b"") for key in keys])
        places = [
            *keys,
            "",
            "a",
            "a/",
            "a/b",
            "a/b/",
            "a/b/a!",
            "a/b0",
            "a/d",
            "a/zz",
            "b",
            "Z",
            "~",
        ]
        for after in places:
            expected = [key for key in keys if key > after]
            assert list(await store.list("a/", after=after)) == expected, after

    async def test_pages_of_a_listing_join_up(self, store: ObjectStore) -> None:
        keys = sorted(f"a/{number % 7}/{number}" for number in range(50))
        await store.put_all([(key, b"") for key in keys])
        found: list[str] = []
        while page := await store.list("a/", after=found[-1] if found else "", limit=7):
            assert len(page) <= 7
            found += page
        assert found == keys

    async def test_an_object_that_stays_is_always_listed(self, store: ObjectStore) -> None:
        stays = [f"a/{number:02}" for number in range(0, 40, 2)]
        for key in stays:
            await store.put(key, b"", durable=False)

        async def disturb(odd: int) -> None:
            for number in range(odd, 40, 4):
                await store.put(f"a/{number:02}", b"", durable=False)
                await store.put(f"a/{number - 1:02}", b"new", durable=False)
                await store.delete(f"a/{number:02}", durable=False)

        disturbing = asyncio.gather(disturb(1), disturb(3))
        while not disturbing.done():
            assert set(stays) <= set(await store.list("a/"))
            await asyncio.sleep(0)
        await disturbing

    # keys

    @pytest.mark.parametrize("key", INVALID_KEYS, ids=_brief)
    async def test_an_invalid_key_is_refused_by_every_method(
        self, store: ObjectStore, key: str
    ) -> None:
        calls = [
            store.get(key),
            store.stat(key),
            store.put(key, b""),
            store.put_all([("fine/fine", b""), (key, b"")]),
            store.put_all([("fine/fine", b"")], [(key, b"")]),
            store.create(key, b""),
            store.create("fine/fine", b"", beside=[(key, b"")]),
            store.create("fine/fine", b"", then=[(key, b"")]),
            store.replace(key, b"", "1"),
            store.delete(key),
        ]
        for call in calls:
            with pytest.raises(InvalidKey):
                await call
        with pytest.raises(InvalidKey):
            await store.list(key + "/")
        assert list(await store.list("fine/")) == []

    async def test_a_prefix_without_its_slash_is_refused(self, store: ObjectStore) -> None:
        for prefix in ("", "a", "a/b"):
            with pytest.raises(InvalidKey):
                await store.list(prefix)

    @pytest.mark.parametrize("key", UNUSUAL_KEYS, ids=_brief)
    async def test_a_key_at_the_grammars_edge_works(self, store: ObjectStore, key: str) -> None:
        key = f"x/{key}" if len(key) < MAX_KEY else key
        await store.put(key, b"1")
        assert (await store.get(key)).data == b"1"
        assert list(await store.list(key.partition("/")[0] + "/")) == [key]
        await store.delete(key)

    async def test_errors_name_the_key(self, store: ObjectStore) -> None:
        await store.put("a/b", b"")
        calls = [store.get("a/c"), store.create("a/b", b""), store.replace("a/b", b"", "no")]
        for call in calls:
            with pytest.raises(StorageError, match=r"^a/[bc]: "):
                await call
