"""Each rule of coordination between replicas: a scene that needs it, and the rule broken.

The scenes are played by the real code in simulated time. A scene gives what a reader reads last;
2 is the truth, known to have been read or acknowledged before, and 1 is out of date.
"""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import pytest

from storage import _redis_standing
from storage._alone import Alone
from storage._pace import PACE
from storage.bulletin import Bulletin
from storage.ports import StorageError
from storage.redis import RedisCoordinator
from tests.storage import simulation
from tests.storage.simulation import World, simulate
from tests.storage.test_replicas_model import History, Replica

NAME = "tag/x"


class Scene:
    """Replicas that do only what they are told."""

    def __init__(self, stack):
        self.world = World(0)
        self.stack = stack
        self.replicas = {}
        self.tasks = []

    async def enter(self, *names):
        """Have replicas start; wait until they answer from memory."""
        await self.world.objects.put(NAME, b"1")
        for name in names:
            replica = Replica(self.world, name, History(self.world.loop))
            for part in (replica.bulletin, replica.redis, replica.coordinator):
                await self.stack.enter_async_context(part)
            self.replicas[name] = replica
        await asyncio.sleep(PACE.flux + PACE.notice)
        assert all(replica.coordinator.trusted for replica in self.replicas.values())
        return self.replicas.values()

    async def read(self, replica):
        """What a client of the replica reads; None for an error."""

        async def load():
            return int((await replica.store.get(NAME)).data)

        with contextlib.suppress(StorageError):
            return await replica.memory.get(NAME, load)

    async def write(self, replica):
        """A change that is acknowledged."""
        async with replica.coordinator.change(NAME):
            await self.world.objects.put(NAME, b"2")

    async def begin(self, replica):
        """A change that has no effect yet, and will have no end."""
        entered = asyncio.Event()

        async def change():
            async with replica.coordinator.change(NAME):
                entered.set()
                await asyncio.Event().wait()

        self.tasks.append(asyncio.ensure_future(change()))
        await entered.wait()

    async def takes_effect(self):
        """The store carries out what was asked of it before."""
        await self.world.objects.put(NAME, b"2")


async def who_goes_alone_waits_until_all_know(scene):
    reader, writer = await scene.enter("a", "b")
    assert await scene.read(reader) == 1
    scene.world.cut_from_redis.add("b")
    await asyncio.sleep(1)
    await scene.write(writer)
    return await scene.read(reader)


async def what_was_remembered_before_someone_was_alone_is_forgotten(scene):
    reader, writer = await scene.enter("a", "b")
    assert await scene.read(reader) == 1
    scene.world.cut_from_redis.add("b")
    await asyncio.sleep(1)
    await scene.write(writer)
    scene.world.heal()
    await asyncio.sleep(PACE.flux)
    assert reader.coordinator.trusted
    return await scene.read(reader)


async def who_can_not_look_remembers_nothing(scene):
    reader, writer = await scene.enter("a", "b")
    assert await scene.read(reader) == 1
    scene.world.cut_from_store.add("a")
    scene.world.cut_from_redis.add("b")
    await asyncio.sleep(1)
    await scene.write(writer)
    return await scene.read(reader) or 2


async def a_new_term_is_known_before_anything_is_changed_in_it(scene):
    reader, writer = await scene.enter("a", "b")
    assert await scene.read(reader) == 1
    scene.world.fail_over(())
    old = scene.world.servers[-2]
    old.alive = True
    scene.world.sees["a"] = old
    await asyncio.sleep(0.7)
    await scene.write(writer)
    return await scene.read(reader)


async def two_primaries_never_both_count(scene):
    reader, writer = await scene.enter("a", "b")
    scene.world.fail_over(())
    old = scene.world.servers[-2]
    old.alive = True
    scene.world.sees["a"] = old
    await asyncio.sleep(2 * PACE.flux)
    assert await scene.read(reader) == 1
    await scene.write(writer)
    return await scene.read(reader)


async def a_young_table_is_not_relied_upon(scene):
    reader, writer, third = await scene.enter("a", "b", "c")
    await scene.begin(writer)
    scene.world.flush()
    await asyncio.sleep(2)
    assert await scene.read(reader) == 1
    await scene.takes_effect()
    scene.world.dead.add("b")
    assert await scene.read(third) == 2
    return await scene.read(reader)


async def stamps_of_two_tables_are_not_the_same(scene):
    reader, writer = await scene.enter("a", "b")
    async with writer.coordinator.change(NAME):
        pass
    assert await scene.read(reader) == 1
    scene.world.flush()
    await asyncio.sleep(0.01)
    await writer.redis.wait_usable()
    await asyncio.sleep(2)
    await scene.write(writer)
    await asyncio.sleep(PACE.flux)
    return await scene.read(reader)


async def what_a_dead_writer_marked_stays_marked_until_it_can_have_no_effect(scene):
    reader, writer, third = await scene.enter("a", "b", "c")
    await scene.begin(writer)
    scene.world.dead.add("b")
    await asyncio.sleep(PACE.lease + 1)
    assert await scene.read(reader) == 1
    await asyncio.sleep(1)
    assert await scene.read(reader) == 1
    await scene.takes_effect()
    assert await scene.read(third) == 2
    return await scene.read(reader)


