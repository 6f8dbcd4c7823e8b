"""What the capacity plan is made from: what each thing costs a registry over S3 and Redis.

`python -m benchmarks.capacity [--gib N] [--images N]`. One registry with logins, one worker, MinIO
and Redis on this machine. It counts: requests to S3 by kind and the server's processor time for
each piece of work (the registry's own metrics), objects in the bucket (listed), memory (Redis, and
the server's own). Prints a table. Counts do not depend on the machine; processor time and memory
do.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from benchmarks.processes import peak_resident
from benchmarks.quotas import MANIFEST, SECRET, SIDES, prepare
from cluster.cluster import find_program
from conformance.server import RegistryProcess, free_port
from conformance.stores import ACCESS_KEY, SECRET_KEY, StoreProcess
from registry import backend
from registry.collecting import collector, marker, terms_of
from registry.config import load
from registry.http.metrics import Metrics
from registry.scrubbing import scrubber
from registry.service.services import Services
from storage.s3 import S3Settings, S3Store

LAYERS = 10
BUCKET = "capacity"


class Counted:
    """What the registry's metrics said between two looks."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self.trusted = False

    def now(self) -> Counter[str]:
        found: Counter[str] = Counter()
        with contextlib.closing(_connection(self._address)) as line:
            line.request("GET", "/metrics")
            text = line.getresponse().read().decode()
        for row in text.splitlines():
            name, _, value = row.rpartition(" ")
            if name.startswith("moorage_s3_requests_total"):
                operation = name.partition('operation="')[2].partition('"')[0]
                found[operation] += int(float(value))
            elif name.startswith("moorage_process_cpu_seconds_total"):
                found["cpu"] = round(float(value) * 1e6)
            elif name.startswith("moorage_process_resident_memory_bytes"):
                found["rss"] = round(float(value))
            elif name.startswith("moorage_coordination_trusted"):
                self.trusted = float(value) > 0
            elif name.startswith("moorage_coordination_round_trip_seconds_count"):
                found["redis"] = int(float(value))
        return found


def _connection(address: str):  # noqa: ANN202  a type of the standard library's
    import http.client  # noqa: PLC0415

    return http.client.HTTPConnection(address)


def described(data: bytes, kind: str = "application/octet-stream") -> dict[str, object]:
    return {
        "mediaType": kind,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
    }


