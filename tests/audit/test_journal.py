"""The journal and the log over a real store: nothing acknowledged is lost, nothing waits."""

import asyncio
import contextlib
import json
import random

import pytest

from registry.service.audit.chain import Head
from registry.service.audit.events import AuditEvent, Happening, Origin, asked_by
from registry.service.audit.journal import Journal
from registry.service.audit.log import AuditLog
from registry.service.projects.events import Event, EventKind
from registry.spec.errors import Unavailable
from storage import keys
from storage.memory import MemoryStore
from storage.ports import Unavailable as StoreUnavailable

KEY = b"a key of the journal's tests"


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        self.now += 0.001
        return self.now


class Flaky(MemoryStore):
    """Fails its writes while `down`, after or before they took effect."""

    down = False
    after = False

    async def put_all(self, *steps, settled=True):
        if self.down and not self.after:
            raise StoreUnavailable("x", "down")
        await super().put_all(*steps, settled=settled)
        if self.down:
            raise StoreUnavailable("x", "the answer was lost")


@pytest.fixture
def store():
    return Flaky()


@pytest.fixture
def log(store):
    return AuditLog(store, KEY)


def journal(store, **more):
    return Journal(store, key=KEY, clock=Clock(), **more)


def pushed(tenant="t1", subject="x", action=Happening.MANIFEST_PUSHED):
    return AuditEvent.of(1.0, action, Origin("user:ann"), tenant=tenant, subject=subject)


async def everything(log, tenant, limit=100, after=""):
    found = []
    while True:
        leaf = await log.page(tenant, after, limit)
        assert len(leaf.items) <= limit
        found += leaf.items
        if not leaf.more:
            return found
        after = leaf.items[-1].cursor


async def findings(log):
    return [finding async for verdict in log.verify() for finding in verdict.findings]


