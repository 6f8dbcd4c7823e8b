"""The S3 driver when requests fail, answers are lost, and the store says that it is busy."""

import asyncio
import dataclasses
import socket
import time
from itertools import count

import pytest

from storage._s3_bucket import STONE, Grave
from storage._s3_standing import Standing
from storage._s3_writer import S3Writer
from storage.ports import AlreadyExists, NotFound, PreconditionFailed, Unavailable
from storage.s3 import MIN_PART, PartPlan, S3Store
from storage.testing.content import pattern, read_content
from tests.fixtures.stores import s3_store, s3_store_as_before, settings_of
from tests.oracle.s3_proxy import S3Proxy

PARTS = PartPlan(first=MIN_PART)
DATA = pattern(2 * MIN_PART + 3_000_000)
HALF = MIN_PART + 1_000_000


@pytest.fixture
async def proxy(minio):
    async with S3Proxy(minio.endpoint) as proxy:
        yield proxy


@pytest.fixture
def settings(minio, proxy):
    """Through the proxy, with little patience."""
    return settings_of(
        minio, endpoint=proxy.endpoint, parts=PARTS, total_seconds=10, read_seconds=0.5
    )


@pytest.fixture
async def store(settings):
    async with s3_store(settings) as store:
        yield store


class Life:
    """All that a store can do, step by step, with what must come of it."""

    def __init__(self, name: str, *, sure: bool = True) -> None:
        self.name = name
        # With a try that may have taken effect, a swap that lost can't tell that it did not win.
        self.lost = PreconditionFailed if sure else (PreconditionFailed, Unavailable)

    async def run(self, store: S3Store) -> None:
        key = f"a/{self.name}"
        first = await store.create(key, b"1", beside=[(f"{key}-beside", b"")])
        with pytest.raises(AlreadyExists):
            await store.create(key, b"2")
        second = await store.replace(key, b"2", first)
        with pytest.raises(self.lost):
            await store.replace(key, b"3", first)
        assert (await store.get(key)).data == b"2"
        assert (await store.stat(key)).version == second
        await store.put_all([(f"{key}-x", b"x"), (f"{key}-y", b"y")], [(f"{key}-z", b"z")])
        assert len(await store.list("a/", after=key, limit=3)) == 3
        await store.delete(key, version=second)
        with pytest.raises(NotFound):
            await store.get(key)
        await self.content(store)
        await self.small(store)

    async def content(self, store: S3Store) -> None:
        key = f"data/{self.name}"
        async with store.append(key, "") as writer:
            await writer.write(DATA[:HALF])
            progress = await writer.checkpoint()
        async with store.append(key, progress) as writer:
            await writer.write(DATA[HALF:])
            assert await writer.finish() == len(DATA)
        assert await read_content(store, key) == DATA

    async def small(self, store: S3Store) -> None:
        key = f"data/{self.name}-small"
        async with store.append(key, "") as writer:
            await writer.write(b"small")
            assert await writer.finish() == 5
        assert await read_content(store, key, 1, 4) == b"mal"
        async with store.append(f"{key}-not", "") as writer:
            await writer.write(b"given up")
            progress = await writer.checkpoint()
        await store.abandon(f"{key}-not", progress)


@pytest.mark.parametrize("kind", ["refuse", "lose", "slow", "cut"])
async def test_one_fault_at_any_request_is_seen_by_nobody(store, proxy, kind):
    """Also not as a conflict: a conditional write whose answer was lost is not another's."""
    for number in count(1):
        before = len(proxy.log)
        proxy.fault(number, kind)
        await Life(f"{kind}-{number}", sure=kind == "slow").run(store)
        if len(proxy.log) - before < number:
            break
    assert number > 30
    assert (await store._bucket.page("~")).keys == [], "no tail is left"


async def test_a_store_that_hangs_is_asked_again(store, proxy):
    for number in (1, 4, 9, 16):
        proxy.fault(number, "hang")
    await Life("hang").run(store)


