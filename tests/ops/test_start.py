"""A registry that starts before its store is there."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from conformance.server import RegistryProcess, free_port
from conformance.stores import StoreProcess, find_store
from tests.ops.wire import eventually, get

WAITS = "does not answer yet"


def s3(port, **more):
    """Settings of a bucket at a port of this machine."""
    return {
        "STORAGE__DRIVER": "s3",
        "STORAGE__S3__ENDPOINT": f"http://127.0.0.1:{port}",
        "STORAGE__S3__BUCKET": "images",
        "STORAGE__S3__ACCESS_KEY": "somebody",
        "STORAGE__S3__SECRET_KEY": "something",
        "STORAGE__S3__TOTAL_SECONDS": "1",  # of each try
    } | more


@pytest.fixture
def starting(tmp_path):
    """Start a registry over what listens on a port, and do not wait for it."""
    running = []

    def start(settings, workers=1):
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "registry", "serve"),
                    *("--addr", f"127.0.0.1:{free_port()}", "--workers", str(workers)),
                ],
                env=os.environ | {f"MOORAGE__{key}": value for key, value in settings.items()},
                stdout=log,
                stderr=log,
            )
        running.append(process)
        return process, (tmp_path / "log").read_text

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_it_waits_for_its_store_and_serves_when_that_is_there(tmp_path):
    kind = next((kind for kind in ("minio", "seaweedfs") if find_store(kind)), None)
    if kind is None:
        pytest.skip("not installed: a store that speaks S3")
    store = StoreProcess(kind, tmp_path)
    settings = store.settings("images") | {
        "STORAGE__S3__CREATE_BUCKET": "true",
        "STORAGE__S3__WAIT_SECONDS": "600",
        "STORAGE__S3__TOTAL_SECONDS": "5",
    }
    server = RegistryProcess(store="s3", settings=settings, log=tmp_path / "server.log")
    starting = threading.Thread(target=server.start, args=(100,))
    starting.start()
    try:
        assert eventually(lambda: server.log.exists() and WAITS in server.log.read_text(), 60)
        with store:
            starting.join(110)
            assert get(server, "/readyz")[0] == 200
    finally:
        server.kill()
        starting.join()
    server.check_log()
    assert "can't start" not in server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_end_while_it_waits_it_ends(starting, workers):
    redis = {"COORDINATION__REDIS__URL": f"redis://127.0.0.1:{free_port()}"}  # never asked
    process, said = starting(s3(free_port(), **redis), workers)
    assert eventually(lambda: WAITS in said(), 60), said()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, said()


def test_it_gives_up_in_the_end_and_says_what_it_waited_for(starting):
    port = free_port()
    process, said = starting(s3(port, STORAGE__S3__WAIT_SECONDS="0.1"))
    assert process.wait(60) == 3, said()
    assert f"can't start: bucket images at http://127.0.0.1:{port}" in said()


def test_what_the_store_refuses_is_not_waited_for(starting, seaweedfs):
    """Another key will not be good in a minute."""
    began = time.monotonic()
    process, said = starting(s3(seaweedfs.port, STORAGE__S3__TOTAL_SECONDS="60"))
    assert process.wait(80) == 3, said()
    assert WAITS not in said()
    assert "403" in said()
    print(f"ended after {time.monotonic() - began:.1f} s")


def test_what_is_cancelled_though_nobody_said_so_has_failed():
    program = """
import asyncio, sys
from registry import app, cli

async def cancelled(*_):
    raise asyncio.CancelledError

app._run = cancelled
sys.exit(cli.main(["serve", "--memory", "--addr", "127.0.0.1:0"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "the server failed" in done.stderr
    assert "told to stop" not in done.stderr
