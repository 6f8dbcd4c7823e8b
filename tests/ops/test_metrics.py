"""Metrics: bounded, shared by all workers, and never running backwards."""

import asyncio
import os
import socket
import time
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from conformance.server import free_port
from registry.http.accesslog import AccessLog
from registry.http.metrics import Metrics
from registry.http.observe import RequestRecord
from registry.http.scrape import Merged, MetricsServer, snapshot, write_file
from registry.logs import Sink
from registry.watching import RequestObserver
from tests.ops.wire import begin_patch, eventually, get, push_blob, start_upload


class Scrape:
    def __init__(self, port):
        self.address = f"127.0.0.1:{port}"

    def __call__(self):
        status, headers, body = get(self)
        assert status == 404
        status, headers, body = get(self, "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=")
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }


@pytest.fixture(params=[1, 2])
def both(request, registry_server):
    port = free_port()
    server = registry_server(
        "filesystem", workers=request.param, arguments=["--metrics-addr", f"127.0.0.1:{port}"]
    )
    return server, Scrape(port)


def total(samples, name, **labels):
    return sum(
        value
        for (found, *rest), value in samples.items()
        if found == name and set(labels.items()) <= set(rest)
    )


def test_requests_bytes_uploads_and_storage_are_counted(both):
    server, scrape = both
    digest = push_blob(server, b"abc")
    for _ in range(10):
        get(server, f"/v2/a/b/blobs/{digest}")
    get(server, start_upload(server), method="DELETE")

    def counted():
        found = scrape()
        return found if total(found, "moorage_uploads_total", event="cancelled") else None

    assert eventually(counted)
    assert eventually(
        lambda: total(scrape(), "moorage_requests_total", action="blob.get", status="200") == 10
    )
    found = scrape()
    assert total(found, "moorage_request_sent_bytes_total", action="blob.get") == 30
    assert total(found, "moorage_request_received_bytes_total", action="upload.finish") == 3
    assert total(found, "moorage_request_duration_seconds_count", action="blob.get") == 10
    assert (
        total(found, "moorage_request_duration_seconds_bucket", action="blob.get", le="+Inf") == 10
    )
    assert total(found, "moorage_uploads_total", event="started") == 2
    assert total(found, "moorage_uploads_total", event="finished") == 1
    assert total(found, "moorage_storage_operations_total", driver="filesystem", outcome="ok") > 3
    assert total(found, "moorage_cache_requests_total", outcome="hit") > 0
    assert total(found, "moorage_build_info") == 1
    assert total(found, "moorage_process_resident_memory_bytes", worker="0") > 1e6


def test_requests_in_flight_are_those_that_are_not_answered(both):
    server, scrape = both
    with begin_patch(server, start_upload(server), 3) as sock:
        sock.sendall(b"a")
        assert eventually(lambda: total(scrape(), "moorage_requests_in_flight") == 1)
        assert total(scrape(), "moorage_connections") == 1
    assert eventually(lambda: total(scrape(), "moorage_requests_in_flight") == 0)


def test_clients_can_not_make_up_time_series(both):
    server, scrape = both
    get(server)
    before = eventually(lambda: total(scrape(), "moorage_requests_total") >= 1) and scrape()
    for number in range(20):
        get(server, f"/v2/r{number}/tags/list", method=f"MADE{number}")
        get(server, f"/v2/r{number}/tags/list?n={number}")
        get(server, f"/nowhere/{number}")
    assert eventually(lambda: total(scrape(), "moorage_requests_total") >= 61)
    after = scrape()
    assert not any("MADE" in str(key) or "r1" in str(key) for key in after)
    new = [key for key in after if key not in before and key[0] == "moorage_requests_total"]
    assert len(new) <= 6, new


def test_what_can_fail_is_there_at_zero_before_it_first_does():
    """A rate takes what a series begins with for nothing: it would not see the first errors."""
    metrics = Metrics(version="1")
    metrics.finished(RequestRecord(action="manifest.get", method="GET", status=200))
    metrics.finished(RequestRecord(action="manifest.get", method="MADE UP", status=200))
    metrics.storage_operation("s3", "get", "ok", 0.1)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name in ("moorage_requests_total", "moorage_storage_operations_total")
    }
    assert found == {
        ("moorage_requests_total", "manifest.get", "GET", "200"): 1,
        ("moorage_requests_total", "manifest.get", "GET", "500"): 0,
        ("moorage_requests_total", "manifest.get", "GET", "503"): 0,
        ("moorage_requests_total", "manifest.get", "other", "200"): 1,
        ("moorage_storage_operations_total", "s3", "get", "ok"): 1,
        ("moorage_storage_operations_total", "s3", "get", "unavailable"): 0,
        ("moorage_storage_operations_total", "s3", "get", "failed"): 0,
    }


def test_counters_never_run_backwards_whichever_worker_answers(both):
    server, scrape = both
    last = {}
    for _ in range(25):
        get(server)
        found = scrape()
        for key, value in found.items():
            if key[0].endswith(("_total", "_bucket", "_count")):
                assert value >= last.get(key, 0.0), key
        last = found


def test_a_dead_workers_counts_stay_and_its_gauges_go(registry_server):
    port = free_port()
    server = registry_server("memory", workers=2, arguments=["--metrics-addr", f"127.0.0.1:{port}"])
    scrape = Scrape(port)
    for _ in range(12):
        get(server)
    assert eventually(lambda: total(scrape(), "moorage_requests_total", action="ping") == 12)
    os.kill(server.worker_pids()[0], 9)
    assert eventually(lambda: total(scrape(), "moorage_worker_restarts_total") == 1)
    assert eventually(lambda: total(scrape(), "moorage_workers_serving") == 2)
    found = scrape()
    assert total(found, "moorage_requests_total", action="ping") == 12
    assert total(found, "moorage_workers") == 2
    started = [key for key in found if key[0] == "moorage_process_start_time_seconds"]
    assert len(started) == 2
    assert max(found[key] for key in started) < 3e9  # no sum of two workers'


