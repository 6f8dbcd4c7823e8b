"""Deliveries to real receivers, that fail, hang, redirect, answer late, or do as they should."""

import asyncio
import contextlib
import random
import ssl
import time
from ipaddress import ip_network

import aiohttp.connector
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.access import Tenant
from auth.identity import Identity
from registry.http.webhooks import HttpSender
from registry.service.audit.events import AuditEvent, Happening, Origin
from registry.service.audit.journal import Journal
from registry.service.projects.events import log_event
from registry.service.webhooks import deliverer as delivering
from registry.service.webhooks.deliverer import Deliverer, DeliveryTerms, Outcome
from registry.service.webhooks.outbox import Outbox
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.records import DeliveryRecord, TellRecord
from registry.service.webhooks.subscriptions import Subscriptions, Wanted
from registry.spec.destinations import Destinations
from registry.spec.problems import DeliveryUnknown
from storage import keys
from storage.coordination import LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.ports import Unavailable
from tests.auth.certificates import Party
from tests.webhooks.receiver import Receiver, hangs, says
from tests.webhooks.test_events import verifier

LOOPBACK = Destinations((ip_network("127.0.0.0/8"), ip_network("::1/128")), plain_http=True)
REGISTRY, ROOT = Tenant("", ""), Identity("user:root")
SECRET = "the secret of a webhook's tests"
RANDOM = random.Random(7)  # noqa: S311
TERMS = DeliveryTerms(first=10.0, oldest=3600.0, kept=86_400.0, interval=0.02)


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


class Counts:
    def __init__(self):
        self.outcomes, self.dead, self.rests = [], 0, 0

    def sent(self, outcome):
        self.outcomes.append(outcome)

    def gave_up(self, events):
        self.dead += events

    def waiting(self, webhooks, seconds):
        self.lag = seconds

    def resting(self, webhooks):
        self.rests = webhooks


class World:
    """A store with webhooks, and what fills and empties their queues."""

    def __init__(self, store=None, send=None, destinations=LOOPBACK, seconds=0.3, terms=TERMS):
        self.store = store or MemoryStore()
        self.clock, self.coordinator, self.told = Clock(), InProcessCoordinator(), Counts()
        self.queue = DeliveryQueue(self.store, self.clock)
        self.subscriptions = Subscriptions(
            self.store, self.coordinator, None, log_event, self.queue, LOOPBACK
        )
        self.journal = Journal(self.store, clock=self.clock)
        self.journal.accompany_by(Outbox(self.subscriptions, self.queue))
        self.sender = HttpSender(destinations, seconds=seconds)
        self.send = send or self.sender
        self.terms = terms
        self.deliverer = self.another()

    def another(self):
        return Deliverer(
            self.store, self.coordinator, self.queue, self.send, self.told, self.terms,
            chance=RANDOM.random,
        )  # fmt: skip

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self.sender.close()

    async def subscribe(self, name, url, *events, **more):
        wanted = Wanted(url, events or ("*",), secret=SECRET, **more)
        await self.subscriptions.put(REGISTRY, name, wanted, ROOT)
        return (await self.subscriptions.find(REGISTRY, name)).record

    async def happen(self, *subjects, action=Happening.TAG_PUSHED):
        for subject in subjects:
            self.journal.record(
                AuditEvent.of(self.clock(), action, Origin("user:ann"), tenant="t1",
                              repository="demo/app", subject=str(subject))
            )  # fmt: skip
        await self.journal.flush()

    async def deliver(self):
        return await self.deliverer.deliver()

    async def later(self, seconds):
        self.clock.now += seconds
        await self.deliver()

    async def dead(self, name):
        return (await self.subscriptions.deliveries(REGISTRY, name, "", 100, dead=True)).items

    async def waiting(self, name):
        return (await self.subscriptions.deliveries(REGISTRY, name, "", 100, dead=False)).items


