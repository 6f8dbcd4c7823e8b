"""What a login costs: one manifest, with a token and with a password, beside an open registry.

`python -m benchmarks.logins [--rounds N] [--seconds N]`. Each round does the three one after the
other, for a moment each. Beside the rate stands the server's processor time per request: on a
machine that does other things too, that is the figure to look at. Needs `wrk`.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import statistics
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from auth.identity import Identity
from auth.passwords import Passwords
from benchmarks import processes, wrk
from conformance.server import RegistryProcess
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.projects import Wanted
from registry.service.projects.tenancy import Tenancy
from registry.service.services import Services
from storage.filesystem import FileStore
from storage.shared import HostCoordinator

PASSWORD = "a password for this run only"  # noqa: S105
PATH = "/v2/demo/env/manifests/v1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


async def prepare(data: Path) -> None:
    """Make an account and a project of its own, before the registry starts."""
    store, root = FileStore(data), Identity("user:root")
    try:
        coordinator = HostCoordinator(data / "coordination")
        services = Services.over(store, coordinator, files=store, memory=0)
        tenancy = Tenancy.over(store, coordinator, services, Passwords(), memory=0)
        await tenancy.accounts.create("alice", PASSWORD, AccountTerms(), root)
        await tenancy.projects.create(Wanted("demo", owner="user:alice"), root)
    finally:
        store.close()


def request(
    server: RegistryProcess, method: str, path: str, body: bytes | None, head: Mapping[str, str]
) -> bytes:
    """Send one request that must succeed."""
    asked = urllib.request.Request(server.url + path, body, dict(head), method=method)  # noqa: S310
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        data: bytes = answer.read()
    return data


def push(server: RegistryProcess, head: Mapping[str, str]) -> None:
    """Push an image of one small layer."""

    def blob(data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        path = f"/v2/demo/env/blobs/uploads/?digest={digest}"
        request(server, "POST", path, data, {**head, "Content-Type": "application/octet-stream"})
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(b"{}"),
        "layers": [blob(b"x" * 1000)],
    }
    body = json.dumps(manifest).encode()
    request(server, "PUT", PATH, body, {**head, "Content-Type": MANIFEST})


def measure(
    server: RegistryProcess, seconds: float, head: Mapping[str, str]
) -> tuple[float, float]:
    """Requests per second, and the server's microseconds of processor time for each."""
    before = processes.processor_seconds(server.pid)
    rate = wrk.run(server.url + PATH, seconds, *head.items())
    used = processes.processor_seconds(server.pid) - before
    return rate, used / (rate * max(1, round(seconds))) * 1e6


def main() -> None:
    """Print each round, then medians and ratios to the open registry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logins-") as home:
        work = Path(home)
        asyncio.run(prepare(work / "closed"))
        settings = {"AUTH__MODE": "projects", "LOG__ACCESS_FILE": str(work / "access.log")}
        # Each request is counted, as it is by default, and none is one too many.
        for limit in ("ADDRESS", "PRINCIPAL"):
            settings |= {
                f"RATES__{limit}_PER_SECOND": "1000000",
                f"RATES__{limit}_BURST": "1000000",
            }
        with (
            RegistryProcess(
                store="filesystem", data=work / "open", log=work / "1.log",
                settings={"LOG__ACCESS_FILE": str(work / "open.log")},
            ) as open_registry,
            RegistryProcess(
                store="filesystem", data=work / "closed", log=work / "2.log", settings=settings
            ) as closed,
        ):  # fmt: skip
            pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
            basic = {"Authorization": f"Basic {pair}"}
            push(open_registry, {})
            push(closed, basic)
            query = "/token?service=moorage&scope=repository:demo/env:pull,push"
            token = json.loads(request(closed, "GET", query, None, basic))["token"]
            sides: dict[str, Callable[[], tuple[float, float]]] = {
                "open": lambda: measure(open_registry, options.seconds, {}),
                "token": lambda: measure(
                    closed, options.seconds, {"Authorization": f"Bearer {token}"}
                ),
                "password": lambda: measure(closed, options.seconds, basic),
            }
            report(sides, options.rounds)


def report(sides: Mapping[str, Callable[[], tuple[float, float]]], rounds: int) -> None:
    """Run the rounds and print what they say."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            found[name].append(run())
        line = (f"{name} {each[-1][0]:,.0f}/s {each[-1][1]:.1f} us" for name, each in found.items())
        print(f"round {number + 1}: {'; '.join(line)}")
    for name, each in found.items():
        rates = [rate / first[0] for (rate, _), first in zip(each, found["open"], strict=True)]
        costs = [first[1] / cost for (_, cost), first in zip(each, found["open"], strict=True)]
        print(
            f"{name}: {statistics.median(rate for rate, _ in each):,.0f}/s, "
            f"{statistics.median(cost for _, cost in each):.1f} us of processor time; "
            f"of an open registry's {statistics.median(rates):.0%} by rate, "
            f"{statistics.median(costs):.0%} by processor time"
        )


if __name__ == "__main__":
    main()