async def who_takes_over_from_the_dead_does_not_vouch_for_them(scene):
    reader, writer, third = await scene.enter("a", "b", "c")
    await scene.begin(writer)
    scene.world.dead.add("b")
    async with third.coordinator.change(NAME):
        assert await third.store.get(NAME)
    assert await scene.read(reader) == 1
    await scene.takes_effect()
    assert await scene.read(third) == 2
    return await scene.read(reader)


async def what_ended_unheard_is_told_when_redis_is_back(scene):
    """The store took longer than anyone could wait for."""
    reader, writer, third = await scene.enter("a", "b", "c")
    change = writer.coordinator.change(NAME)

    async def slow():
        async with change:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(2 * PACE.flux)
            await scene.takes_effect()

    task = asyncio.ensure_future(slow())
    scene.tasks.append(task)
    await asyncio.sleep(0.1)
    scene.world.cut_from_redis.add("b")
    await asyncio.sleep(PACE.flux + PACE.lease + 1)
    await scene.read(reader)
    await asyncio.sleep(1)
    assert await scene.read(reader) == 1
    await asyncio.wait([task])
    assert await scene.read(third) is not None
    scene.world.heal()
    await asyncio.sleep(5)
    return await scene.read(reader)


def no_wait(monkeypatch):
    monkeypatch.setattr(Alone, "known", property(lambda alone: alone._since is not None))


def one_generation(monkeypatch):
    looked = Bulletin.generation
    monkeypatch.setattr(Bulletin, "generation", lambda self: looked(self) and 1)


def looks_last(monkeypatch):
    monkeypatch.setattr(Bulletin, "_valid", lambda self: self._view)


def settled_at_once(monkeypatch):
    settle = Bulletin.settle

    async def at_once(self, primary):
        self._pace = PACE.scaled(1)  # a copy
        object.__setattr__(self._pace, "notice", 0.0)
        return await settle(self, primary)

    monkeypatch.setattr(Bulletin, "settle", at_once)


def any_primary(monkeypatch):
    async def settle(self, primary):
        return 0

    monkeypatch.setattr(Bulletin, "number", lambda self, primary: 0)
    monkeypatch.setattr(Bulletin, "superseded", lambda self, primary: False)
    monkeypatch.setattr(Bulletin, "settle", settle)


def any_age(monkeypatch):
    table = _redis_standing.Table
    monkeypatch.setattr(_redis_standing, "Table", lambda term, epoch, _: table(term, epoch, 0.0))


def any_epoch(monkeypatch):
    stamps = RedisCoordinator.stamps

    async def without(self, *names):
        return tuple([each and each % 2**64 for each in await stamps(self, *names)])

    monkeypatch.setattr(RedisCoordinator, "stamps", without)


def repaired_at_once(monkeypatch):
    repair = simulation.Redis._repair

    def early(self, now, keys, args):
        return repair(self, now, keys, ["0", *args[1:]])

    monkeypatch.setattr(simulation.Redis, "_repair", early)


def vouching(monkeypatch):
    end = simulation.Redis._end
    monkeypatch.setattr(
        simulation.Redis, "_end", lambda self, _, keys, args: end(self, 2**60, keys, args)
    )


def untold(monkeypatch):
    async def tell(self, end):
        self._untold.clear()

    monkeypatch.setattr(RedisCoordinator, "_tell", tell)


RULES = [
    (who_goes_alone_waits_until_all_know, no_wait),
    (what_was_remembered_before_someone_was_alone_is_forgotten, one_generation),
    (who_can_not_look_remembers_nothing, looks_last),
    (a_new_term_is_known_before_anything_is_changed_in_it, settled_at_once),
    (two_primaries_never_both_count, any_primary),
    (a_young_table_is_not_relied_upon, any_age),
    (stamps_of_two_tables_are_not_the_same, any_epoch),
    (what_a_dead_writer_marked_stays_marked_until_it_can_have_no_effect, repaired_at_once),
    (who_takes_over_from_the_dead_does_not_vouch_for_them, vouching),
    (what_ended_unheard_is_told_when_redis_is_back, untold),
]


async def play(scene):
    async with AsyncExitStack() as stack:
        played = Scene(stack)
        try:
            return await asyncio.wait_for(scene(played), 500)
        finally:
            for task in played.tasks:
                task.cancel()
            played.world.over.set()
            played.world.heal()


@pytest.mark.parametrize("scene", [scene for scene, _ in RULES], ids=lambda scene: scene.__name__)
def test_the_rule_keeps_readers_from_what_is_out_of_date(scene):
    assert simulate(play(scene)) == 2


@pytest.mark.parametrize(
    ("scene", "sabotage"), RULES, ids=lambda each: each.__name__ if each in dict(RULES) else ""
)
def test_without_the_rule_a_reader_is_out_of_date(scene, sabotage, monkeypatch):
    sabotage(monkeypatch)
    assert simulate(play(scene)) == 1