@contextlib.asynccontextmanager
async def running(journal):
    task = asyncio.create_task(journal.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_events_are_kept_by_project_and_read_back_page_by_page(store, log):
    journals = [journal(store), journal(store)]
    expected = {"": [], "t1": [], "t2": []}
    chance = random.Random(5)  # noqa: S311
    for number in range(300):
        tenant = chance.choice(list(expected))
        chance.choice(journals).record(pushed(tenant, str(number)))
        expected[tenant].append(str(number))
        if chance.random() < 0.1:
            await chance.choice(journals).flush()
    for each in journals:
        await each.close()
    for tenant, subjects in expected.items():
        for limit in (1, 7, 100):
            found = await everything(log, tenant, limit)
            # Two processes' batches come in the order of their times, not their events'.
            assert sorted(each.entry.subject for each in found) == sorted(subjects)
            for one in journals:
                own = [int(e.entry.subject) for e in found if e.entry.writer == one.writer]
                assert own == sorted(own)
    assert await findings(log) == []
    verdicts = [each async for each in log.verify()]
    assert [each.sealed for each in verdicts] == [True, True]
    assert sum(each.events for each in verdicts) == 300


async def test_a_time_is_a_cursor_and_what_is_none_is_refused(store, log):
    one = journal(store)
    one.record(pushed(subject="old"))
    await one.flush()
    between = str(int(one._clock.now * 1000) + 1)
    one._clock.now += 10
    one.record(pushed(subject="new"))
    await one.flush()
    assert [each.entry.subject for each in await everything(log, "t1", after=between)] == ["new"]
    assert [each.entry.subject for each in await everything(log, "t1", after="0")] == ["old", "new"]
    last = (await everything(log, "t1"))[-1].cursor
    assert await everything(log, "t1", after=last) == []
    for bad in ("²", "-1", "x", "1.2", f"{last}.1", " 1", "1\n", "٣", "1" * 14, "../x", "1.0"):
        with pytest.raises(ValueError, match="cursor"):
            await log.page("t1", bad)


async def test_pages_go_on_where_batches_have_gone_or_are_damaged(store, log):
    one = journal(store)
    for number in range(5):
        one.record(pushed(subject=str(number)))
        await one.flush()
    listed = await store.list(keys.audited("t1"))
    await store.put(listed[1], b"nonsense\n")
    await store.delete(listed[2])
    assert [each.entry.subject for each in await everything(log, "t1", 1)] == ["0", "3", "4"]
    assert len(await findings(log)) >= 2


async def test_what_the_store_refuses_is_written_later_and_once(store, log):
    one = journal(store)
    one.record(pushed(subject="1"))
    for after in (False, True):
        store.down, store.after = True, after
        with pytest.raises(StoreUnavailable):
            await one.flush()
        one.record(pushed(subject="2"))
    assert one.waiting == 3
    store.down = False
    await one.close()
    assert [each.entry.subject for each in await everything(log, "t1")] == ["1", "2", "2"]
    assert await findings(log) == []
    assert (one.stored, one.waiting) == (3, 0)


async def test_a_change_is_refused_while_there_is_no_room_and_denials_take_no_more_than_half(store):
    one = journal(store, capacity=10)
    store.down = True
    for _ in range(50):
        one.record(pushed(action=Happening.ACCESS_DENIED))
    assert (one.waiting, one.dropped) == (5, 45)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(one.room())
        with pytest.raises(Unavailable), one.room():
            pass
        assert one.refused == 1
    for _ in range(5):
        with one.room():
            one.record(pushed())
    with pytest.raises(Unavailable), one.room():
        pass
    store.down = False
    await one.flush()
    with one.room():
        pass


async def test_that_events_were_dropped_is_an_event(store, log):
    one = journal(store, capacity=10)
    for _ in range(9):
        one.record(pushed(tenant="", action=Happening.LOGIN_FAILED))
    await one.close()
    events = [each.entry for each in await everything(log, "")]
    assert [each.action for each in events] == ["login.failed"] * 5 + ["events.dropped"]
    assert events[-1].details == {"count": "4"}
    assert await findings(log) == []


async def test_a_defect_in_one_event_stops_nothing(store, log, caplog):
    one = journal(store)
    async with running(journal(store)):
        one.record(pushed(subject="before"))
        one.record(AuditEvent(time=object(), action="manifest.pushed", tenant="t1"))  # a defect
        one.record(pushed(tenant="../.."))  # another
        one.record(pushed(subject="after"))
        await one.close()
    assert one.dropped == 2
    assert [each.entry.subject for each in await everything(log, "t1")] == ["before", "after"]
    assert "could not be written down" in caplog.text
    assert await findings(log) == []


async def test_a_defect_of_the_store_does_not_end_the_task(store, log, caplog, monkeypatch):
    one = journal(store, interval=0.01)
    broken = True

    async def put_all(*steps, settled=True):
        if broken:
            raise RuntimeError("a defect")
        await MemoryStore.put_all(store, *steps, settled=settled)

    monkeypatch.setattr(store, "put_all", put_all)
    async with running(one):
        one.record(pushed())
        while "can't be written" not in caplog.text:
            await asyncio.sleep(0.005)
        broken = False
        await one.settled()
    assert len(await everything(log, "t1")) == 1


async def test_who_waits_for_the_store_shares_one_write(store):
    one = journal(store, interval=60.0, strict=True)
    writes = 0

    async def put_all(*steps, settled=True):
        nonlocal writes
        writes += 1
        await asyncio.sleep(0.01)
        await MemoryStore.put_all(store, *steps, settled=settled)

    store.put_all = put_all

    async def change(number):
        one.record(pushed(subject=str(number)))
        await one.settled()
        head = Head.read((await store.get(keys.audit_head(one.writer))).data, KEY)
        assert head.events > 0

    async with running(one):
        await asyncio.gather(*map(change, range(50)))
        assert writes <= 3
        await one.settled()  # nothing to wait for
        assert writes <= 3


async def test_who_waits_is_told_when_the_store_does_not_take_it(store, monkeypatch):
    monkeypatch.setattr("registry.service.audit.journal.PATIENCE", 0.05)
    one = journal(store, interval=0.01, strict=True)
    store.down = True
    async with running(one):
        one.record(pushed())
        with pytest.raises(Unavailable):
            await one.settled()


async def test_cancelled_in_the_midst_of_a_write_nothing_is_lost_or_written_twice(store, log):
    one = journal(store)
    began = asyncio.Event()

    async def put_all(*steps, settled=True):
        await MemoryStore.put_all(store, *steps, settled=settled)
        began.set()
        await asyncio.sleep(60)

    store.put_all = put_all
    one.record(pushed(subject="1"))
    task = asyncio.create_task(one.flush())
    await began.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del store.put_all
    one.record(pushed(subject="2"))
    await one.close()
    assert [each.entry.subject for each in await everything(log, "t1")] == ["1", "2"]
    assert await findings(log) == []


async def test_large_batches_are_cut(store, log):
    one = journal(store)
    for number in range(2500):
        one.record(pushed(tenant=f"t{number % 50}"))
    await one.close()
    assert await findings(log) == []
    head = Head.read((await store.get(keys.audit_head(one.writer))).data, KEY)
    assert head.events == 2500
    assert head.batches >= 3
    assert len(await everything(log, "t7")) == 50


async def test_services_events_become_events_of_who_asked(store, log):
    one = journal(store)
    with asked_by(Origin("user:ann", "10.1.2.3", "r-7", "secret:9")):
        await one.changed(
            Event(
                EventKind.MEMBER_PUT, "user:ann", 5.0, "user:bob", "demo", "t1", {"role": "guest"}
            )
        )
    await one.changed(Event(EventKind.PROJECT_PURGED, "system:purger", 6.0, "demo", "demo", "t1"))
    await one.close()
    put, purged = [each.entry for each in await everything(log, "t1")]
    assert (put.principal, put.address, put.request_id, put.subject) == (
        *("user:ann", "10.1.2.3", "r-7", "user:bob"),
    )
    assert put.details == {"role": "guest"}
    assert (purged.principal, purged.address, purged.time) == ("system:purger", "", 6.0)


async def test_lines_go_to_the_log_as_they_go_to_the_store(store, log):
    lines = []
    one = journal(store, lines=lines.append)
    for number in range(3):
        one.record(pushed(subject=str(number)))
    await one.close()
    (key,) = await store.list(keys.audited("t1"))
    assert (await store.get(key)).data == b"".join(lines)
    assert [json.loads(line)["n"] for line in lines] == [1, 2, 3]


async def test_a_removed_batch_a_removed_head_and_a_strange_key_show(store, log):
    one, two = journal(store), journal(store)
    for each in (one, two):
        for tenant in ("t1", "t2", "t1"):
            each.record(pushed(tenant))
            await each.flush()
    await two.close()
    assert await findings(log) == []
    listed = await store.list(keys.AUDIT)
    for key in listed:
        value = await store.get(key)
        await store.delete(key)
        assert await findings(log), key
        await store.put(key, value.data)
    value = await store.get(keys.audit_head(one.writer))
    await store.delete(keys.audit_head(one.writer))
    assert any("head" in finding for finding in await findings(log))
    await store.put(keys.audit_head(one.writer), value.data)
    await store.put("audit/events/t1/strange", b"")
    assert any("strange" in finding for finding in await findings(log))


async def test_a_batch_forged_after_a_sealed_one_shows(store, log):
    one = journal(store)
    one.record(pushed())
    await one.flush()
    head = await store.get(keys.audit_head(one.writer))
    one.record(pushed())
    await one.flush()  # the forger's, who even has the key
    await store.put(keys.audit_head(one.writer), head.data)
    assert [v.unvouched async for v in log.verify()] == [1]  # as after a crash
    assert await findings(log) == []
    sealed = Head.read(head.data, KEY)
    sealed = Head(
        writer=one.writer, time=1.0, events=1, batches=1, last=sealed.last, sealed=True
    ).line(KEY)
    await store.put(keys.audit_head(one.writer), sealed)
    assert any("added" in finding for finding in await findings(log))
    assert await findings(AuditLog(store, b"another key"))


async def test_verifying_while_others_write_finds_nothing(store, log):
    one = journal(store)
    one.record(pushed())
    await one.flush()
    real = store.list

    async def slow(prefix, *, after="", limit=1000):
        # Between the heads and the batches, and between these and the heads, others write on.
        for _ in range(3):
            one.record(pushed())
            await one.flush()
        other = journal(store)
        other.record(pushed("t2"))
        await other.flush()
        return await real(prefix, after=after, limit=limit)

    store.list = slow
    assert await findings(log) == []