@pytest.mark.parametrize("kind", ["refuse", "lose"])
async def test_from_any_point_on_another_process_goes_on(settings, store, proxy, minio, kind):
    """The process loses the store for good, and its successor has what was acknowledged."""
    impatient = dataclasses.replace(settings, total_seconds=0.3)
    direct = dataclasses.replace(settings, endpoint=minio.endpoint)
    async with s3_store_as_before(impatient, store) as dying, s3_store(direct) as successor:
        for number in count(1):
            key = f"data/{number}"
            proxy.fault(number, kind, times=1000)
            saved, finished = "", False
            try:
                async with dying.append(key, "") as writer:
                    await writer.write(DATA[:HALF])
                    saved = await writer.checkpoint()
                    await writer.write(DATA[HALF:])
                    await writer.finish()
                    finished = True
            except Unavailable:
                pass
            # Where it is slow, an answer may be late before any fault: that is no end of the calls.
            faultless = finished and proxy._faults and proxy._faults[0].left > 0
            proxy.mend()
            async with successor.append(key, saved) as writer:
                if not finished:
                    await writer.write(DATA[writer.offset :])
                assert await writer.finish() == len(DATA)
            assert await read_content(successor, key) == DATA
            if faultless:
                break
    assert number >= 8


async def test_finish_whose_answer_was_lost_is_finished_for_the_next_process(
    settings, store, proxy, minio
):
    """Lost: the answer to Complete, and everything after it. The upload is gone by then."""
    direct = dataclasses.replace(settings, endpoint=minio.endpoint)
    async with store.append("data/a", "") as writer:
        await writer.write(DATA)
        progress = await writer.checkpoint()
    proxy.fault(1, "lose", times=1000, fits=lambda request: request.method == "POST")
    with pytest.raises(Unavailable):
        async with store.append("data/a", progress) as writer:
            await writer.finish()
    async with s3_store(direct) as successor:
        async with successor.append("data/a", progress) as writer:
            assert await writer.finish() == len(DATA)
        assert await read_content(successor, "data/a") == DATA


async def begin_content(store, key, size):
    """Write so much and keep it, as parts of the least size and a tail; give the progress."""
    async with store.append(key, "") as writer:
        for at in range(0, size, MIN_PART):
            await writer.write(DATA[at : min(size, at + MIN_PART)])
        return await writer.checkpoint()


@pytest.mark.parametrize("size", [1000, HALF], ids=["a tail", "a part and a tail"])
async def test_what_another_finishes_meanwhile_is_found_finished(store, monkeypatch, size):
    """At the first look the content is not there yet; at the second its tail is there no more."""
    progress = await begin_content(store, "data/a", size)
    looked, finished = asyncio.Event(), asyncio.Event()
    find, find_rest = Standing.find, S3Writer._find

    async def look(*where):
        found = await find(*where)
        looked.set()
        return found

    async def look_for_the_rest(*where):
        await finished.wait()
        return await find_rest(*where)

    async def go_on():
        async with store.append("data/a", progress) as writer:
            return await writer.finish()

    async with store.append("data/a", progress) as other:
        monkeypatch.setattr(Standing, "find", look)
        monkeypatch.setattr(S3Writer, "_find", look_for_the_rest)
        going = asyncio.ensure_future(go_on())
        await looked.wait()
        await other.finish()
        finished.set()
        assert await going == size
    assert await read_content(store, "data/a") == DATA[:size]


async def test_an_upload_that_another_finishes_before_its_last_part_is_found_finished(
    store, monkeypatch
):
    progress = await begin_content(store, "data/a", HALF)
    async with store.append("data/a", progress) as one, store.append("data/a", progress) as other:
        assert await other.finish() == HALF
        assert await one.finish() == HALF
    assert await read_content(store, "data/a") == DATA[:HALF]


async def test_a_replace_that_was_lost_and_overwritten_is_no_conflict(store, proxy, minio):
    """Whether it took effect can't be known: that is said, and not that another won."""
    version = await store.create("a/b", b"1")
    real = store._bucket.wire._send

    async def send(request):
        if request.operation == "put" and request.body[0] == b"ours" and not sent:
            sent.append(request)
            await real(request)
            await store.put("a/b", b"theirs")
            raise ConnectionResetError("the answer was lost")
        return await real(request)

    sent = []
    store._bucket.wire._send = send
    with pytest.raises(Unavailable, match="the answer was lost"):
        await store.replace("a/b", b"ours", version)
    assert (await store.get("a/b")).data == b"theirs"


async def test_a_write_that_is_denied_in_passing_is_tried_again(proxy, store):
    """MinIO says AccessDenied where another call removes the directory that a PUT writes to."""
    proxy.fault(1, "deny", times=2, fits=lambda request: request.method == "PUT")
    await store.put("a/denied", b"1")
    assert (await store.get("a/denied")).data == b"1"


