"""SIGTERM: nobody's request is lost, and the end is on time."""

import os
import signal
import time

import pytest

from tests.ops.wire import (
    all_serving,
    begin_patch,
    connect,
    eventually,
    get,
    push_blob,
    read_all,
    read_answer,
    start_upload,
)


def settings(tmp_path, text):
    file = tmp_path / "a.toml"
    file.write_text(f"[server]\n{text}\n")
    return ["-c", str(file)]


@pytest.mark.parametrize("workers", [1, 2])
def test_idle_connections_are_closed_and_it_ends_well_at_once(registry_server, workers):
    server = registry_server("filesystem", workers=workers)
    all_serving(server)
    with connect(server) as idle:
        idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(idle)[0] == 200
        began = time.monotonic()
        server.stop()  # fails unless the exit code is 0
        assert time.monotonic() - began < 20
        assert read_all(idle) == b""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_request_finishes_and_is_the_connections_last(registry_server, workers):
    server = registry_server("filesystem", workers=workers)
    all_serving(server)
    with begin_patch(server, start_upload(server), 6) as sock:
        sock.sendall(b"abc")
        time.sleep(0.5)
        os.kill(server.pid, signal.SIGTERM)
        assert eventually(lambda: _refuses(server)), "new ones are taken meanwhile"
        sock.sendall(b"def")
        status, headers, _ = read_answer(sock)
    assert status == 202
    assert headers["Range"] == "0-5"
    assert headers.get("Connection") == "close"
    server.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_finish_in_time_is_cancelled_and_can_be_resumed(
    registry_server, tmp_path, workers
):
    server = registry_server(
        "filesystem", workers=workers, arguments=settings(tmp_path, "drain_seconds = 0.5")
    )
    location = start_upload(server)
    with begin_patch(server, location, 6) as sock:
        sock.sendall(b"abc")
        time.sleep(0.5)
        began = time.monotonic()
        server.stop()
        assert 0.4 < time.monotonic() - began < 20
        read_all(sock)
    server.start()
    status, headers, _ = get(server, location)
    assert status == 204
    assert headers["Range"] in ("0-2", "0-0")


def test_a_second_signal_cuts_the_waiting_short(registry_server):
    server = registry_server("filesystem", workers=2)
    all_serving(server)
    with begin_patch(server, start_upload(server), 6) as sock:
        sock.sendall(b"abc")
        time.sleep(0.5)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.5)
        began = time.monotonic()
        server.stop()  # the second SIGTERM
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("workers", [1, 2])
def test_readiness_ends_before_service_does(registry_server, tmp_path, workers):
    """A load balancer must have seen the 503 before connections are refused."""
    server = registry_server(
        "memory", workers=workers, arguments=settings(tmp_path, "drain_delay_seconds = 60")
    )
    all_serving(server)
    os.kill(server.pid, signal.SIGTERM)
    assert eventually(lambda: get(server, "/readyz")[0] == 503)
    assert get(server, "/healthz")[0] == 200
    assert get(server, "/v2/")[0] == 200
    server.stop()


def test_ctrl_c_drains_too(registry_server):
    """A terminal sends SIGINT to all processes at once: that is one request to end, not two."""
    server = registry_server("filesystem", workers=2)
    all_serving(server)
    with begin_patch(server, start_upload(server), 6) as sock:
        sock.sendall(b"abc")
        time.sleep(0.5)
        os.killpg(server.pid, signal.SIGINT)
        time.sleep(0.3)
        sock.sendall(b"def")
        assert read_answer(sock)[0] == 202
    assert eventually(lambda: _ended(server))


def _refuses(server):
    try:
        get(server, timeout=10)
    except OSError:
        return True
    return False


def _ended(server):
    try:
        return os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def test_content_is_there_after_a_restart(registry_server):
    server = registry_server("filesystem", workers=2)
    all_serving(server)
    digest = push_blob(server, b"kept")
    server.stop()
    server.start()
    assert get(server, f"/v2/a/b/blobs/{digest}")[2] == b"kept"
