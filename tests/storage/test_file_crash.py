"""A process that is killed while it writes leaves nothing half-written, and loses nothing told."""

import asyncio
import hashlib
import os
import random
import tempfile
import time
from pathlib import Path

import pytest

from storage.filesystem import FileStore
from storage.ports import NotFound

WRITER = """
    import asyncio, hashlib, sys
    from pathlib import Path
    from storage.filesystem import FileStore
    from storage.ports import AlreadyExists

    def body(seed, size):
        block = hashlib.sha512(seed.encode()).digest()
        return (block * (size // 64 + 1))[:size]

    async def values(store, worker, turn):
        for number in range(turn * 1_000_000, (turn + 1) * 1_000_000):
            key = f"values/{worker}/{number % 20}"
            data = str(number).encode() + b":" + body(str(number), number % 9000)
            match number % 3:
                case 0:
                    await store.put(key, data, durable=number % 2 == 0)
                case 1:
                    await store.put_all([(key, data), (f"links/{worker}/{number}", b"")])
                case _:
                    try:
                        value = await store.get(key)
                        await store.replace(key, data, value.version)
                    except Exception:
                        await store.put(key, data)
            print("value", key, number)

    async def contents(store, worker, turn):
        for number in range(turn * 1_000_000, (turn + 1) * 1_000_000):
            key = f"data/{worker}/{number}"
            data = body(key, (number % 4) * 90_000 + 10)
            async with store.append(key, "") as writer:
                for start in range(0, len(data), 50_000):
                    await writer.write(data[start:start + 50_000])
                    if number % 2:
                        print("part", key, await writer.checkpoint())
                await writer.finish()
            print("content", key, len(data))

    async def main():
        store = FileStore(Path(sys.argv[1]), threads=8)
        turn = int(sys.argv[2])
        print("ready")
        await asyncio.gather(*[values(store, n, turn) for n in range(3)],
                             *[contents(store, n, turn) for n in range(3)])

    asyncio.run(main())
"""


def body(seed, size):
    block = hashlib.sha512(seed.encode()).digest()
    return (block * (size // 64 + 1))[:size]


async def every_key(store, prefix):
    found = []
    while page := await store.list(prefix, after=found[-1] if found else ""):
        found += page
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_writer_loses_nothing_it_told_of(tmp_path, start, seed):
    root = tmp_path / "store"
    pause = random.Random(seed)  # noqa: S311
    told_values, told_contents, told_parts = {}, {}, {}
    for turn in range(4):
        child = start(WRITER, root, turn)
        assert child.hear() == "ready"
        time.sleep(pause.uniform(0.05, 0.5))
        for line in child.kill().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            what, key, number = line.split()
            told = {"value": told_values, "content": told_contents, "part": told_parts}[what]
            told[key] = int(number)
    assert told_values
    assert told_contents
    store = FileStore(root, threads=4)
    for key in await every_key(store, "values/"):
        data = (await store.get(key)).data
        number, _, rest = data.partition(b":")
        assert rest == body(number.decode(), int(number) % 9000)
        assert int(number) >= told_values.get(key, 0)
    assert set(told_values) <= set(await every_key(store, "values/"))
    there = await every_key(store, "data/")
    assert set(told_contents) <= set(there)
    for key in there:
        size = (int(key.rpartition("/")[2]) % 4) * 90_000 + 10
        async with store.open(key) as reader:
            assert b"".join([piece async for piece in reader]) == body(key, size)
    for key, length in told_parts.items():
        if key in there:
            continue
        async with store.append(key, str(length)) as writer:
            await writer.finish()
        async with store.open(key) as reader:
            assert b"".join([piece async for piece in reader]) == body(key, 270_010)[:length]
    store.close()


async def resume_finished(root):
    store = FileStore(root)
    for key, progress in (("data/a", "100000"), ("data/b", "")):
        async with store.append(key, "") as writer:
            await writer.write(bytes(100_000))
            await writer.checkpoint()
        (root / "partial" / key.replace("/", "~")).chmod(0o400)
        async with store.append(key, progress) as writer:
            await writer.write(b"more")
            assert await writer.finish() == int(progress or "0") + 4
    store.close()


def test_resuming_what_a_killed_writer_had_begun_to_finish():
    """It has the mode of finished content then, which only root may open for writing."""
    with tempfile.TemporaryDirectory() as directory:
        nobody = 65534
        if os.geteuid() == 0:
            os.chown(directory, nobody, nobody)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgid(nobody)
                    os.setuid(nobody)
                asyncio.run(resume_finished(Path(directory)))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0


async def test_a_value_torn_by_power_loss_counts_as_missing(tmp_path):
    """Only those written with durable=False can be torn; they carry a hash for that."""
    store = FileStore(tmp_path / "store")
    path = tmp_path / "store/objects/a/b"

    async def replaced():
        version = await store.put("a/b", b"old")
        await store.replace("a/b", b"x" * 5000, version, durable=False)

    for write, tear in (
        (lambda: store.put("a/b", b"x" * 5000, durable=False), lambda data: b""),
        (lambda: store.create("a/b", b"x" * 5000, durable=False), lambda data: bytes(len(data))),
        (replaced, lambda data: data[:-1]),
    ):
        await write()
        whole = path.read_bytes()
        path.write_bytes(tear(whole))
        with pytest.raises(NotFound):
            await store.get("a/b")
        with pytest.raises(NotFound):
            await store.stat("a/b")
        await store.create("a/b", b"new")
        assert (await store.get("a/b")).data == b"new"
        await store.delete("a/b")
    store.close()
