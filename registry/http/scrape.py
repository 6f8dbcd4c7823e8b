"""Serving ``/metrics``: one port for all workers.

The workers share the port's listening socket, and any of them answers. What each counted stands in
a file that it rewrites every second, in a directory of their supervisor, and before it answers. An
answer is made from the files only, never from what the worker knows besides: so no counter runs
backwards from one worker's answer to another's. When a worker dies, what it counted stays in its
file; its gauges are gone with it.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from registry.http.answer import Answer

_log = logging.getLogger("moorage.metrics")

INTERVAL: Final = 1.0
"""Seconds between two writes of a worker's file."""

_BEGAN: Final = time.monotonic_ns()

# All workers tell them alike, so they must not be added up.
_SAME: Final = frozenset({"moorage_build_info", "moorage_s3_honours"})


class Sample(msgspec.Struct, array_like=True):
    """One number of a family: the name with its suffix, labels, value."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, array_like=True):
    """One metric with all its samples."""

    name: str
    help: str
    type: str
    samples: list[Sample]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Family])


def snapshot(collector: Collector) -> bytes:
    """Write down what ``collector`` has now."""
    return _encoder.encode(
        [
            Family(
                family.name,
                family.documentation,
                family.type,
                [Sample(each.name, each.labels, float(each.value)) for each in family.samples],
            )
            for family in collector.collect()
        ]
    )


class Merged:
    """A collector that adds up the files of all workers, living and dead, in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """Read the files as they are now."""
        merged: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for file in sorted(self._directory.glob("*.metrics")):
            families = _decoder.decode(file.read_bytes())
            alive = _alive(file)
            for family in families:
                merged.setdefault(family.name, Metric(family.name, family.help, family.type))
                if family.type == "gauge" and not alive:
                    continue
                into = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = (sample.name, tuple(sample.labels.items()))
                    before = 0.0 if family.name in _SAME else into.get(key, 0.0)
                    into[key] = before + sample.value
        for name, metric in merged.items():
            for (sample_name, labels), value in values.get(name, {}).items():
                metric.add_sample(sample_name, dict(labels), value)
            yield metric


def _alive(file: Path) -> bool:
    """Whether the process that a file is named after still runs."""
    try:
        os.kill(int(file.name.partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_file(directory: Path, collector: Collector) -> None:
    """Write this process's file, whole or not at all."""
    name = f"{os.getpid()}-{_BEGAN}"  # numbers of processes come again
    fresh = directory / f"{name}.new"
    fresh.write_bytes(snapshot(collector))
    fresh.replace(directory / f"{name}.metrics")


class MetricsServer:
    """Answers ``GET /metrics`` for one process, or for all that share ``directory``."""

    def __init__(self, collector: Collector, directory: Path | None) -> None:
        self._collector = collector
        self._directory = directory
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector if directory is None else Merged(directory))
        self._servers: list[asyncio.Server] = []
        self._web: web.Server | None = None
        self._writing: asyncio.Task[None] | None = None
        self._stale = False

    async def start(self, sockets: list[socket.socket]) -> None:
        """Begin to answer, and to write this process's file."""
        self._web = web.Server(self._answer, access_log=None, keepalive_timeout=75.0)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(await loop.create_server(self._web, sock=sock))
        if self._directory is not None:
            self._write(self._directory)
            self._writing = asyncio.create_task(self._write_often(self._directory))

    async def _write_often(self, directory: Path) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self._write(directory)

    def _write(self, directory: Path) -> None:
        """Write the file. A full disk costs fresh figures, never the service."""
        try:
            write_file(directory, self._collector)
        except OSError as error:
            if not self._stale:
                _log.warning("metrics are not up to date: they can't be written: %s", error)
            self._stale = True
        else:
            self._stale = False

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        text = ("Content-Type", "text/plain; charset=utf-8")
        if request.method not in ("GET", "HEAD"):
            return Answer(405, (text, ("Allow", "GET, HEAD")), b"only GET\n")
        if request.raw_path.partition("?")[0] != "/metrics":
            return Answer(404, (text,), b"metrics are at /metrics\n")
        if self._directory is not None:
            self._write(self._directory)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Answer(200, (("Content-Type", content_type),), encode(self._registry))

    async def close(self) -> None:
        """Stop, and leave behind what was counted."""
        if self._writing is not None:
            self._writing.cancel()
        for server in self._servers:
            server.close()
        if self._web is not None:
            await self._web.shutdown(0.5)
        if self._directory is not None:
            self._write(self._directory)
