"""What a tag was, and the way back."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.roles import Role
from registry.service.collection.mark import Marker
from registry.service.history import HistoryTerms
from registry.service.services import Services
from registry.service.terms import Terms
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import Denied, ManifestUnknown, PreconditionFailed
from registry.spec.names import Place, Tag
from registry.spec.problems import Invalid
from registry.spec.tagrules import TagRules
from storage import keys
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from storage.testing import Crash, FaultyStore
from tests.service.content import image, push

HERE, V1 = Place("project/env"), Tag("v1")
BODIES = [image(config=b"%d" % number) for number in range(4)]
DIGESTS = [Digest.of(body) for body in BODIES]
ANY = Conditions()


def services(store, **more) -> Services:
    return Services.over(
        store, InProcessCoordinator(), files=None, memory=0, allow_sparse=True, **more
    )


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def registry(store):
    return services(store)


async def put(registry, number, by="me"):
    await registry.manifests.put(HERE, push(BODIES[number], V1), by)


async def delete(registry, reference=V1, by="me"):
    await registry.deletions.delete(HERE, reference, ANY, by)


async def history(registry):
    """What is told, as numbers of bodies; None: deleted."""
    states = await registry.tags.histories.of(HERE, V1)
    return [DIGESTS.index(each.digest) if each.digest else None for each in states]


async def back(registry, **how):
    done = await registry.rollbacks.roll_back(HERE, V1, "you", None, **how)
    return DIGESTS.index(done.digest)


async def test_each_change_is_told_with_who_and_when(registry):
    for number, by in ((0, "ann"), (1, "bob"), (1, "bob"), (0, "cyd")):
        await put(registry, number, by)
    states = await registry.tags.histories.of(HERE, V1)
    assert [(DIGESTS.index(each.digest), each.by, each.version) for each in states] == [
        (0, "cyd", 3),
        (1, "bob", 2),
        (0, "ann", 1),
    ]
    assert [each.at for each in states] == sorted((each.at for each in states), reverse=True)


async def test_it_outlives_the_tag(registry):
    assert await history(registry) == []
    await put(registry, 0)
    await put(registry, 1)
    await delete(registry, by="bob")
    assert await history(registry) == [None, 1, 0]
    assert (await registry.tags.histories.of(HERE, V1))[0].by == "bob"
    await put(registry, 2)
    assert await history(registry) == [2, None, 1, 0]
    await delete(registry, DIGESTS[2])
    assert await history(registry) == [None, 2, None, 1, 0]


async def test_a_deletion_that_broke_off_is_told_of_as_none(store):
    registry = services(store)
    await put(registry, 0)
    await put(registry, 1)
    record = await registry.tags.resolve(HERE, V1)
    standing = await store.get(keys.tag(HERE, V1))
    await registry.tags.histories.keep(HERE, V1, record.decode(standing.data), "me")
    assert await history(registry) == [1, 0]
    await put(registry, 2)
    assert await history(registry) == [2, 1, 0]
    await delete(registry)
    assert await history(registry) == [None, 2, 1, 0]


async def test_it_is_bounded_by_count_and_by_age(store, monkeypatch):
    registry = services(store, history=HistoryTerms(count=2, seconds=100))
    for number in (0, 1, 2, 3):
        await put(registry, number)
    assert await history(registry) == [3, 2, 1]
    later = time.time() + 200
    monkeypatch.setattr("time.time", lambda: later)
    await put(registry, 0)
    assert await history(registry) == [0, 3]
    await put(services(store, history=HistoryTerms(count=0)), 1)
    assert await history(registry) == [1]
    assert len((await store.get(keys.tag(HERE, V1))).data) < 300


async def test_the_way_back(registry):
    for number in (0, 1, 2):
        await put(registry, number)
    assert await back(registry) == 1
    assert await back(registry, to=DIGESTS[0]) == 0
    assert await back(registry, steps=2) == 2
    assert await history(registry) == [2, 0, 1, 2, 1, 0]
    assert (await registry.tags.resolve(HERE, V1)).by == "you"
    assert await back(registry, to=DIGESTS[2]) == 2
    assert len(await history(registry)) == 6, "it points there already: nothing was written"
    with pytest.raises(Invalid, match="5 states back"):
        await back(registry, steps=6)
    with pytest.raises(Invalid, match="did not point at"):
        await back(registry, to=DIGESTS[3])
    with pytest.raises(ManifestUnknown):
        await registry.rollbacks.roll_back(HERE, Tag("none"), "you", None)


async def test_a_deleted_tag_and_a_deleted_image_come_back(registry):
    await put(registry, 0)
    await put(registry, 1)
    await delete(registry)
    assert await back(registry) == 1
    await delete(registry, DIGESTS[0])
    assert await back(registry, to=DIGESTS[0]) == 0
    assert (await registry.manifests.get(HERE, V1)).data == BODIES[0]


async def test_an_image_that_is_gone_for_good_is_unknown(store, monkeypatch):
    registry = services(store)
    await put(registry, 0)
    await put(registry, 1)
    await delete(registry, DIGESTS[0])
    await registry.deleted.forget(HERE, DIGESTS[0])
    with pytest.raises(ManifestUnknown):
        await back(registry)
    assert await history(registry) == [1, 0]


async def test_of_rollbacks_at_once_one_succeeds(registry):
    for number in (0, 1, 2):
        await put(registry, number)
    done = await asyncio.gather(
        *(back(registry, steps=1 + number % 2) for number in range(6)), return_exceptions=True
    )
    won = [each for each in done if not isinstance(each, PreconditionFailed)]
    assert len(won) == 1
    assert (await history(registry))[1:] == [2, 1, 0]


async def test_who_saw_another_state_is_refused(registry):
    await put(registry, 0)
    await put(registry, 1)
    with pytest.raises(PreconditionFailed):
        await back(registry, expected=DIGESTS[0])
    assert await back(registry, expected=DIGESTS[1]) == 0
    await delete(registry)
    with pytest.raises(PreconditionFailed):
        await back(registry, expected=DIGESTS[0])
    assert await back(registry, expected="") == 0


async def test_an_immutable_tag_is_not_rolled_back(store):
    await put(services(store), 0)
    await put(services(store), 1)
    registry = services(store, rules=TagRules(["v*"]))
    with pytest.raises(Denied):
        await registry.rollbacks.roll_back(HERE, V1, "you", Role.OWNER)
    assert await history(registry) == [1, 0]


@pytest.mark.parametrize("when", range(1, 24))
async def test_what_a_rollback_that_broke_off_leaves_can_be_rolled_back(when):
    """A fault at each call of a deletion and a rollback; then the same once more."""
    store = FaultyStore(MemoryStore())
    registry = services(store)
    await put(registry, 0)
    await put(registry, 1)
    seen = 0

    async def step(method, key, call, half=None):
        nonlocal seen
        seen += 1
        if seen == when:
            raise Unavailable(key, "struck")
        return await FaultyStore.step(store, method, key, call, half)

    store.step = step
    for attempt in range(2):
        try:
            if await history(registry) == [1, 0]:
                await delete(registry)
            await back(registry, to=DIGESTS[0])
        except Unavailable:
            assert attempt == 0
            continue
        break
    del store.step
    states = await history(registry)
    assert states[0] == 0
    assert states[-2:] == [1, 0]
    assert [each for each in states if each is not None].count(1) == 1
    assert (await registry.manifests.get(HERE, V1)).data == BODIES[0]


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("steps"), st.integers(1, 4)),
        st.tuples(st.just("to"), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(_steps)
def test_the_history_is_as_a_model_has_it(steps):
    asyncio.run(_follow(steps))


async def _follow(steps):
    registry = services(MemoryStore(), history=HistoryTerms(count=100))
    model = []

    def move(number):
        if not model or model[0] != number:
            model.insert(0, number)

    for what, number in steps:
        if what == "put":
            await put(registry, number)
            move(number)
        elif what == "delete":
            if model and model[0] is not None:
                await delete(registry)
                model.insert(0, None)
        elif not model:
            with pytest.raises(ManifestUnknown):
                await back(registry)
        else:
            states = [each for each in model[1:] if each is not None]
            if what == "to" and number in model:
                assert await back(registry, to=DIGESTS[number]) == number
                move(number)
            elif what == "steps" and number <= len(states):
                assert await back(registry, steps=number) == states[number - 1]
                move(states[number - 1])
            else:
                how = {"to": DIGESTS[number]} if what == "to" else {"steps": number}
                with pytest.raises(Invalid):
                    await back(registry, **how)
        assert await history(registry) == model


# --- their end ------------------------------------------------------------------------------


def brief(store, seconds=0.05) -> Services:
    return services(store, history=HistoryTerms(seconds=seconds))


def written(store) -> list[str]:
    return sorted(
        key.split("/")[1] for key in store._objects if "/history/" in key or "/past/" in key
    )


async def test_what_a_deleted_tag_was_is_forgotten_when_its_time_is_over(store):
    registry = brief(store)
    await put(registry, 0)
    await delete(registry)
    assert await registry.tags.histories.sweep() == 0
    assert await history(registry) == [None, 0]
    await asyncio.sleep(0.1)
    assert await registry.tags.histories.sweep() == 1
    assert await history(registry) == written(store) == []


async def test_one_that_was_deleted_again_meanwhile_is_kept_from_then_on(store):
    registry = brief(store, 0.3)
    await put(registry, 0)
    await delete(registry)
    await asyncio.sleep(0.2)
    await put(registry, 1)
    await delete(registry)
    await asyncio.sleep(0.15)
    assert await registry.tags.histories.sweep() == 0
    assert (await history(registry))[:2] == [None, 1]
    assert len(written(store)) == 2
    await asyncio.sleep(0.2)
    assert await registry.tags.histories.sweep() == 1
    assert written(store) == []


async def test_one_that_is_to_be_kept_for_longer_now_is_due_later(store):
    registry = brief(store)
    await put(registry, 0)
    await delete(registry)
    await asyncio.sleep(0.1)
    assert await services(store).tags.histories.sweep() == 0
    assert await history(registry) == [None, 0]
    assert keys.past_due(*await store.list(keys.PAST)) > (time.time() + 80 * 86_400) * 1000


async def test_what_can_not_be_read_keeps_no_other_waiting(store):
    registry = brief(store)
    await put(registry, 0)
    await delete(registry)
    await store.put(keys.past(1, "damaged"), b"{")
    await asyncio.sleep(0.1)
    assert await registry.tags.histories.sweep() == 1
    assert await registry.tags.histories.sweep() == 0


@pytest.mark.parametrize("when", range(1, 6))
async def test_a_sweep_that_breaks_off_is_made_good_by_the_next(when):
    store = FaultyStore(MemoryStore())
    registry = brief(store)
    await put(registry, 0)
    await delete(registry)
    await asyncio.sleep(0.1)
    store.fail(when, when="after")
    with pytest.raises(Unavailable):
        await registry.tags.histories.sweep()
    await registry.tags.histories.sweep()
    assert written(store.inner) == []


async def test_a_deletion_that_breaks_off_leaves_nothing_that_stays_for_ever(store):
    await put(brief(store), 0)
    faulty = FaultyStore(store)
    faulty.crash(1, "put_all", when="half")
    with pytest.raises(Crash):
        await delete(brief(faulty))
    assert len(written(store)) == 1
    await asyncio.sleep(0.1)
    await brief(store).tags.histories.sweep()
    assert written(store) == []


async def test_a_full_mark_forgets_what_an_earlier_release_entered_nowhere(store):
    registry = brief(store)
    await put(registry, 0)
    await delete(registry)
    await store.delete(*await store.list(keys.PAST))
    await store.put(keys.history(HERE, Tag("damaged")), b"{")
    marker = Marker(
        store, InProcessCoordinator(), registry.candidates, Terms(), registry.tags.histories
    )
    await asyncio.sleep(0.1)
    await marker.mark(look=True)
    assert len(await history(registry)) == 2
    await marker.mark()
    assert await history(registry) == []
