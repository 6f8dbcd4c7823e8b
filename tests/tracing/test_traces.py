"""Traces: one push through replicas, Redis and S3, as a collector gets it."""

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import threading

import pytest

from conformance.server import free_port
from conformance.stores import SECRET_KEY
from tests.ops.wire import eventually
from tests.oracle.content import OCI_MANIFEST, digest_of, image, random_bytes
from tests.oracle.wire import Client
from tests.tracing.collector import Collector

CONFIG = b"{}"
PATIENT = {"TRACING__TIMEOUT_SECONDS": "60"}  # on a busy machine a batch must not be lost
LAYER = random_bytes("a traced layer", 7 << 20)  # a part, and a rest that is one too


@pytest.fixture(scope="module")
def collector():
    with Collector() as found:
        yield found


def settings(collector, **more):
    return {"TRACING__ENDPOINT": collector.url, "TRACING__RATIO": "1", **PATIENT, **more}


@pytest.fixture(scope="module")
def replicas(collector, minio, module_redis_servers, module_registry_server):
    """Three replicas over MinIO and Redis that believe every client's traceparent."""
    common = {
        **settings(collector, TRACING__PARENTS="all", TRACING__RATIO="0"),
        **minio.settings(f"traces-{secrets.token_hex(4)}"),
        "COORDINATION__REDIS__URL": module_redis_servers.server().url,
        "COORDINATION__REDIS__TIMEOUT_SECONDS": "5",
    }
    return module_registry_server.together(3, "s3", settings=common)


class Push:
    """One push, each request to the next replica."""

    def __init__(self, servers, headers=()):
        self._servers = servers
        self._headers = headers
        self._number = 0
        self.answers = []

    def __call__(self, method, path, headers=(), body=b""):
        server = self._servers[self._number % len(self._servers)]
        self._number += 1
        with Client(server.address) as client:
            found = client.request(method, path, headers=[*self._headers, *headers], body=body)
        assert found.status < 300, found
        self.answers.append(found)
        return found

    def blob(self, repository, data):
        opened = self("POST", f"/v2/{repository}/blobs/uploads/")
        half = len(data) // 2
        place = opened["Location"]
        if half:
            place = self("PATCH", place, body=data[:half])["Location"]
        self("PUT", f"{place}?digest={digest_of(data)}", body=data[half:])
        return opened["Docker-Upload-UUID"]

    def image(self, repository, layer):
        self.upload = self.blob(repository, layer)
        self.blob(repository, CONFIG)
        manifest = image(CONFIG, [layer])
        self("PUT", f"/v2/{repository}/manifests/1", [("Content-Type", OCI_MANIFEST)], manifest)
        return digest_of(manifest)


def names(spans):
    return [span.name for span in spans]


def children(spans, parent):
    found = [span for span in spans if span.parent == parent.id]
    return found + [each for span in found for each in children(spans, span)]


def test_a_push_through_three_replicas_is_one_trace(replicas, collector):
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    push = Push(replicas, [("traceparent", f"00-{trace}-{span}-01"), ("tracestate", "a=b")])
    manifest = push.image("demo/traced", LAYER)
    requests, spans = collector.requests(trace, 7)
    assert names(requests) == [
        *("upload.start", "upload.append", "upload.finish"),
        *("upload.start", "upload.append", "upload.finish"),
        "manifest.put",
    ]
    assert {each.parent for each in requests} == {span}
    assert len({each.process for each in requests}) == 3
    assert all(each["moorage.repository"] == "demo/traced" for each in requests)
    first = [e for e in requests if e.attributes.get("moorage.upload") == push.upload[:16]]
    assert names(first) == ["upload.start", "upload.append", "upload.finish"]
    finish, put = first[2], requests[-1]
    assert finish["moorage.digest"] == digest_of(LAYER)
    assert set(put["moorage.blobs"]) == {digest_of(LAYER), digest_of(CONFIG)}
    assert put["moorage.digest"] == manifest
    assert (put["http.request.method"], put["http.response.status_code"]) == ("PUT", 201)
    assert put["url.path"] == "/v2/demo/traced/manifests/1"
    # What they did is below them, in time as well.
    below = children(spans, put)
    assert {"lock wait", "storage create"} <= set(names(below))
    assert any(each.name.startswith("s3 ") and each.kind == "client" for each in below)
    assert all(put.began <= each.began <= put.ended for each in below)
    creating = next(each for each in below if each.name == "storage create")
    assert any(each.name.startswith("s3 ") for each in children(spans, creating))
    taking = names(children(spans, first[1]))
    assert {"hashing", "hashing wait", "storage write", "lease wait"} <= set(taking)
    assert not any(each.failed for each in requests)


def test_commands_to_redis_are_below_the_request(replicas, collector):
    """In a moment without Redis a request goes on without it: then the next one is looked at."""
    for attempt in range(20):
        trace = secrets.token_hex(16)
        push = Push(replicas[:1], [("traceparent", f"00-{trace}-{'1' * 16}-01")])
        push.blob("demo/redis", b"some bytes %d" % attempt)
        requests, spans = collector.requests(trace, 3)
        found = [span for span in spans if span.name.startswith("redis ")]
        if {"redis take", "redis drop"} <= set(names(found)):
            break
    else:
        pytest.fail("no request had its lease from Redis")
    below = {each.id for request in requests for each in children(spans, request)}
    assert {each.id for each in found} <= below
    assert {each["db.system.name"] for each in found} == {"redis"}