async def test_an_event_comes_signed_and_in_order():
    async with Receiver() as receiver, World() as world:
        await world.subscribe("one", receiver.url, "tag.*")
        await world.happen(*range(250))
        await world.happen("x", action=Happening.MANIFEST_DELETED)
        await world.later(1)
        assert [event["data"]["tag"] for event in receiver.events] == list(map(str, range(250)))
        assert len(set(receiver.ids)) == 250
        assert receiver.ids[6] == f"{world.journal.writer}-7"
        headers, body = receiver.got[0]
        assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
        assert verifier()(SECRET, headers["Moorage-Signature"], body, time.time())
        assert not verifier()("another secret", headers["Moorage-Signature"], body, time.time())
        assert await world.store.list(keys.EVENTS_DUE) == []


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (says(500), "it answered 500"),
        (says(404), "it answered 404"),
        (says(307, Location="http://localhost:1/"), "it answered 307: redirects are not followed"),
        (hangs(), "it did not answer within 0.3 seconds"),
        (hangs(0.5), "it did not answer within 0.3 seconds"),
    ],
)
async def test_what_is_not_taken_is_tried_again_and_kept_when_it_is_too_old(behave, error):
    async with Receiver(behave) as receiver, World() as world:
        await world.subscribe("one", receiver.url)
        await world.happen("v1")
        await world.deliver()
        (waiting,) = await world.waiting("one")
        assert (waiting.record.attempts, waiting.record.error) == (1, error)
        assert world.clock() + 5 <= waiting.due <= world.clock() + 10
        await world.deliver()
        assert len(receiver.got) == 1, "not before it is due"
        for _ in range(12):
            await world.later(700)
        (dead,) = await world.dead("one")
        assert (dead.record.error, world.told.dead) == (error, 1)
        assert len(set(receiver.ids)) == 1
        assert await world.waiting("one") == []
        receiver.behave = None
        tried = len(receiver.got)
        assert await world.subscriptions.redeliver(REGISTRY, "one", [dead.id]) == 1
        await world.later(3600)
        assert len(receiver.got) == tried + 1
        assert receiver.ids[-1] == receiver.ids[0]
        assert await world.dead("one") == []
        for number in (dead.id, "x", "../../x"):
            with pytest.raises(DeliveryUnknown):
                await world.subscriptions.redeliver(REGISTRY, "one", [number])


async def test_a_redirect_is_not_followed():
    async with Receiver() as inner, Receiver(says(302, Location=inner.url)) as outer, World() as w:
        await w.subscribe("one", outer.url)
        await w.happen("v1")
        await w.deliver()
        assert (len(outer.got), len(inner.got)) == (1, 0)


async def test_a_receiver_that_hangs_or_is_gone_keeps_no_other_waiting():
    async with Receiver(hangs()) as slow, Receiver() as good, World(seconds=30.0) as world:
        await world.subscribe("gone", "http://localhost:9/hook")
        await world.subscribe("slow", slow.url)
        await world.subscribe("good", good.url)
        await world.happen(*range(100))
        task = asyncio.create_task(world.deliver())
        await good.until(100)
        assert not task.done(), "the slow one is still waited for"
        await world.happen("meanwhile")
        await good.until(101)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_that_takes_nothing_is_asked_seldom():
    async with Receiver(says(503)) as receiver, World() as world:
        await world.subscribe("one", receiver.url)
        for number in range(20):
            await world.happen(number)
        await world.deliver()
        assert len(receiver.got) == 3
        assert world.told.rests == 1 or await world.deliver() == 0
        await world.later(11)
        assert len(receiver.got) == 4, "one is enough to see that it still takes nothing"
        receiver.behave = None
        await world.later(60)
        for _ in range(10):
            await world.later(600)
        assert len(set(receiver.ids)) == 20
        assert await world.waiting("one") == []
        assert await world.dead("one") == []