async def test_a_store_that_denies_is_soon_believed(proxy, store):
    proxy.fault(1, "deny", times=1000)
    before = len(proxy.log)
    with pytest.raises(Unavailable, match="AccessDenied"):
        await store.put("a/denied", b"1")
    assert len(proxy.log) == before + 3
    with pytest.raises(Unavailable, match="AccessDenied"):
        await store.get("a/denied")
    assert len(proxy.log) == before + 4


async def test_a_storm_of_slow_downs_ends_as_unavailable_in_bounded_time(settings, store, proxy):
    proxy.fault(1, "slow", times=1000)
    began = time.monotonic()
    answers = await asyncio.gather(
        *[store.put(f"a/{number}", b"1") for number in range(20)], return_exceptions=True
    )
    assert time.monotonic() - began < settings.total_seconds
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert "503 SlowDown" in str(answers[0])
    proxy.mend()
    await store.put("a/b", b"1")


async def test_a_store_that_is_silent_is_given_up_in_time(settings, proxy):
    impatient = dataclasses.replace(settings, total_seconds=1.2)
    async with s3_store(impatient) as store:
        proxy.fault(1, "hang", times=1000)
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"a/b: no answer in 1\.2 s"):
            await store.get("a/b")
        assert time.monotonic() - began < settings.total_seconds / 2


# downloads


async def write(store, key, data):
    async with store.append(key, "") as writer:
        await writer.write(data)
        await writer.finish()


def of_content(request):
    return request.method == "GET" and "/data/" in request.path


async def test_a_download_that_breaks_goes_on_where_it_was(store, proxy):
    await write(store, "data/a", DATA)
    proxy.fault(1, "cut", times=4, fits=of_content)
    assert await read_content(store, "data/a", 1000) == DATA[1000:]
    asked = [
        (headers.get("Range"), headers.get("If-Match"))
        for line, headers in zip(proxy.log, proxy.headers, strict=True)
        if line.startswith("GET") and "/data/a" in line
    ]
    assert len(asked) == 5
    assert asked[0] == ("bytes=1000-", None)
    starts = [int(part.removeprefix("bytes=").removesuffix("-")) for part, _ in asked]
    assert starts == sorted(set(starts))
    assert {match for _, match in asked[1:]} == {f'"{(await store.stat("data/a")).version}"'}


async def test_a_download_that_is_relayed_and_breaks_goes_on_where_it_was(store, proxy):
    """What the kernel moved counts; the rest is asked for again, and comes as ever."""
    await write(store, "data/a", DATA)
    proxy.fault(1, "cut", fits=of_content)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        taking = asyncio.ensure_future(asyncio.to_thread(_received, theirs))
        async with store.open("data/a", 1000) as reader:
            sent = await reader.relay(ours.fileno(), 5)
            rest = b"".join([piece async for piece in reader])
        ours.close()
        assert await taking + rest == DATA[1000:]
    assert sent
    assert rest


async def test_a_download_that_broke_before_it_was_relayed_comes_as_ever(store):
    await write(store, "data/a", DATA)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with store.open("data/a", 1000) as reader:
            reader._response.content.set_exception(ConnectionResetError("it broke off"))
            assert await reader.relay(ours.fileno(), 5) == 0
            assert b"".join([piece async for piece in reader]) == DATA[1000:]


def _received(sock):
    data = bytearray()
    while more := sock.recv(100_000):
        data += more
    return bytes(data)


async def test_a_download_of_what_is_gone_meanwhile_is_not_cut_short(store, settings, proxy):
    await write(store, "data/a", DATA)
    patient = dataclasses.replace(settings, read_seconds=60, total_seconds=60)
    proxy.fault(1, "cut", fits=of_content)
    async with s3_store_as_before(patient, store) as store:
        with pytest.raises(Unavailable, match="deleted or changed"):
            async with store.open("data/a") as reader:
                async for _ in reader:
                    await store.delete("data/a")


async def test_a_download_that_never_gets_on_is_unavailable(store, proxy):
    await write(store, "data/a", DATA)
    with pytest.raises(Unavailable):
        async with store.open("data/a") as reader:
            proxy.fault(1, "refuse", times=1000)
            async for piece in reader:
                assert piece
                reader._response.close()


# what a crash leaves, and what cancelling does not


async def test_an_upload_that_nobody_will_ever_know_of_is_dropped(store):
    async with store.append("data/a", "") as writer:
        await writer.write(DATA)
        upload = writer._parts.upload
    with pytest.raises(NotFound):
        await store._bucket.check_upload("data/a", upload)
    assert (await store._bucket.page("~")).keys == []


