"""The dashboard on a real Prometheus that scrapes a registry under load.

`make dashboards` runs it, draws every panel, and has Chromium take a picture of the page.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest

from benchmarks.quotas import SECRET, SIDES, prepare, push
from conformance.server import RegistryProcess, free_port
from conformance.stores import StoreProcess
from tests.deploy.panels import Prometheus, expressions, page
from tests.deploy.test_monitoring import DASHBOARD
from tests.fixtures.programs import require_program

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("MOORAGE_DASHBOARDS"), reason="`make dashboards` runs it"
    ),
    pytest.mark.timeout(400),
]

SCRAPES = 12
"""As many of each replica, under load."""

LONGEST = 240
SILENT = {
    "Errors": "nothing failed",
    "Versions": "",
    "Last pass and last scrub": "there was no scrub",
    "Bytes read by the last scrub": "there was no scrub",
    "Not as it should be": "nothing was damaged, and nothing failed",
    "Store operations that fail": "none failed",
    "Receivers' answers": "there is no webhook",
}
"""Panels that may be empty, in part or whole, where all is well."""


async def load(server, head, enough):
    """Push and pull, see a refusal and a miss, until it is enough."""
    async with aiohttp.ClientSession(server.url, headers=head) as client:

        async def pushes(number):
            count = 0
            while not enough.is_set():
                await push(client, SIDES[number % 2], count, os.urandom(8))
                count += 1

        async def reads():
            root = f"/v2/{SIDES[0]}/env"
            while not enough.is_set():
                for path in (
                    f"{root}/tags/list",
                    f"{root}/manifests/missing",
                    "/v2/other/a/tags/list",
                ):
                    async with client.get(path) as answer:
                        await answer.read()
                await asyncio.sleep(0.05)

        async def removes():
            root = f"/v2/{SIDES[0]}/env"
            while not enough.is_set():
                async with client.get(f"{root}/tags/list?n=1") as answer:
                    tags = (await answer.json()).get("tags") if answer.status == 200 else None
                for tag in tags or []:
                    async with client.delete(f"{root}/manifests/{tag}") as answer:
                        await answer.read()
                await asyncio.sleep(0.5)

        await asyncio.gather(*map(pushes, range(4)), reads(), removes())


def test_every_panel_has_data_of_a_registry_under_load(redis_servers, tmp_path):
    program = require_program("prometheus")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(StoreProcess("minio", tmp_path))
        ports = {f"moorage-{number}": free_port() for number in range(2)}
        settings = {
            "AUTH__MODE": "projects",
            "AUTH__BOOTSTRAP_SECRET": SECRET,
            "RATES__ENABLED": "on",
            "QUOTA__INTERVAL_SECONDS": "3",
            "COLLECTION__INTERVAL_SECONDS": "3",
            "COLLECTION__GRACE_SECONDS": "5",
            "COLLECTION__UNDELETE_SECONDS": "1",
            "COLLECTION__RETENTION_SECONDS": "5",
            "COORDINATION__REDIS__URL": redis_servers.server().url,
            **store.settings("dashboard"),
        }
        servers = [
            stack.enter_context(
                RegistryProcess(
                    store="s3",
                    log=tmp_path / f"{pod}.log",
                    workers=2,
                    settings={**settings, "METRICS__ADDR": f"127.0.0.1:{port}"},
                )
            )
            for pod, port in ports.items()
        ]
        prometheus = stack.enter_context(Prometheus(program, tmp_path, ports).running())
        head = prepare(servers[0])
        began = time.time()

        async def all_load():
            enough = asyncio.Event()
            loads = [asyncio.create_task(load(server, head, enough)) for server in servers]
            async with asyncio.timeout(LONGEST):
                while await asyncio.to_thread(prometheus.scrapes) < SCRAPES:
                    await asyncio.sleep(1)
            enough.set()
            await asyncio.gather(*loads)

        asyncio.run(all_load())
        panels = [
            (
                panel,
                [
                    line
                    for expression, legend in expressions(panel)
                    for line in prometheus.query(expression, began, time.time(), legend)
                ],
            )
            for panel in DASHBOARD["panels"]
        ]
    written = Path(os.environ["MOORAGE_DASHBOARDS"])
    written.mkdir(parents=True, exist_ok=True)
    (written / "dashboard.html").write_text(page("Moorage", panels))
    picture(written)
    empty = {
        panel["title"]
        for panel, lines in panels
        if panel["type"] != "row" and not any(line.known for line in lines)
    }
    assert empty <= set(SILENT)


def picture(written):
    """Have Chromium take a picture of the page, where there is one."""
    browser = shutil.which("chromium")
    if browser is None:
        return
    height = 60 + 26 * max(
        each["gridPos"]["y"] + each["gridPos"]["h"] for each in DASHBOARD["panels"]
    )
    done = subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--user-data-dir={written / 'profile'}",
            f"--window-size=1500,{height}",
            f"--screenshot={written / 'dashboard.png'}",
            (written / "dashboard.html").as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    shutil.rmtree(written / "profile", ignore_errors=True)
    assert (written / "dashboard.png").exists(), done.stderr[-2000:]
