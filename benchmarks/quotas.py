"""What a quota costs: many pushes at once into one project, with and without limits.

`python -m benchmarks.quotas [--rounds N] [--pushes N] [--workers N] [--s3]`. One registry serves
two projects that differ in nothing but the quota. Each round pushes the same number of images into
both, all at once, in turns. Each image is a layer of 64 KiB and one byte (sent by POST, PATCH and
PUT), a config, and a manifest with a tag of its own. The client shares the machine's processors
with the server; so beside the speed stands the processor time that the server took.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from benchmarks import processes
from benchmarks.logins import request
from conformance.server import RegistryProcess
from conformance.stores import StoreProcess

SECRET = "a secret for this run only"  # noqa: S105
PASSWORD = "a password for this run only"  # noqa: S105
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = 64 * 1024 + 1
SIDES = ("free", "limited")


def prepare(server: RegistryProcess, actions: str = "pull,push") -> dict[str, str]:
    """Make the projects; return what a client shows: a token that is good for both."""

    def ask(method: str, path: str, body: object, head: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        request(server, method, f"/api/v1{path}", data, {**head, **kind})

    first = {"secret": SECRET, "name": "root", "password": PASSWORD}
    ask("POST", "/bootstrap", first, {})
    pair = base64.b64encode(f"root:{PASSWORD}".encode()).decode()
    basic = {"Authorization": f"Basic {pair}"}
    for name in SIDES:
        ask("PUT", f"/projects/{name}", {"owner": "user:root"}, basic)
    limits = {"bytes": 1 << 40, "repositories": 1000, "tags": 10_000_000}
    ask("PUT", "/projects/limited/quota", limits, basic)
    scopes = "&".join(f"scope=repository:{name}/env:{actions}" for name in SIDES)
    token = json.loads(request(server, "GET", f"/token?service=moorage&{scopes}", None, basic))
    return {"Authorization": f"Bearer {token['token']}"}


async def push(client: aiohttp.ClientSession, project: str, number: int, seed: bytes) -> None:
    """Push one image that nobody has."""
    root = f"/v2/{project}/env"

    async def send(method: str, url: str, status: int, **more: object) -> aiohttp.ClientResponse:
        async with client.request(method, url, **more) as answer:  # type: ignore[arg-type]
            if answer.status != status:
                raise RuntimeError(f"{method} {url}: {answer.status} {await answer.text()}")
            return answer

    def described(data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    layer = seed + os.urandom(LAYER - len(seed))
    config = json.dumps({"number": number, "seed": seed.hex()}).encode()
    opened = await send("POST", f"{root}/blobs/uploads/", 202)
    taken = await send("PATCH", opened.headers["Location"], 202, data=layer)
    digest = described(layer)["digest"]
    await send("PUT", f"{taken.headers['Location']}?digest={digest}", 201)
    digest = described(config)["digest"]
    await send("POST", f"{root}/blobs/uploads/?digest={digest}", 201, data=config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(config),
        "layers": [described(layer)],
    }
    body, kind = json.dumps(manifest).encode(), {"Content-Type": MANIFEST}
    tag = f"{root}/manifests/{seed.hex()}-{number}"
    await send("PUT", tag, 201, data=body, headers=kind)


async def crowd(
    server: RegistryProcess, head: dict[str, str], project: str, pushes: int
) -> tuple[float, float]:
    """Push so many images at once; return the seconds, and those of the server's processors."""
    connector = aiohttp.TCPConnector(limit=pushes)
    async with aiohttp.ClientSession(server.url, headers=head, connector=connector) as client:
        before, began = processes.processor_seconds(server.pid), time.perf_counter()
        seed = os.urandom(8)
        await asyncio.gather(*(push(client, project, number, seed) for number in range(pushes)))
        took = time.perf_counter() - began
        return took, processes.processor_seconds(server.pid) - before


def main() -> None:
    """Print each round, then medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pushes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--s3", action="store_true", help="keep the content in MinIO")
    options = parser.parse_args()
    settings = {
        "AUTH__MODE": "projects",
        "AUTH__BOOTSTRAP_SECRET": SECRET,
        "RATES__ENABLED": "off",
        "COLLECTION__ENABLED": "false",
    }
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quotas-")))
        settings["LOG__ACCESS_FILE"] = str(work / "access.log")
        if options.s3:
            store = stack.enter_context(StoreProcess("minio", work))
            settings |= store.settings("quotas")
        server = stack.enter_context(
            RegistryProcess(
                store="s3" if options.s3 else "filesystem",
                data=None if options.s3 else work / "data",
                log=work / "server.log",
                workers=options.workers,
                settings=settings,
            )
        )
        head = prepare(server)
        for name in SIDES:
            asyncio.run(crowd(server, head, name, options.pushes))
        report(server, head, options.rounds, options.pushes)


def report(server: RegistryProcess, head: dict[str, str], rounds: int, pushes: int) -> None:
    """Run the rounds and print what they say."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for number in range(rounds):
        for name in SIDES if number % 2 else SIDES[::-1]:
            found[name].append(asyncio.run(crowd(server, head, name, pushes)))
        line = (f"{name} {each[-1][0]:.2f} s, {each[-1][1]:.2f} s" for name, each in found.items())
        print(f"round {number + 1}: {'; '.join(line)} of processor time", flush=True)
    pairs = list(zip(*found.values(), strict=True))
    speeds = [free[0] / limited[0] for free, limited in pairs]
    costs = [free[1] / limited[1] for free, limited in pairs]
    rates = [pushes / statistics.median(took for took, _ in each) for each in found.values()]
    print(
        f"{rates[0]:.0f} pushes/s without a quota, {rates[1]:.0f} with; with one "
        f"{statistics.median(speeds):.1%} of the speed ({min(speeds):.1%} to {max(speeds):.1%}), "
        f"{statistics.median(costs):.1%} by processor time"
    )


if __name__ == "__main__":
    main()