class Client:
    """Pushes and pulls as docker does: HEAD, POST, PATCH, PUT for a blob, the manifest last."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(
        self, method: str, url: str, status: int, **more: object
    ) -> aiohttp.ClientResponse:
        async with self._session.request(method, url, **more) as answer:  # type: ignore[arg-type]
            if answer.status != status:
                raise RuntimeError(f"{method} {url}: {answer.status} {await answer.text()}")
            await answer.read()
            return answer

    async def blob(self, root: str, data: bytes) -> None:
        digest = described(data)["digest"]
        await self.send("HEAD", f"{root}/blobs/{digest}", 404)
        opened = await self.send("POST", f"{root}/blobs/uploads/", 202)
        taken = await self.send("PATCH", opened.headers["Location"], 202, data=data)
        await self.send("PUT", f"{taken.headers['Location']}?digest={digest}", 201)

    async def image(
        self, root: str, tag: str, layers: list[bytes], *, new: list[bytes]
    ) -> list[object]:
        config = json.dumps({"tag": tag, "salt": os.urandom(8).hex()}).encode()
        for layer in new:
            await self.blob(root, layer)
        for layer in layers:
            if layer not in new:
                await self.send("HEAD", f"{root}/blobs/{described(layer)['digest']}", 200)
        await self.blob(root, config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(config),
            "layers": [described(layer) for layer in layers],
        }
        body = json.dumps(manifest).encode()
        await self.send(
            "PUT", f"{root}/manifests/{tag}", 201, data=body, headers={"Content-Type": MANIFEST}
        )
        return [manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])]  # type: ignore[index,call-overload]

    async def pull(self, root: str, tag: str, blobs: list[object]) -> None:
        await self.send("HEAD", f"{root}/manifests/{tag}", 200)
        await self.send("GET", f"{root}/manifests/{tag}", 200)
        for digest in blobs:
            await self.send("GET", f"{root}/blobs/{digest}", 200)


async def objects(store: StoreProcess) -> tuple[Counter[str], int]:
    """How many objects lie in each area of the bucket, and the bytes of the audit log."""
    settings = S3Settings(
        bucket=BUCKET, endpoint=store.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    found: Counter[str] = Counter()
    audit = 0
    bucket = await S3Store.reading(settings)
    try:
        for area in (
            "data/",
            "blobs/",
            "refs/",
            "mounts/",
            "repos/",
            "catalog/",
            "gc/",
            "audit/",
            "pulls/",
            "tenants/",
            "projects/",
            "principals/",
            "quotas/",
            "accounts/",
        ):
            after = ""
            while page := await bucket.list(area, after=after, limit=1000):
                after = page[-1]
                for key in page:
                    name = area[:-1]
                    if area == "repos/":
                        name = "repos/*/" + key.partition("!/")[2].partition("/")[0]
                    found[name] += 1
                    if area == "audit/":
                        audit += (await bucket.stat(key)).size
    finally:
        await bucket.close()
    return found, audit


def redis_memory(port: int) -> dict[str, int]:
    import redis  # noqa: PLC0415  only here

    with redis.Redis(port=port) as client:
        info = client.info("memory")
        return {"used": int(info["used_memory"]), "keys": int(client.dbsize())}  # type: ignore[index,arg-type]


@contextlib.contextmanager
def running_redis(work: Path) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [
            find_program("redis-server"),
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
        ],
        cwd=work,
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        yield port
    finally:
        process.terminate()
        process.wait()


def show(
    name: str,
    before: Counter[str],
    after: Counter[str],
    per: float = 1,
    *,
    without: Counter[str] | None = None,
) -> None:
    """Print a row: what came between two looks, without what would have come anyhow."""
    told = after - before
    told.subtract(without or {})
    told = +told
    calls = {
        key: value / per
        for key, value in sorted(told.items())
        if key not in ("cpu", "rss", "redis")
    }
    listed = ", ".join(f"{key} {value:.3g}" for key, value in calls.items())
    print(
        f"| {name} | {sum(calls.values()):.3g} | {listed} | {told['redis'] / per:.3g} "
        f"| {told['cpu'] / per / 1000:.3g} |",
        flush=True,
    )


async def work(
    server: RegistryProcess,
    counted: Counted,
    store: StoreProcess,
    redis: int,
    head: dict[str, str],
    options: argparse.Namespace,
) -> None:
    root = f"/v2/{SIDES[0]}/env"
    async with aiohttp.ClientSession(server.url, headers=head) as session:
        client = Client(session)
        await client.image(root, "warm", [b"warm" * 30_000], new=[b"warm" * 30_000])
        print(
            "| work | S3 requests | of them | round trips to Redis | processor, ms |\n"
            "|---|--:|---|--:|--:|"
        )

        def measure(name: str, per: float = 1):  # noqa: ANN202
            return _Measure(name, counted, per, rates)

        # Redis is relied upon when its table has stood for half a minute.
        while not counted.trusted:
            await asyncio.sleep(1)
            counted.now()
        idle = counted.now()
        await asyncio.sleep(options.idle)
        quiet = counted.now()
        show("nothing, for one hour", idle, quiet, options.idle / 3600)
        rates = {key: each / options.idle for key, each in (quiet - idle).items() if key != "rss"}
        base = [os.urandom(1 << 20) for _ in range(LAYERS)]
        with measure(f"push of an image of {LAYERS} layers of 1 MiB, all new"):
            blobs = await client.image(root, "base", base, new=base)
        count = options.images
        before = await objects(store)
        tops = [os.urandom(1 << 20) for _ in range(count)]
        with measure("push of an image, one of its layers new", count):
            for number, top in enumerate(tops):
                await client.image(root, f"v{number}", [*base[:-1], top], new=[top])
        after = await objects(store)
        print(
            "objects more for each image, one layer of it new:",
            {key: round((after[0] - before[0])[key] / count, 2) for key in (after[0] - before[0])},
            file=sys.stderr,
        )
        requests_of_a_push = 1 * 4 + (LAYERS - 1) + 4 + 1
        print(
            f"audit: {(after[1] - before[1]) / count:.0f} bytes and "
            f"{(after[0] - before[0])['audit'] / count:.2f} objects for each push "
            f"of {requests_of_a_push} requests",
            file=sys.stderr,
        )
        with measure("pull of it, whole, for the first time"):
            await client.pull(root, "base", blobs)
        with measure("the same again", 10):
            for _ in range(10):
                await client.pull(root, "base", blobs)
        with measure("HEAD and GET of a manifest, again", 200):
            for _ in range(200):
                await client.pull(root, "base", [])
        with measure("a page of 100 tags", 20):
            for _ in range(20):
                await client.send("GET", f"{root}/tags/list?n=100", 200)
        big = os.urandom(16 << 20)
        opened = await client.send("POST", f"{root}/blobs/uploads/", 202)
        hasher = hashlib.sha256()

        async def stream():  # noqa: ANN202
            for _ in range(64 * options.gib):
                hasher.update(big)
                yield big

        with measure("push of 1 GiB in one layer", options.gib):
            taken = await client.send("PATCH", opened.headers["Location"], 202, data=stream())
            digest = f"sha256:{hasher.hexdigest()}"
            await client.send("PUT", f"{taken.headers['Location']}?digest={digest}", 201)
        with measure("pull of 1 GiB in one layer", options.gib):
            async with session.get(f"{root}/blobs/{digest}") as answer:
                async for _ in answer.content.iter_chunked(1 << 20):
                    pass
        with measure("deleting an image", count):
            for number in range(count):
                await client.send("DELETE", f"{root}/manifests/v{number}", 202)
        now = counted.now()
        print(
            f"memory of the worker: {idle['rss'] >> 20} MiB at first, "
            f"{now['rss'] >> 20} MiB at the end, "
            f"peak {peak_resident(server.pid) >> 20} MiB",
            file=sys.stderr,
        )
        print("Redis:", redis_memory(redis), file=sys.stderr)
        found, audit = await objects(store)
        print("objects:", dict(found), f"audit log: {audit} bytes", file=sys.stderr)


class _Measure:
    def __init__(self, name: str, counted: Counted, per: float, idle: dict[str, float]) -> None:
        self._name, self._counted, self._per, self._idle = name, counted, per, idle

    def __enter__(self) -> None:
        self._before, self._began = self._counted.now(), time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            took = time.monotonic() - self._began
            anyhow = Counter({key: round(each * took) for key, each in self._idle.items()})
            show(self._name, self._before, self._counted.now(), self._per, without=anyhow)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=int, default=2)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--idle", type=int, default=40)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capacity-")))
        store = stack.enter_context(StoreProcess("minio", home))
        redis = stack.enter_context(running_redis(home))
        port = free_port()
        settings = {
            "AUTH__MODE": "projects",
            "AUTH__BOOTSTRAP_SECRET": SECRET,
            "RATES__ENABLED": "off",
            "LOG__ACCESS_FILE": str(home / "access.log"),
            "COORDINATION__REDIS__URL": f"redis://127.0.0.1:{redis}/0",
            "METRICS__ADDR": f"127.0.0.1:{port}",
            "COLLECTION__ENABLED": "false",
            **store.settings(BUCKET),
        }
        server = stack.enter_context(
            RegistryProcess(store="s3", log=home / "server.log", settings=settings)
        )
        head = prepare(server, "pull,push,delete")
        asyncio.run(work(server, Counted(port), store, redis, head, options))
        server.stop()
        del settings["METRICS__ADDR"]
        asyncio.run(jobs(settings))


async def jobs(settings: dict[str, str]) -> None:
    """What a scrub, a full mark, and collecting what was deleted take."""
    environment = {f"MOORAGE__{name}": value for name, value in settings.items()}
    config = load([], {**environment, "MOORAGE__COLLECTION__PER_SECOND": "0"})
    later = [0.0]
    terms = dataclasses.replace(terms_of(config), clock=lambda: time.time() + later[0])
    metrics = Metrics(version="capacity")

    def now() -> Counter[str]:
        found = Counter({"cpu": round(time.process_time() * 1e6)})
        for family in metrics.s3.collect():
            for sample in family.samples:
                if sample.name == "moorage_s3_requests_total":
                    found[sample.labels["operation"]] += int(sample.value)
        return found

    async with backend.opened(config, metrics) as opened:
        services = Services.over(
            opened.store,
            opened.coordinator,
            files=opened.files,
            memory=0,
            terms=terms,
            exact=opened.exact,
            projects=True,
        )
        before = now()
        done = await scrubber(config, opened, terms, lambda _: None).scrub()
        show(
            f"scrub, for each blob and manifest (of {done.looked}, {done.bytes >> 20} MiB)",
            before,
            now(),
            done.looked,
        )
        before = now()
        marked = await marker(opened, services, lambda _: None).mark()
        seen = marked.manifests + marked.members + marked.pointers
        show(f"full mark, for each manifest, member and blob (of {seen})", before, now(), seen)
        removed: Counter[str] = Counter()
        for step, days in enumerate((8, 10, 12)):
            later[0] = days * 86_400.0
            before = now()
            passed = await collector(
                config,
                opened,
                services,
                lambda found: removed.update([f"{found.done} {found.kind}"]),
            ).collect()
            if passed.seen:
                show(
                    f"collection, pass {step + 1}, for each of {passed.seen} candidates",
                    before,
                    now(),
                    passed.seen,
                )
        print("collected:", dict(removed), file=sys.stderr)


if __name__ == "__main__":
    main()