def record(action="manifest.get", status=200):
    return RequestRecord(
        method="GET",
        action=action,
        status=status,
        seconds=0.002,
        sent=500,
        received=1,
        path="/v2/team/app/manifests/sha256:" + "a" * 64,
        repository="team/app",
        request_id="abcd1234-5f",
        remote="127.0.0.1",
        principal="anonymous",
        user_agent="docker/27.1 go/1.22",
        time=1_700_000_000.25,
    )


def test_methods_that_http_does_not_know_are_one():
    """aiohttp refuses them today; a parser that did not would let a client make time series."""
    metrics = Metrics(version="x")
    for number in range(9):
        made = record()
        made.method = f"MADE{number}"
        metrics.finished(made)
    text = generate(metrics)
    assert "MADE" not in text
    assert 'moorage_requests_total{action="manifest.get",method="other",status="200"} 9.0' in text


def test_latency_falls_into_the_bucket_of_its_bound():
    metrics = Metrics(version="x")
    one = record()
    one.seconds = 0.0025
    metrics.finished(one)
    text = generate(metrics)
    assert 'moorage_request_duration_seconds_bucket{action="manifest.get",le="0.001"} 0.0' in text
    assert 'moorage_request_duration_seconds_bucket{action="manifest.get",le="0.0025"} 1.0' in text


def generate(collector):
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_one_process_and_a_merged_one_read_alike(tmp_path):
    metrics = Metrics(version="x")
    metrics.finished(record())
    metrics.s3.request("GET", "2xx", 0.1)
    metrics.s3.honours({"create": True, "delete": False})
    write_file(tmp_path, metrics)

    def stable(text):
        return [line for line in text.splitlines() if "process" not in line and "#" not in line]

    assert stable(generate(Merged(tmp_path))) == stable(generate(metrics))
    assert snapshot(metrics)


def test_what_all_workers_tell_alike_is_not_added_up(tmp_path):
    metrics = Metrics(version="x")
    metrics.s3.honours({"create": True})
    write_file(tmp_path, metrics)
    (written,) = tmp_path.glob("*.metrics")
    (tmp_path / f"{os.getpid()}-0.metrics").write_bytes(written.read_bytes())  # another worker's
    lines = generate(Merged(tmp_path)).splitlines()
    assert 'moorage_s3_honours{ability="create"} 1.0' in lines
    assert [each[-4:] for each in lines if each.startswith("moorage_build_info{")] == [" 1.0"]


def test_several_workers_over_s3_tell_it_as_one_does(registry_server, minio, redis_servers):
    """What Prometheus itself asks for is OpenMetrics."""
    port = free_port()
    settings = minio.settings("metrics-of-workers") | {
        "METRICS__ADDR": f"127.0.0.1:{port}",
        "COORDINATION__REDIS__URL": redis_servers.server().url,
    }
    registry_server("s3", workers=2, settings=settings)
    found = Scrape(port)()
    assert total(found, "moorage_s3_honours", ability="create") == 1
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    with urlopen(Request(f"http://127.0.0.1:{port}/metrics", headers=accept)) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")


async def test_where_there_is_no_room_to_write_them_the_last_ones_are_served(tmp_path, caplog):
    metrics, sock = Metrics(version="x"), socket.create_server(("127.0.0.1", 0))
    server = MetricsServer(metrics, tmp_path)
    await server.start([sock])
    for file in list(tmp_path.glob("*.metrics")):
        file.with_suffix(".new").mkdir()  # what is to be written first can't be
    scrape = Scrape(sock.getsockname()[1])
    try:
        for _ in range(2):
            found = await asyncio.to_thread(scrape)
            assert total(found, "moorage_build_info") == 1
    finally:
        await server.close()
    assert caplog.text.count("are not up to date") == 1


def test_no_line_is_dropped_at_the_rate_of_a_busy_process(tmp_path):
    """What counting and logging a request costs is printed: about 3 µs, the thread included."""
    log = AccessLog(Sink(str(tmp_path / "log")), text=False, limit=1_000_000)
    observer = RequestObserver(Metrics(version="x"), log)
    times = []
    for _ in range(5):
        records = [record() for _ in range(20_000)]
        began = time.process_time()
        for each in records:
            observer.started()
            observer.finished(each)
        while log._writer._waiting:
            time.sleep(0.001)
        times.append((time.process_time() - began) / len(records))
    log.close()
    print(f"{min(times) * 1e6:.2f} µs")
    assert log.dropped == 0
    assert (tmp_path / "log").read_text().count("\n") == 5 * 20_000


def test_pools_and_the_driver_of_s3_tell_how_busy_they_are():
    class Load:
        in_flight, connections, buffered, buffer, waiting = 3, 64, 1000, 2000, 1

    metrics = Metrics(version="x")
    metrics.watch_pool("hashing", 4, lambda: 6)
    metrics.s3.watch(Load())
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    for line in (
        'moorage_threads{pool="hashing"} 4.0',
        'moorage_threads_busy{pool="hashing"} 6.0',
        "moorage_s3_requests_in_flight 3.0",
        "moorage_s3_connections_limit 64.0",
        "moorage_s3_buffered_bytes 1000.0",
        "moorage_s3_buffer_limit_bytes 2000.0",
        "moorage_s3_buffer_waiting 1.0",
    ):
        assert line in text.splitlines()