async def test_an_upload_whose_id_nobody_was_told_is_swept(settings, store, proxy, minio):
    """The answer to its begin is lost, and everything after it: as if the process had died."""
    direct = dataclasses.replace(settings, endpoint=minio.endpoint)
    impatient = dataclasses.replace(settings, total_seconds=0.3)
    async with s3_store_as_before(impatient, store) as dying:
        proxy.fault(1, "lose", times=1000, fits=lambda request: request.method == "POST")
        with pytest.raises(Unavailable):
            async with dying.append("data/a", "") as writer:
                await writer.write(DATA)
    async with s3_store(direct) as successor:
        left = await successor._bucket.uploads("data/a", time.time() + 60)
        assert left
        assert await successor.sweep(3600) == 0
        assert await successor.sweep(0) == len(left)
        assert not await successor._bucket.uploads("data/a", time.time() + 60)
        assert (await successor._bucket.page("~")).keys == []


@pytest.mark.parametrize("size", [1_000_000, MIN_PART])
async def test_bytes_that_another_writer_replaced_are_found_out(store, size):
    """Two writers without a lease, of a tail or of a part: neither finishes with the other's."""
    async with store.append("data/a", "") as writer:
        await writer.write(DATA[:MIN_PART])
        progress = await writer.checkpoint()
    async with store.append("data/a", progress) as one, store.append("data/a", progress) as other:
        await one.write(DATA[MIN_PART : MIN_PART + size])
        mine = await one.checkpoint()
        await other.write(bytes(size))
        await other.checkpoint()
    with pytest.raises(NotFound):
        async with store.append("data/a", mine) as writer:
            await writer.finish()
    with pytest.raises(NotFound):
        await store.get("data/a")


async def test_a_cancelled_write_loses_no_byte_that_it_counted(store, proxy):
    async with store.append("data/a", "") as writer:
        await writer.write(DATA[:HALF])
        proxy.fault(1, "hang", times=2)
        tasks = []
        for start in range(HALF, len(DATA), 1_000_000):
            task = asyncio.ensure_future(writer.write(DATA[start : start + 1_000_000]))
            tasks.append(task)
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                break
        taken = writer.offset
        progress = await writer.checkpoint()
    async with store.append("data/a", progress) as writer:
        assert writer.offset == taken
        await writer.write(DATA[taken:])
        await writer.finish()
    assert await read_content(store, "data/a") == DATA


# gravestones: MinIO's DELETE takes no condition


@pytest.fixture
async def left(store, proxy):
    """A key whose deletion broke off in the middle: its process died."""
    version = await store.create("a/b", b"1")
    proxy.fault(1, "refuse", times=1000, fits=lambda request: request.method == "DELETE")
    await store.delete("a/b", version=version)
    proxy.mend()
    return "a/b"


async def test_a_deletion_that_broke_off_is_one(store, left):
    for call in (store.get(left), store.stat(left)):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.key == left
    await store.delete(left)
    await store.create(left, b"2")


async def test_nothing_is_written_where_a_deletion_may_still_be_on_its_way(store, left):
    with pytest.raises(Unavailable, match="a/b: it is being deleted"):
        await store.create(left, b"2")
    with pytest.raises(PreconditionFailed):
        await store.replace(left, b"2", "0")


async def test_creating_waits_for_a_deletion_to_end(store, left):
    creating = asyncio.ensure_future(store.create(left, b"2"))
    await asyncio.sleep(0.1)
    await store._bucket.delete(left)
    await creating
    assert (await store.get(left)).data == b"2"


async def test_what_a_dead_process_left_is_replaced(store, left):
    store._graves._seconds = -10
    results = await asyncio.gather(
        *[store.create(left, b"%d" % number) for number in range(5)], return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, AlreadyExists) for result in results) == 4


async def test_what_a_dead_process_left_is_cleared_by_who_reads_it(store, left):
    with pytest.raises(Grave):
        await store._bucket.head(left)
    store._graves._seconds = -10
    with pytest.raises(NotFound):
        await store.get(left)
    with pytest.raises(NotFound) as caught:
        await store._bucket.head(left)
    assert not isinstance(caught.value, Grave)


async def test_what_a_dead_process_left_is_in_no_listing(store, left):
    alike = {f"a/c{number}": bytes(STONE) for number in range(40)}
    await store.put_all(list(alike.items()))
    assert list(await store.list("a/")) == sorted(alike)
    assert list(await store.list("a/", limit=1)) == [min(alike)]
