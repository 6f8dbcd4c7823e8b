"""What traces cost: one manifest, got over and over by one client, off, not sampled, and sampled.

`python -m benchmarks.tracing [--rounds N] [--requests N]`. One registry of one worker for each
way, in turns; a collector that takes all of it. Processor time of the server for each request,
since the client shares the machine. Beside it, by `timeit`, what a call of the store asks where
nothing is traced.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import tempfile
import timeit
from pathlib import Path

from benchmarks.processes import processor_seconds
from conformance.server import RegistryProcess
from tests.tracing.collector import Collector

_CONFIG = b"{}"
_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_KIND = "application/vnd.oci.image.manifest.v1+json"
_WAYS: dict[str, dict[str, str] | None] = {
    "off": None,
    "ratio 0": {"TRACING__RATIO": "0"},
    "ratio 1": {"TRACING__RATIO": "1"},
}


def _prepare(server: RegistryProcess) -> http.client.HTTPConnection:
    line = http.client.HTTPConnection(server.address)
    body = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _DIGEST, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": _KIND, "config": body, "layers": []}
    for method, path, data, head in (
        ("POST", f"/v2/a/b/blobs/uploads/?digest={_DIGEST}", _CONFIG, {}),
        ("PUT", "/v2/a/b/manifests/1", json.dumps(manifest).encode(), {"Content-Type": _KIND}),
    ):
        line.request(method, path, data, head)
        answer = line.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"{method} {path}: {answer.status}")
    return line


def _microseconds(server: RegistryProcess, line: http.client.HTTPConnection, count: int) -> float:
    before = processor_seconds(server.pid)
    for _ in range(count):
        line.request("GET", "/v2/a/b/manifests/1")
        line.getresponse().read()
    return (processor_seconds(server.pid) - before) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in _WAYS}
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracing-")))
        collector = stack.enter_context(Collector())
        sides = {}
        for name, more in _WAYS.items():
            settings = {"LOG__ACCESS_FILE": str(work / f"{name}.access")}
            if more is not None:
                settings |= {"TRACING__ENDPOINT": collector.url, **more}
            server = RegistryProcess(store="memory", log=work / name, settings=settings)
            stack.enter_context(server)
            sides[name] = server, _prepare(server)
        for _ in range(options.rounds):
            for name, (server, line) in sides.items():
                found[name].append(_microseconds(server, line, options.requests))
    for name, values in found.items():
        print(
            f"{name}: {statistics.median(values):.1f} µs a request "
            f"[{min(values):.1f} - {max(values):.1f}]"
        )
    from registry.tracing.ports import storage_span  # noqa: PLC0415  only here

    number = 1_000_000
    off = timeit.timeit("begin is not None", globals={"begin": None}, number=number)
    idle = timeit.timeit("begin('get', 'blobs/x')", globals={"begin": storage_span}, number=number)
    print(
        f"a call of the store, off: {off / number * 1e9:.0f} ns; "
        f"not sampled: {idle / number * 1e9:.0f} ns"
    )


if __name__ == "__main__":
    main()