async def test_an_event_that_a_receiver_chokes_on_does_not_hold_up_the_rest():
    async with Receiver() as receiver, World() as world:

        async def choosy(_request):
            from aiohttp import web  # noqa: PLC0415

            poison = receiver.events[-1]["data"]["tag"] == "3"
            return web.Response(status=422 if poison else 200)

        receiver.behave = choosy
        await world.subscribe("one", receiver.url)
        await world.happen(*range(10))
        await world.deliver()
        assert len(receiver.got) == 10
        (waiting,) = await world.waiting("one")
        assert len(waiting.record.events) == 1


async def test_two_workers_deliver_once():
    async with Receiver() as receiver, World() as world:
        await world.subscribe("one", receiver.url)
        await world.happen(*range(50))
        results = await asyncio.gather(
            world.deliver(), world.another().deliver(), return_exceptions=True
        )
        assert [type(each) for each in results] == [int, LeaseHeld]
        assert len(receiver.ids) == len(set(receiver.ids)) == 50


async def test_broken_off_after_sending_an_event_comes_again_with_its_id():
    async with Receiver() as receiver, World() as world:
        await world.subscribe("one", receiver.url)
        await world.happen("v1")
        real = world.queue.done

        async def dies(key):
            raise asyncio.CancelledError

        world.queue.done = dies
        with contextlib.suppress(asyncio.CancelledError):
            await world.deliver()
        world.queue.done = real
        await world.another().deliver()
        assert len(receiver.ids) == 2
        assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize("url", ["http://localhost:{}/", "http://hooks.example:{}/"])
async def test_a_name_that_leads_inside_is_not_connected_to(monkeypatch, url):
    """Whatever it led to when the webhook was made (DNS rebinding)."""

    class Resolver:
        def __init__(self, loop=None):
            pass

        async def resolve(self, host, port=0, family=0):
            return [
                {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0,
                 "flags": 0}
            ]  # fmt: skip

        async def close(self):
            pass

    if "example" in url:
        monkeypatch.setattr(aiohttp.connector, "DefaultResolver", Resolver)
    async with Receiver() as receiver, World(destinations=Destinations(plain_http=True)) as world:
        port = receiver.url.split(":")[2].partition("/")[0]
        await world.subscribe("one", url.format(port))
        await world.happen("v1")
        await world.deliver()
        assert receiver.got == []
        (waiting,) = await world.waiting("one")
        assert "allow_networks" in waiting.record.error
        # The same name where the network is allowed: it was the address, and nothing else.
        world.send._destinations = LOOPBACK
        await world.later(3000)
        assert len(receiver.got) == 1


