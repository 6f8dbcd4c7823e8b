"""Dashboard and alerts on a real Prometheus that scrapes real replicas: `make chart` runs it.

Two replicas over MinIO and Redis have a bad day: clients come and go, a worker is killed, Redis and
the store go away, a password is guessed. Nothing is timed: the day lasts until each panel has
something to show. With `MOORAGE_PICTURES` the dashboard is drawn into that directory, by Chromium.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import yaml

from cluster.ports import take_port
from conformance.server import RegistryProcess
from conformance.stores import StoreProcess
from tests.auth.tenants import PASSWORD, Caller, basic
from tests.clients.trust import Trust
from tests.console.chromium import Window, chromium
from tests.deploy import dashboard
from tests.deploy.prometheus import Prometheus
from tests.deploy.rendered import objects, one
from tests.fixtures.programs import require_program
from tests.fixtures.redis import eventually
from tests.oracle.content import OCI_MANIFEST, digest_of, push_image, random_bytes
from tests.tracing.collector import Collector
from tests.webhooks.receiver import says
from tests.webhooks.test_webhooks_http import receiver_thread

pytestmark = [
    pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it"),
    pytest.mark.timeout(900),
]

JOB = "images-metrics"
SECRET = "the secret that makes the first administrator"
SCRAPES = 12
"""Of each replica, before what befalls it, and after it."""

SECONDS = 200
"""For each thing that is waited for, on a machine that is very busy."""


class Day:
    """The replicas and what happens to them."""

    def __init__(self, home, store, redis, spans, hooks):
        self.trust, self.store, self.redis = Trust(home), store, redis
        self.over = threading.Event()
        settings = {
            "AUTH__MODE": "projects",
            "AUTH__BOOTSTRAP_SECRET": SECRET,
            "COORDINATION__REDIS__URL": redis.url,
            "COLLECTION__GRACE_SECONDS": "5",
            "COLLECTION__UNDELETE_SECONDS": "0",
            "COLLECTION__INTERVAL_SECONDS": "1",
            "COLLECTION__RETENTION_SECONDS": "1",
            "QUOTA__INTERVAL_SECONDS": "1",
            "SCRUB__INTERVAL_DAYS": "0.0001",
            "STORAGE__S3__TOTAL_SECONDS": "5",
            "TLS__RELOAD_SECONDS": "1",
            "TRACING__ENDPOINT": spans,
            "TRACING__RATIO": "1",
            "WEBHOOKS__ALLOW_HTTP": "true",
            "WEBHOOKS__ALLOW_NETWORKS": "127.0.0.0/8,::1/128",
            "WEBHOOKS__INTERVAL_SECONDS": "0.2",
            "WEBHOOKS__RETRY_SECONDS": "0.5",
            "WEBHOOKS__GIVE_UP_SECONDS": "2",
        } | store.settings("dashboard")
        self.targets = {f"images-{n}": f"127.0.0.1:{take_port()}" for n in range(2)}
        self.replicas = [
            RegistryProcess(
                store="s3",
                log=home / f"{pod}.log",
                workers=2,
                settings={**settings, "METRICS__ADDR": address},
                tls=(self.trust.chain, self.trust.key),
            )
            for pod, address in self.targets.items()
        ]
        self._hooks = hooks

    def caller(self, number=0, login=None):
        shown = basic("root") if login is None else login
        return Caller(
            self.replicas[number].address, shown or None, context=self.trust.context, timeout=20
        )

    def ask(self, method, path, body, *statuses, login=None):
        kind = [("Content-Type", "application/json")]
        with self.caller(login=login) as caller:
            reply = caller.request(method, f"/api/v1{path}", kind, json.dumps(body).encode())
        assert reply.status in statuses, reply

    def begin(self):
        """Make the projects: one is full with a tag, one cleans up, events of one are taken."""
        first = {"secret": SECRET, "name": "root", "password": PASSWORD}
        self.ask("POST", "/bootstrap", first, 201, login="")
        for name in ("demo", "full", "clean"):
            self.ask("PUT", f"/projects/{name}", {"owner": "user:root"}, 201)
        self.ask("PUT", "/projects/full/quota", {"tags": 1}, 200)
        self.ask("PUT", "/projects/demo/quota", {"bytes": 1 << 40}, 200)
        rule = {"name": "few", "tags": ["*"], "keep_last": 1}
        self.ask("PUT", "/projects/clean/retention", {"rules": [rule]}, 200)
        for name, url in self._hooks.items():
            hook = {"url": url, "events": ["tag.pushed"]}
            self.ask("PUT", f"/projects/demo/webhooks/{name}", hook, 201)

    def work(self, number):
        """Be a client of a replica: push, pull, delete, ask for what is not there."""
        count = 0
        while not self.over.is_set():
            with contextlib.suppress(AssertionError, OSError), self.caller(number) as caller:
                while not self.over.is_set():
                    count += 1
                    self._round(caller, f"{number}-{count}", count)

    def _round(self, caller, name, count):
        for project in ("demo", "clean", "full"):
            with contextlib.suppress(AssertionError):  # it is full, or the collector was quicker
                push_image(caller, f"{project}/app", name, f"t{name}")
        accept = ("Accept", OCI_MANIFEST)
        found = caller.get(f"/v2/demo/app/manifests/t{name}", accept)
        for _ in range(3):
            caller.get(f"/v2/demo/app/manifests/t{name}", accept)
        caller.get("/v2/demo/app/tags/list")
        caller.get("/v2/demo/app/manifests/never-was", accept)
        if found.status == 200 and count % 2:
            layer = found.json()["layers"][0]["digest"]
            caller.get(f"/v2/demo/app/blobs/{layer}")
            caller.delete(f"/v2/demo/app/manifests/{digest_of(found.body)}")
        data = random_bytes(name, 300_000)
        caller.post(f"/v2/demo/app/blobs/uploads/?digest={digest_of(data)}", body=data)
        caller.post("/v2/demo/app/blobs/uploads/", body=b"")
        self.over.wait(0.1)

    def misfortunes(self, prometheus):
        """What befalls it, one after the other, each until Prometheus has seen it."""
        self._guess()
        with socket.create_connection(("127.0.0.1", self._port(0)), 10) as plain:
            secure = self.trust.context.wrap_socket(plain, server_hostname="127.0.0.1")
            with secure:
                secure.sendall(b"this is not HTTP\r\n\r\n")
                secure.recv(1000)
        os.kill(self.replicas[0].worker_pids()[0], signal.SIGKILL)
        os.utime(self.trust.chain)
        for server, seen in (
            (self.redis, "max(moorage_coordination_connected) == bool 0"),
            (self.store, 'sum(rate(moorage_requests_total{status="503"}[20s])) > bool 0'),
        ):
            server.kill()
            eventually(lambda seen=seen: prometheus.value(seen), SECONDS, prometheus.troubles)
            server.start()

    def _guess(self):
        with self.caller(login=basic("root", "a password that is wrong")) as caller:
            assert any(caller.get("/v2/").status == 429 for _ in range(50))

    def _port(self, number):
        return int(self.replicas[number].address.rpartition(":")[2])


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The chart's alerts, as a file of Prometheus."""
    require_program("helm")
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(one(objects("everything"), "PrometheusRule")["spec"]))
    return file


