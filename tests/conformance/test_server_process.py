"""The process that tests and runners start: it never stays behind."""

import subprocess
import sys
import time
from pathlib import Path

from conformance.server import RegistryProcess, is_ready

ROOT = Path(__file__).resolve().parents[2]

STARTER = """
import os, pathlib, signal, sys
from conformance.server import RegistryProcess
server = RegistryProcess(store="memory", workers=2, log=pathlib.Path(sys.argv[1]))
server.start()
print(server.address, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_server_does_not_outlive_a_starter_that_is_killed(tmp_path):
    """A test run that is killed runs no fixture's end."""
    starter = subprocess.run(
        [sys.executable, "-c", STARTER, tmp_path / "log"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    address = starter.stdout.strip()
    assert address, starter.stderr
    deadline = time.monotonic() + 60
    while is_ready(address):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_server_serves_its_data_again_on_the_same_address(tmp_path):
    server = RegistryProcess(store="filesystem", data=tmp_path / "data", log=tmp_path / "log")
    with server:
        address, first = server.address, server.pid
        server.kill()
        assert not is_ready(address)
        server.start()
        assert (server.address, is_ready(address)) == (address, True)
        assert server.pid != first
        server.stop()
    server.check_log()