async def test_over_https_with_an_authority_that_is_trusted_and_only_then(tmp_path):
    party, context = Party(tmp_path, "authority"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    party.authority.issue_cert("localhost").configure_cert(context)
    async with Receiver(tls=context) as receiver:
        for ca_file, error in ((None, "its certificate is not trusted"), (party.path, "")):
            send = HttpSender(LOOPBACK, ca_file=ca_file, seconds=5.0)
            outcome = await send(receiver.url, SECRET, TellRecord("1", "ping", "{}"))
            await send.close()
            assert outcome.error == error
        assert len(receiver.got) == 1


async def test_an_answer_may_be_as_large_as_it_likes():
    from aiohttp import web  # noqa: PLC0415

    async def endless(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(OSError):
            while True:
                await answer.write(b"x" * 65536)
        return answer

    async with Receiver(endless) as receiver:
        send = HttpSender(LOOPBACK, seconds=5.0)
        outcome = await send(receiver.url, SECRET, TellRecord("1", "ping", "{}"))
        await send.close()
        assert (outcome.status, outcome.error) == (200, "")
        assert outcome.seconds < 2


async def test_what_is_removed_or_paused_is_told_nothing_more():
    async with Receiver() as receiver, World() as world:
        one = await world.subscribe("one", receiver.url)
        await world.subscribe("two", receiver.url)
        await world.happen("v1")
        await world.store.delete(keys.webhook("", "one"))  # the process died in `remove`
        await world.subscribe("two", receiver.url, active=False)
        await world.deliver()
        assert receiver.got == []
        assert await world.store.list(keys.events_due(one.id)) == []
        (dead,) = await world.dead("two")
        assert dead.record.error == "the webhook is not active"
        await world.happen("v2")
        await world.deliver()
        assert receiver.got == []
        await world.subscriptions.remove(REGISTRY, "two", ROOT)
        assert await world.store.list("events/") == []


async def test_one_made_anew_gets_nothing_of_its_predecessor():
    async with Receiver() as receiver, World() as world:
        one = await world.subscribe("one", receiver.url)
        await world.happen("v1")
        await world.store.delete(keys.webhook("", "one"))
        world.coordinator = InProcessCoordinator()
        two = await world.subscribe("one", receiver.url)
        assert one.id != two.id
        await world.deliver()
        assert receiver.got == []


async def test_old_dead_letters_go():
    async with Receiver(says(500)) as receiver, World() as world:
        await world.subscribe("one", receiver.url)
        for _ in range(2):
            await world.happen("v1")
            for _ in range(12):
                await world.later(700)
            assert len(await world.dead("one")) == 1
            world.clock.now += 86_400


class Scripted:
    """Takes events or not, as it is told; keeps when each came."""

    def __init__(self, clock):
        self.clock, self.script = clock, {}
        self.came = []

    async def __call__(self, url, secret, event):
        self.came.append((self.clock(), url, event.id))
        takes = self.script.get(url, [])
        fails = takes.pop(0) if takes else False
        return Outcome(500 if fails else 200, "it answered 500" if fails else "", 0.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("happen"), st.integers(1, 5)),
            st.tuples(st.just("deliver"), st.integers(0, 900)),
            st.tuples(st.just("fails"), st.lists(st.booleans(), max_size=30)),
            st.tuples(st.just("wound"), st.integers(1, 30)),
        ),
        max_size=40,
    )
)
def test_whatever_fails_nothing_is_lost_and_the_well_behaved_get_all_at_once(steps):
    async def run():
        store = Wounded()
        world = World(store)
        world.send = send = Scripted(world.clock)
        world.deliverer = world.another()
        good, bad = "http://good.example/", "http://bad.example/"
        await world.subscribe("good", good)
        await world.subscribe("bad", bad)
        happened = 0
        for what, value in steps:
            if what == "happen":
                await world.happen(*range(value))
                happened += value
            elif what == "fails":
                send.script[bad] = list(value)
            elif what == "wound":
                store.fails_in = value
            else:
                world.clock.now += value
                with contextlib.suppress(Unavailable):
                    await world.deliver()
            if what == "happen":
                store.fails_in = 0
        store.fails_in, send.script = 0, {}
        for _ in range(12):
            await world.later(3700)
        delivered = {url: [n for _, to, n in send.came if to == url] for url in (good, bad)}
        for url, name in ((good, "good"), (bad, "bad")):
            dead = {e.id for d in await world.dead(name) for e in d.record.events}
            assert len(set(delivered[url]) | dead) == happened
            assert await world.waiting(name) == []
        await world.sender.close()

    asyncio.run(run())


class Wounded(MemoryStore):
    """Fails one call that changes something, after it took effect, as often as it is told to."""

    fails_in = 0

    def _wound(self):
        if self.fails_in:
            self.fails_in -= 1
            if not self.fails_in:
                raise Unavailable("x", "the answer was lost")

    async def put(self, key, data, *, durable=True):
        version = await super().put(key, data, durable=durable)
        if key.startswith("events/"):
            self._wound()
        return version

    async def delete(self, key, **more):
        await super().delete(key, **more)
        self._wound()

    async def put_all(self, *steps, settled=True):
        await super().put_all(*steps, settled=settled)
        if all(key.startswith("events/") for step in steps for key, _ in step):
            self._wound()


