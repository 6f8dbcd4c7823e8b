"""What spans are made of: bounded, nested, never after their request, and whole pushes of them."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import StatusCode

from registry.background import AROUND, repeated
from registry.service.pools import Pool
from registry.tracing import sampling
from registry.tracing.ports import TracedCoordinator, redis_span, storage_span, thread_span
from registry.tracing.sampling import WholePushes
from registry.tracing.spans import ACTIVE, MOST, Active, Root, begun, summed, within
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.inprocess import InProcessCoordinator
from storage.instrumented import instrument
from storage.memory import MemoryStore
from storage.ports import NotFound
from storage.testing import ContentStoreContract


@pytest.fixture
def kept():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(kept):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider.get_tracer("test")


@pytest.fixture
def root(tracer):
    span = tracer.start_span("request")
    found = Root(tracer, span)
    ACTIVE.set(Active(span, found))
    yield found
    ACTIVE.set(None)


def spans(kept):
    return {span.name: span for span in kept.get_finished_spans()}


def parent(kept, name):
    above = spans(kept)[name].parent
    return next(
        each.name for each in kept.get_finished_spans() if each.context.span_id == above.span_id
    )


async def test_calls_of_the_store_are_nested_and_tell_how_they_ended(root, kept):
    store = instrument(MemoryStore(), lambda *_: None, storage_span)
    with pytest.raises(NotFound):
        await store.get("uploads/a-whole-session")
    async with store.append("data/aa/b", "") as writer:
        for _ in range(3):
            await writer.write(b"12345")
        await writer.finish()
    root.end()
    found = spans(kept)
    assert found["storage get"].attributes["moorage.outcome"] == "missing"
    assert found["storage get"].attributes["moorage.storage.key"] == "uploads/…"
    assert found["storage append"].attributes["moorage.storage.key"] == "data/aa/b"
    assert found["storage get"].status.status_code == StatusCode.UNSET
    writes = found["storage write"].attributes
    assert (writes["moorage.calls"], writes["moorage.bytes"]) == (3, 15)
    assert parent(kept, "storage write") == parent(kept, "storage finish") == "request"


async def test_what_a_request_has_of_spans_is_bounded_and_ends_with_it(root, kept):
    for _ in range(MOST + 5):
        span = begun("one")
        if span is not None:
            span.end()
    root.end()
    assert begun("late") is None
    assert len(kept.get_finished_spans()) == MOST + 1
    assert spans(kept)["request"].attributes["moorage.spans_left_out"] == 5


async def test_where_nothing_is_recorded_nothing_is_begun(tracer):
    for active in (None, Active(tracer.start_span("unsampled"), None)):
        ACTIVE.set(active)
        assert storage_span("get", "a/b") is None
        assert begun("one") is None
        assert summed("one") is None
        assert thread_span("pool", len) is len
        with within("one") as span:
            assert span is None
        assert ACTIVE.get() is active
    ACTIVE.set(None)


async def test_waiting_for_a_lock_has_a_span_and_holding_it_has_none(root, kept):
    coordinator = TracedCoordinator(InProcessCoordinator())
    async with coordinator.change("tag/a-name", "manifest/another"):
        begun("inside").end()
        with pytest.raises(LeaseHeld):
            async with coordinator.change("tag/a-name", wait=0.0):
                pass
    root.end()
    waited = [span for span in kept.get_finished_spans() if span.name == "lock wait"]
    assert waited[0].attributes["moorage.lock"] == "manifest tag"
    assert waited[1].attributes["error.type"] == "LeaseHeld"
    assert parent(kept, "inside") == "request"


async def test_a_command_to_redis_ends_with_its_answer(root, kept):
    loop = asyncio.get_running_loop()
    good, bad, gone = loop.create_future(), loop.create_future(), loop.create_future()
    for answer, name in ((good, "GET"), (bad, "SET"), (gone, "DEL")):
        redis_span((name, "a key"), answer)
    good.set_result(1)
    bad.set_exception(CoordinationUnavailable("away"))
    bad.exception()
    gone.cancel()
    await asyncio.sleep(0)
    root.end()
    found = spans(kept)
    assert "error.type" not in found["redis GET"].attributes
    assert found["redis SET"].attributes["error.type"] == "CoordinationUnavailable"
    assert found["redis DEL"].attributes["error.type"] == "cancelled"
    assert "a key" not in str([dict(each.attributes) for each in found.values()])


async def test_pools_tell_how_long_work_waited_and_took(root, kept):
    with Pool(1, "pool") as pool:
        pool.watch = thread_span
        loop = asyncio.get_running_loop()
        assert (
            await asyncio.gather(*[loop.run_in_executor(pool, len, "abc") for _ in range(4)])
            == [3] * 4
        )
    assert pool.outstanding == 0
    root.end()
    assert spans(kept)["pool"].attributes["moorage.calls"] == 4
    assert spans(kept)["pool wait"].attributes["moorage.calls"] == 4


async def test_each_run_of_background_work_happens_inside_what_is_around_it():
    runs = []

    class Around:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            runs.append(self.name)

        def __exit__(self, kind, *_):
            runs.append(kind)

    ended = asyncio.Event()

    async def work():
        if len(runs) > 3:
            ended.set()
        raise LeaseHeld("another")

    AROUND.set(Around)
    running = asyncio.create_task(repeated("a job", work, 0, None, ""))
    await ended.wait()
    running.cancel()
    assert runs[:4] == ["a job", LeaseHeld] * 2


def decide(ratio, method, repository, trace=0):
    attributes = {"http.request.method": method, "moorage.repository": repository}
    found = WholePushes(ratio).should_sample(None, trace, "", None, attributes)
    return found.decision is Decision.RECORD_AND_SAMPLE


def test_a_push_is_traced_whole_or_not_at_all(monkeypatch):
    now = [1_800_000_000.0]
    monkeypatch.setattr(sampling.time, "time", lambda: now[0])
    names = [f"project-{number}/image" for number in range(2000)]
    chosen = {name for name in names if decide(0.1, "POST", name)}
    assert 120 < len(chosen) < 280  # the names and the time are fixed, so the number is
    for method in ("PATCH", "PUT", "DELETE"):
        for trace in (0, 2**64 - 1):
            assert {name for name in names if decide(0.1, method, name, trace)} == chosen
    now[0] += sampling.WINDOW
    assert {name for name in names if decide(0.1, "POST", name)} != chosen


def test_reads_are_judged_one_by_one():
    assert decide(0.1, "GET", "a/b", trace=2**60)
    assert not decide(0.1, "GET", "a/b", trace=2**63)
    assert decide(1, "GET", "a/b", trace=2**64 - 1)
    assert not decide(0, "GET", "a/b", trace=0)
    assert not decide(0, "PUT", "a/b")


class TestTracedMemory(ContentStoreContract):
    """A store whose calls are traced keeps the contract."""

    @pytest.fixture
    def store(self, root):
        return instrument(MemoryStore(), lambda *_: None, storage_span)