def test_answers_tell_of_their_trace_and_the_log_has_its_id(replicas, collector):
    trace = secrets.token_hex(16)
    push = Push(replicas[:1], [("traceparent", f"00-{trace}-{'1' * 16}-01")])
    answer = push("GET", "/v2/")
    assert answer["traceresponse"].startswith(f"00-{trace}-")
    [span], _ = collector.requests(trace, 1)
    # The log is written by a thread, a little later.
    [text] = eventually(
        lambda: [e for e in replicas[0].log.read_text().split("\n")[:-1] if trace in e], 60
    )
    line = json.loads(text)
    assert line["trace_id"] == trace
    assert line["request_id"] == span["moorage.request_id"]
    assert answer["traceresponse"].split("-")[2] == span.id


def test_what_a_client_does_not_want_traced_is_not(replicas, collector):
    kept, left = secrets.token_hex(16), secrets.token_hex(16)
    for trace, flags in ((left, "00"), (kept, "01")):
        push = Push(replicas[:1], [("traceparent", f"00-{trace}-{'1' * 16}-{flags}")])
        answer = push("GET", "/v2/")
        assert (answer.get("traceresponse") is None) == (trace == left)
    collector.requests(kept, 1)  # from the same process, and later
    assert not any(each.trace == left for each in collector.spans)


def test_nothing_that_proves_anything_is_in_a_span(replicas, collector):
    trace = secrets.token_hex(16)
    headers = [
        ("traceparent", f"00-{trace}-{'1' * 16}-01"),
        ("Authorization", "Bearer a-token-of-somebody"),
    ]
    push = Push(replicas, headers)
    push.image("demo/secret", LAYER[: 1 << 20])
    push("GET", "/v2/?token=a-token-of-somebody")
    collector.requests(trace, 8)
    sent = b"".join(collector.raw)
    for secret in (push.upload, "a-token-of-somebody", SECRET_KEY, "AWS4-HMAC"):
        assert secret.encode() not in sent, secret


def test_a_client_is_not_believed_unless_the_configuration_says_so(collector, registry_server):
    server = registry_server(
        "memory", settings=settings(collector, TRACING__AUTHORIZATION="Bearer for-the-collector")
    )
    trace = secrets.token_hex(16)
    answer = Push([server], [("traceparent", f"00-{trace}-{'1' * 16}-00")])("GET", "/v2/")
    own = answer["traceresponse"].split("-")[1]
    assert own != trace
    [span], _ = collector.requests(own, 1)
    assert span.parent == ""
    assert "Bearer for-the-collector" in {e.get("authorization") for e in collector.headers}
    told = {"SERVER__TRUSTED_PROXIES": "127.0.0.0/8", "TRACING__RATIO": "0"}
    for more, believed in (({}, False), ({"TRACING__PARENTS": "proxies"}, True)):
        behind = registry_server("memory", settings=settings(collector, **told, **more))
        answer = Push([behind], [("traceparent", f"00-{trace}-{'1' * 16}-01")])("GET", "/v2/")
        assert (trace in (answer.get("traceresponse") or "")) is believed


def test_a_run_of_a_job_is_a_trace(collector, registry_server, tmp_path):
    server = registry_server("filesystem", data=tmp_path / "data")
    Push([server]).image("demo/one", b"a layer")
    environment = {f"MOORAGE__{key}": value for key, value in settings(collector).items()}
    expected = {"storage list", "storage read", "storage open"}
    # A process that ends gives its last spans two seconds, which may be too few for a busy machine.
    for _ in range(10):
        done = subprocess.run(
            [sys.executable, "-m", "registry", "scrub", "--data", str(tmp_path / "data")],
            env={"PATH": "/usr/bin:/bin"} | environment,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        spans = collector.spans
        runs = [each for each in spans if each.name == "scrub"]
        assert {(each.parent, each.kind) for each in runs} <= {("", "internal")}
        if any(expected <= set(names(children(spans, each))) for each in runs):
            return
    pytest.fail(f"no run was traced as a whole: {sorted(set(names(spans)))}")


@contextlib.contextmanager
def hanging():
    """An address that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []
        ended = threading.Event()
        server.settimeout(0.1)

        def take():
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()
            for each in taken:
                each.close()


@pytest.mark.parametrize("kind", ["closed", "hanging"])
def test_without_a_collector_everything_works(kind, registry_server):
    with hanging() as silent:
        port = free_port() if kind == "closed" else silent
        server = registry_server(
            "memory",
            settings={
                "TRACING__ENDPOINT": f"http://127.0.0.1:{port}/v1/traces",
                "TRACING__RATIO": "1",
                "TRACING__QUEUE": "256",
            },
        )
        push = Push([server])
        push.image("demo/one", b"a layer")
        with Client(server.address) as client:
            for _ in range(300):  # more than fit into the queue
                assert client.request("GET", "/v2/")["traceresponse"]
        server.stop()  # in time, and with nothing to complain of


def test_where_traces_are_off_opentelemetry_is_not_loaded():
    program = "import sys, registry.app, registry.backend; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