async def test_a_queue_is_read_in_the_order_in_which_things_are_due_and_past_long_ones():
    world = World(send=Scripted(Clock()))
    for number, webhook in ((700, "a" * 16), (1, "b" * 16), (300, "c" * 16)):
        record = DeliveryRecord("", webhook, 1.0, ())
        due = [world.clock() + chance for chance in RANDOM.sample(range(900), number)]
        await world.queue.put([world.queue.item(webhook, record, each) for each in due])
        found = [each async for each in world.queue.webhooks()]
        assert (webhook, min(due)) in found
    assert [name for name, _ in found] == ["a" * 16, "b" * 16, "c" * 16]
    world.clock.now += 500
    due = await world.queue.due("a" * 16, 1000)
    times = [keys.event_parts(key)[1] for key in due]
    assert times == sorted(times)
    assert 0 < len(times) < 700
    await world.sender.close()


class Calls(MemoryStore):
    def __init__(self):
        super().__init__()
        self.calls = []

    async def get(self, key):
        self.calls.append(f"get {key}")
        return await super().get(key)

    async def list(self, prefix, **more):
        self.calls.append(f"list {prefix}")
        return await super().list(prefix, **more)

    async def put_all(self, *steps, settled=True):
        self.calls.append([sorted(key.split("/")[0] for key, _ in step) for step in steps])
        return await super().put_all(*steps, settled=settled)


async def test_without_a_webhook_a_batch_costs_what_it_cost_before():
    world = World(Calls())
    await world.happen("v1")
    world.store.calls.clear()
    await world.happen("v2")
    assert world.store.calls == [[["audit"], ["audit"]]]
    await world.subscribe("one", "https://8.8.8.8/")
    world.store.calls.clear()
    await world.happen("v3")
    assert world.store.calls[-1] == [["audit", "events"], ["audit"]], "in one step"
    world.store.calls.clear()
    await world.happen("v4")
    assert world.store.calls == [[["audit", "events"], ["audit"]]]
    await world.sender.close()


async def test_a_batch_that_is_repeated_queues_its_events_once():
    world = World(MemoryStore())
    hook = await world.subscribe("one", "https://8.8.8.8/")
    real = world.store.put_all

    async def lost(*steps, settled=True):
        await real(*steps, settled=settled)
        raise Unavailable("x", "the answer was lost")

    for broken in (lost, None):
        world.store.put_all = broken or real
        with contextlib.suppress(Unavailable):
            await world.happen("v1") if broken else await world.journal.flush()
    (key,) = await world.store.list(keys.events_due(hook.id))
    assert len((await world.queue.read(key)).events) == 1
    await world.sender.close()


async def test_a_webhook_that_can_not_be_read_keeps_the_audit_log_not_waiting(caplog):
    world = World()
    await world.store.put(keys.webhook("t1", "strange"), b"{}")
    await world.happen("v1")
    assert world.journal.waiting == 0
    assert "strange" in caplog.text
    await world.sender.close()


async def test_no_secret_and_no_path_of_a_url_is_in_a_log(caplog):
    caplog.set_level("DEBUG")
    async with Receiver(says(500)) as receiver, World() as world:
        await world.subscribe("one", receiver.url + "/hidden-path?hidden=query")
        kept = await world.subscriptions.find(REGISTRY, "one")
        await world.happen("v1")
        for _ in range(12):
            await world.later(700)
        assert await world.dead("one")
        told = caplog.text + repr(kept) + repr(await world.subscriptions.get(REGISTRY, "one"))
        told += repr(Wanted("x", secret=SECRET))
        assert SECRET not in told
        assert "hidden" not in caplog.text


def test_the_lease_is_given_up_now_and_then():
    assert delivering.SHIFT <= 60
