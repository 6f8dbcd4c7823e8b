"""The pull history as clients make it and read it, through whole processes too."""

import json
import time

import pytest

from registry.cli import main
from registry.service.pulls.compactor import Compactor
from storage import keys
from storage.inprocess import InProcessCoordinator
from tests.auth.tenants import PASSWORD, basic, tenants
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image
from tests.oracle.wire import Client


@pytest.fixture(scope="module")
def registry():
    with tenants() as registry:
        registry.user("ann")
        registry.user("bob")
        registry.project("demo", ann="maintainer", bob="guest")
        registry.project("other", bob="owner")
        registry.services.pulls.counting = True
        yield registry


def pulls(registry, who, path="/projects/demo/repositories/demo:app/pulls"):
    async def settle():
        await registry.services.pulls.flush()
        await Compactor(registry.store, InProcessCoordinator()).compact()

    registry.run(settle())
    return Api(registry, basic(who)).get(path)


def test_gets_and_heads_of_manifests_count_and_nothing_else_does(registry):
    with registry.caller(basic("ann")) as ann, registry.caller(basic("bob")) as bob:
        digest = digest_of(push_image(ann, "demo/app", 3, "v1"))
        path = "/v2/demo/app/manifests/"
        assert pulls(registry, "ann").json()["items"] == []
        manifest = json.loads(ann.get(path + "v1").expect(200).body)
        bob.head(path + "v1").expect(200)
        bob.get(path + "v1", ("If-None-Match", f'"{digest}"')).expect(304)
        bob.get(path + digest).expect(200)
        bob.get(path + "v2").expect(404)
        bob.get(path + "v1", ("If-Match", '"other"')).expect(412)
        bob.get(f"/v2/demo/app/blobs/{manifest['config']['digest']}").expect(200)
        with registry.caller(None) as nobody:
            nobody.get(path + "v1").expect(401)
    items = {item["reference"]: item for item in pulls(registry, "ann").json()["items"]}
    assert {name: (item["count"], item["by"]) for name, item in items.items()} == {
        "v1": (3, "user:bob"),
        digest: (1, "user:bob"),
    }
    assert items["v1"]["digest"] == digest
    assert items["v1"]["last"].startswith("20")
    page = pulls(registry, "ann", "/projects/demo/repositories/demo:app/pulls?limit=1").json()
    assert page["next"] == digest


def test_only_who_runs_the_project_reads_it(registry):
    path = "/projects/demo/repositories/demo:app/pulls"
    assert problem(pulls(registry, "bob"), 403) == "not-allowed"
    foreign = "/projects/other/repositories/demo:app/pulls"
    assert problem(pulls(registry, "bob", foreign), 404) == "name-unknown", "not by a detour"
    assert problem(pulls(registry, "ann", foreign), 404) == "name-unknown"
    assert problem(Api(registry, None).get(path), 401) == "unauthorized"


def test_a_removed_project_leaves_nothing_of_it():
    with tenants() as registry:
        registry.user("ann")
        tenant = registry.project("gone", ann="owner")
        registry.services.pulls.counting = True
        with registry.caller(basic("ann")) as ann:
            push_image(ann, "gone/app", 3, "v1")
            ann.get("/v2/gone/app/manifests/v1").expect(200)
        assert pulls(registry, "ann", "/projects/gone/repositories/gone:app/pulls").status == 200
        assert registry.run(registry.store.list(f"repos/{tenant.id}/app!/pulled/"))
        Api(registry, basic("ann")).delete("/projects/gone").expect(202)
        registry.tenancy.removals._settle = 0
        registry.run(registry.tenancy.removals.purge_due())
        assert registry.run(registry.store.list("repos/")) == []
        assert registry.run(registry.store.list(keys.PULLS)) == []


def test_processes_write_down_what_they_counted_and_a_crash_loses_an_interval(registry_server):
    server = registry_server("filesystem", workers=2, settings={"PULLS__FLUSH_SECONDS": "0.2"})
    with Client(server.address) as client:
        push_image(client, "demo/app", 3, "v1")
    for _ in range(40):  # some for each worker
        with Client(server.address) as client:
            client.get("/v2/demo/app/manifests/v1").expect(200)
    server.stop()  # in order: all is written
    server.start()
    deadline = time.monotonic() + 20
    while (count := counted(server)) != 40 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert count == 40
    with Client(server.address) as client:
        client.get("/v2/demo/app/manifests/v1").expect(200)
    server.kill()
    server.start()
    assert counted(server) in (40, 41)


def test_the_command_prints_a_table(registry, tmp_path, monkeypatch, capsys):
    secret = tmp_path / "secret"
    secret.write_text(f"ann:{PASSWORD}")
    monkeypatch.setenv("MOORAGE_TOKEN_FILE", str(secret))
    with registry.caller(basic("ann")) as ann:
        push_image(ann, "demo/told", 3, "v1")
        ann.get("/v2/demo/told/manifests/v1").expect(200)
    pulls(registry, "ann")
    assert main(["pulls", "demo/told", "--url", f"http://{registry.address}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["REFERENCE", "COUNT", "LAST", "BY", "DIGEST"]
    assert lines[-1].split()[:2] == ["v1", "1"]


def counted(server):
    with Client(server.address) as client:
        found = client.get("/api/v1/projects/demo/repositories/demo:app/pulls").expect(200).json()
    return sum(item["count"] for item in found["items"] if item["reference"] == "v1")