@pytest.fixture(scope="module")
def watched(tmp_path_factory, module_redis_servers, rules):
    """Prometheus after such a day, when it began and ended, and what each expression was."""
    program, home = require_program("prometheus"), tmp_path_factory.mktemp("watched")
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(StoreProcess("minio", home))
        spans = stack.enter_context(Collector())
        good, bad = (stack.enter_context(receiver_thread()) for _ in "ab")
        bad.behave = says(500)
        hooks = {"good": good.url, "bad": bad.url}
        day = Day(home, store, module_redis_servers.server(), spans.url, hooks)
        prometheus = Prometheus(program, home, JOB, day.targets, rules)
        for each in (*day.replicas, prometheus.process):
            stack.callback(each.kill)
            each.start()
        began = time.time()
        day.begin()
        workers = [threading.Thread(target=day.work, args=(n,), daemon=True) for n in range(2)]
        for each in workers:
            each.start()
        stack.callback(day.over.set)
        eventually(lambda: prometheus.scrapes() >= SCRAPES, SECONDS, prometheus.troubles)
        day.misfortunes(prometheus)
        enough = prometheus.scrapes() + SCRAPES
        eventually(
            lambda: prometheus.scrapes() >= enough and not empty(prometheus, began),
            SECONDS,
            lambda: f"no data for {empty(prometheus, began)}; {prometheus.troubles()}",
        )
        day.over.set()
        for each in workers:
            each.join()
        ended = time.time()
        yield prometheus, began, ended, dashboard.asked(prometheus, began, ended)


def empty(prometheus, began):
    """Targets that have no data yet."""
    found = dashboard.asked(prometheus, began, time.time())
    return sorted(name for name, series in found.items() if not series)


def test_each_expression_of_each_panel_has_data(watched):
    *_, found = watched
    print({name: len(series) for name, series in found.items()})
    assert [name for name, series in found.items() if not series] == []


def test_legends_name_labels_that_are_there(watched):
    *_, found = watched
    for panel in dashboard.panels():
        for target in panel.targets:
            names = [target.label(each.labels) for each in found[target.name]]
            assert len(set(names)) == len(names), (target.name, names)
            assert all(names) or panel.kind == "stat", target.name


def test_the_choice_of_a_registry_offers_its_job(watched):
    prometheus, *_ = watched
    (choice,) = (
        each for each in dashboard.DASHBOARD["templating"]["list"] if each["name"] == "job"
    )
    assert choice["query"]["query"] == "label_values(moorage_build_info, job)"
    parameters = {"match[]": "moorage_build_info"}
    assert prometheus.ask("label/job/values", **parameters) == [JOB]


def test_every_alert_is_evaluated_without_an_error(watched):
    prometheus, *_ = watched
    (group,) = prometheus.ask("rules")["groups"]
    assert len(group["rules"]) == len(
        yaml.safe_load(Path(group["file"]).read_text())["groups"][0]["rules"]
    )
    for rule in group["rules"]:
        assert rule["health"] == "ok", rule


def test_a_browser_shows_it(watched, tmp_path):
    _, began, ended, found = watched
    file = tmp_path / "dashboard.html"
    file.write_text(dashboard.page(found, began, ended))
    with chromium() as driver:
        window = Window(driver, "")
        window.look(width=24 * 50, height=400)
        driver.get(file.as_uri())
        size = window.evaluate("document.querySelector('svg').getBoundingClientRect().height")
        window.look(width=24 * 50, height=int(size))
        assert window.complaints() == []
        titles = window.evaluate("[...document.querySelectorAll('text')].map(t => t.textContent)")
        image = base64.b64decode(window.tell("Page.captureScreenshot", format="png")["data"])
    assert {panel.title for panel in dashboard.panels()} <= set(titles)
    directory = Path(os.environ.get("MOORAGE_PICTURES", tmp_path))
    (directory / "dashboard.png").write_bytes(image)
    print(directory / "dashboard.png", len(image))
