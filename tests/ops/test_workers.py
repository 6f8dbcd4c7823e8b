"""Several processes on one port: they share the load, and one that dies is no outage."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.ops.wire import all_serving, connect, eventually, get, push_blob, read_answer

SHARED = Path("/dev/shm")  # noqa: S108  where the server puts it


def inodes(server, pid):
    """The connections of one process, as the kernel counts them."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return {name for name in found if name.startswith("socket:")}


def test_each_worker_gets_its_share_of_connections(registry_server):
    server = registry_server("memory", workers=2)
    all_serving(server)
    before = {pid: inodes(server, pid) for pid in server.worker_pids()}
    held = []
    try:
        for _ in range(32):
            sock = connect(server)
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(sock)[0] == 200
            held.append(sock)
        shares = [len(inodes(server, pid) - sockets) for pid, sockets in before.items()]
        assert sum(shares) == 32
        assert min(shares) >= 5, shares
    finally:
        for sock in held:
            sock.close()


def test_workers_serve_what_the_other_stored(registry_server):
    for store in ("memory", "filesystem"):
        server = registry_server(store, workers=2)
        digest = push_blob(server, b"shared")
        for _ in range(12):
            assert get(server, f"/v2/a/b/blobs/{digest}")[2] == b"shared"


def test_when_one_worker_is_killed_no_new_connection_fails(registry_server):
    server = registry_server("filesystem", workers=2)
    all_serving(server)
    victim, survivor = server.worker_pids()
    os.kill(victim, signal.SIGKILL)
    for _ in range(40):
        assert get(server)[0] == 200
        time.sleep(0.01)
    assert eventually(lambda: len(server.worker_pids()) == 2)
    assert survivor in server.worker_pids()
    assert victim not in server.worker_pids()
    assert "killed by SIGKILL" in server.log.read_text()
    server.stop()


def test_a_worker_that_dies_again_and_again_is_replaced_with_pauses_and_the_others_serve(
    registry_server,
):
    server = registry_server("memory", workers=2)
    survivor = server.worker_pids()[1]
    for _ in range(3):
        assert eventually(lambda: len(server.worker_pids()) == 2)
        time.sleep(0.5)  # it should have had time to serve
        (other,) = set(server.worker_pids()) - {survivor}
        os.kill(other, signal.SIGKILL)
        time.sleep(0.1)
        for _ in range(10):
            began = time.monotonic()
            assert get(server)[0] == 200
            assert time.monotonic() - began < 5
    assert "starting it anew in 0.5 s" in server.log.read_text()
    server.stop()


def test_workers_end_with_their_supervisor(registry_server):
    server = registry_server("memory", workers=2)
    workers = server.worker_pids()
    os.kill(server.pid, signal.SIGKILL)

    def gone():
        return not any(Path(f"/proc/{pid}").exists() and not _zombie(pid) for pid in workers)

    assert eventually(gone)


def _zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_shared_memory_is_given_back(registry_server):
    """Several workers keep a memory store in files that are memory; none may be left behind."""
    server = registry_server("memory", workers=2)
    mine = f"moorage-{server.pid}-*"
    assert list(SHARED.glob(mine))
    push_blob(server, b"x" * 1000)
    server.stop()
    assert not list(SHARED.glob(mine))


def test_what_a_killed_registry_left_in_shared_memory_is_removed_by_the_next(registry_server):
    server = registry_server("memory", workers=2)
    left = f"moorage-{server.pid}-*"
    server.kill()
    assert list(SHARED.glob(left))
    registry_server("memory", workers=2)
    assert not list(SHARED.glob(left))


def test_workers_that_can_not_start_end_it_loudly_and_soon(tmp_path):
    """Something that no message foresees: here a module that fails to load."""
    (tmp_path / "uvloop.py").write_text("raise RuntimeError('broken installation')\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "registry",
            "serve",
            "--addr",
            "127.0.0.1:0",
            "--memory",
            "--workers",
            "2",
            "--loop",
            "uvloop",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "broken installation" in done.stderr
    assert "can't start (exit code 1): giving up" in done.stderr
    assert done.stderr.count("starting it anew") >= 4
