"""Webhooks as their owners see them, and through whole processes that are killed."""

import asyncio
import contextlib
import json
import threading
import time

import pytest

from registry.cli import main
from registry.http.deliveries import DeliveryMetrics
from registry.http.webhooks import HttpSender
from registry.service.webhooks.deliverer import Deliverer
from storage import keys
from tests.auth.tenants import PASSWORD, basic, tenants
from tests.fixtures.projects import make_projects
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image
from tests.oracle.wire import Client
from tests.webhooks.receiver import Receiver, says
from tests.webhooks.test_delivery import LOOPBACK
from tests.webhooks.test_events import verifier

NETWORKS = ["127.0.0.0/8", "::1/128"]
SETTINGS = {"webhooks.allow_http": True, "webhooks.allow_networks": NETWORKS}
HOOK = {"url": "https://hooks.example/x?key=of-the-receiver"}


@pytest.fixture(scope="module")
def registry():
    with tenants(settings=SETTINGS) as registry:
        registry.user("adm", administrator=True)
        registry.user("ann")
        registry.user("bob")
        registry.project("demo", ann="owner", bob="maintainer")
        registry.project("other", bob="owner")
        registry.project("many", ann="owner")
        yield registry


@pytest.fixture
def ann(registry):
    return Api(registry, basic("ann"))


@pytest.fixture
def adm(registry):
    return Api(registry, basic("adm"))


@contextlib.contextmanager
def receiving(registry, behave=None):
    """A receiver in the registry's own loop."""
    receiver = Receiver(behave)
    registry.run(receiver.__aenter__())
    try:
        yield receiver
    finally:
        registry.run(receiver.__aexit__())


def deliver(registry):
    async def work():
        await registry.journal.flush()
        send = HttpSender(LOOPBACK)
        store, queue = registry.store, registry.tenancy.webhooks.queue
        coordinator = registry.tenancy.removals._coordinator
        await Deliverer(store, coordinator, queue, send, DeliveryMetrics()).deliver()
        await send.close()

    registry.run(work())


def test_a_webhook_is_made_described_changed_and_removed(registry, ann):
    path = "/projects/demo/webhooks/builds"
    made = ann.put(path, HOOK | {"events": ["tag.*", "manifest.deleted"]}).expect(201)
    secret = made.json()["secret"]
    assert secret.startswith("mrg_whk_")
    assert made.json()["webhook"] == {
        "name": "builds",
        "url": HOOK["url"],
        "events": ["tag.*", "manifest.deleted"],
        "active": True,
        "changed": made.json()["webhook"]["changed"],
        "by": "user:ann",
    }
    again = ann.put(path, HOOK | {"active": False}).expect(200)
    assert again.json()["secret"] is None
    assert ann.put(path, HOOK, If_Match=made["ETag"]).status == 412
    found = ann.get(path).expect(200)
    assert found["ETag"] == again["ETag"]
    assert ann.get("/projects/demo/webhooks").json()["items"] == [found.json()]
    for reply in (again, found, ann.get("/projects/demo/webhooks")):
        assert secret.encode() not in reply.body
    ann.put(path, HOOK | {"secret": "one of sixteen or more"}).expect(200)
    record = registry.run(registry.store.get(keys.webhook(tenant(registry, "demo"), "builds")))
    assert json.loads(record.data)["secret"] == "one of sixteen or more"
    ann.delete(path).expect(204)
    assert problem(ann.get(path), 404) == "webhook-unknown"
    told = b"".join(registry.audit_lines)
    assert b"of-the-receiver" not in told, "only the host of a URL"
    assert b"sixteen" not in told
    assert b"hooks.example" in told


def tenant(registry, name):
    return registry.run(registry.tenancy.projects.named(name)).id


@pytest.mark.parametrize(
    "body",
    [
        {"url": "https://169.254.169.254/"},
        {"url": "https://user:pass@hooks.example/"},
        {"url": "file:///etc/passwd"},
        HOOK | {"events": []},
        HOOK | {"events": ["nothing.such"]},
        HOOK | {"events": ["login.*"]},
        HOOK | {"events": ["TAG.*"]},
        HOOK | {"events": ["*"] * 33},
        HOOK | {"secret": "short"},
        HOOK | {"secret": "x" * 257},
        HOOK | {"unknown": 1},
        {},
    ],
)
def test_what_makes_no_sense_is_refused(registry, ann, body):
    before = registry.run(registry.store.list("tenants/"))
    assert problem(ann.put("/projects/demo/webhooks/bad", body), 400) in (
        "invalid",
        "request-invalid",
    )
    assert registry.run(registry.store.list("tenants/")) == before


def test_names_and_their_number_are_bounded(registry, ann):
    for name in ("A", "a..b", "-", "x" * 64, "%2e%2e"):
        assert ann.put(f"/projects/many/webhooks/{name}", HOOK).status == 400, name
    for number in range(20):
        ann.put(f"/projects/many/webhooks/n{number:02}", HOOK).expect(201)
    assert problem(ann.put("/projects/many/webhooks/more", HOOK), 409) == "too-many"
    page = ann.get("/projects/many/webhooks?limit=15").expect(200).json()
    rest = ann.get(f"/projects/many/webhooks?after={page['next']}").expect(200).json()
    assert len(page["items"]) + len(rest["items"]) == 20
    for number in range(20):
        ann.delete(f"/projects/many/webhooks/n{number:02}").expect(204)


def test_owners_see_to_those_of_their_project_and_administrators_to_all(registry, ann, adm):
    bob, nobody = Api(registry, basic("bob")), Api(registry, None)
    for path in ("/projects/demo/webhooks/x", "/webhooks/x"):
        assert nobody.put(path, HOOK).status == 401
        assert bob.put(path, HOOK).status == 403
        assert bob.post(f"{path}/ping", {}).status == 403
        adm.put(path, HOOK).expect(201)
        assert bob.get(f"{path}/deliveries").status == 403
        adm.delete(path).expect(204)
    assert ann.get("/projects/other/webhooks").status == 404
    assert ann.get("/webhooks").status == 403


def test_a_push_is_told_to_who_subscribed(registry, ann, adm):
    with receiving(registry) as one, receiving(registry) as whole, receiving(registry) as other:
        secret = ann.put(
            "/projects/demo/webhooks/one", {"url": one.url, "events": ["manifest.*", "tag.*"]}
        ).json()["secret"]
        adm.put("/webhooks/whole", {"url": whole.url})
        Api(registry, basic("bob")).put("/projects/other/webhooks/o", {"url": other.url})
        deliver(registry)
        del one.got[:], whole.got[:], other.got[:]
        with registry.caller(basic("ann")) as caller:
            manifest = push_image(caller, "demo/app", 5, "v1")
            caller.delete("/v2/demo/app/manifests/v1").expect(202)
        ann.put("/projects/demo/members/user:eve", {"role": "guest"})
        deliver(registry)
        assert [event["type"] for event in one.events] == [
            "io.moorage.manifest.pushed",
            "io.moorage.tag.pushed",
            "io.moorage.tag.deleted",
        ]
        pushed, tagged, _ = one.events
        digest = digest_of(manifest)
        assert pushed["subject"] == f"demo/app@{digest}"
        assert tagged["subject"] == "demo/app:v1"
        for event in (pushed, tagged):
            data = event["data"]
            assert data["digest"] == digest
            assert data["size"] == len(manifest)
            assert data["media_type"] == json.loads(manifest)["mediaType"]
            assert (data["principal"], data["project"]) == ("user:ann", "demo")
        for headers, body in one.got:
            assert verifier()(secret, headers["Moorage-Signature"], body)
        types = [event["type"] for event in whole.events]
        assert types.count("io.moorage.blob.pushed") == 2
        assert "io.moorage.member.put" in types
        assert not [kind for kind in types if "login" in kind]
        assert other.got == []
        entries = ann.get("/projects/demo/audit").json()["items"]
        assert pushed["id"] in {f"{each['writer']}-{each['number']}" for each in entries}
        ann.delete("/projects/demo/webhooks/one").expect(204)
        adm.delete("/webhooks/whole").expect(204)


def test_a_trial_says_what_came_of_it(registry, ann):
    path = "/projects/demo/webhooks/trial"
    with receiving(registry) as receiver:
        ann.put(path, {"url": receiver.url}).expect(201)
        assert ann.post(f"{path}/ping", {}).json()["delivered"] is True
        (event,) = receiver.events
        assert (event["type"], event["data"]["principal"]) == ("io.moorage.ping", "user:ann")
        receiver.behave = says(500)
        said = ann.post(f"{path}/ping", {}).json()
        assert (said["delivered"], said["status"], said["error"]) == (False, 500, "it answered 500")
    said = ann.post(f"{path}/ping", {}).json()
    assert (said["status"], said["error"]) == (None, "it can't be connected to")
    ann.delete(path).expect(204)


def test_what_waits_is_listed_and_dead_letters_are_sent_again(registry, ann):
    path = "/projects/demo/webhooks/late"
    with receiving(registry, says(500)) as receiver:
        ann.put(path, {"url": receiver.url, "events": ["tag.deleted"]}).expect(201)
        with registry.caller(basic("ann")) as caller:
            push_image(caller, "demo/late", 5, "v1")
            caller.delete("/v2/demo/late/manifests/v1").expect(202)
        deliver(registry)
        (item,) = ann.get(f"{path}/deliveries").json()["items"]
        assert (item["attempts"], item["error"], item["dead"]) == (1, "it answered 500", False)
        assert [event["action"] for event in item["events"]] == ["tag.deleted"]
        assert ann.get(f"{path}/deliveries?dead=true").json()["items"] == []
        hook = registry.run(hook_of(registry, "late")).id
        (key,) = registry.run(registry.store.list(keys.events_due(hook)))
        record = registry.run(registry.tenancy.webhooks.queue.read(key))
        registry.run(registry.tenancy.webhooks.queue.bury(hook, record, 0))
        registry.run(registry.store.delete(key))
        (dead,) = ann.get(f"{path}/deliveries?dead=true").json()["items"]
        unknown = ann.post(f"{path}/redeliver", {"deliveries": ["0" * 13 + "." + "0" * 16]})
        assert problem(unknown, 404) == "delivery-unknown"
        receiver.behave = None
        said = ann.post(f"{path}/redeliver", {}).expect(202).json()
        assert said == {"count": 1}
        deliver(registry)
        assert len(receiver.got) == 2
        assert len(set(receiver.ids)) == 1
        assert dead["events"][0]["id"] == receiver.ids[0]
    ann.delete(path).expect(204)
    assert not [key for key in registry.run(registry.store.list("events/")) if hook in key]


async def hook_of(registry, name):
    demo = await registry.tenancy.projects.named("demo")
    return (await registry.tenancy.webhooks.find(demo.tenant, name)).record


def test_a_removed_project_leaves_no_webhook_and_tells_that_it_went():
    with tenants(settings=SETTINGS) as registry, receiving(registry) as receiver:
        registry.user("ann")
        registry.project("short", ann="owner")
        ann = Api(registry, basic("ann"))
        ann.put("/projects/short/webhooks/x", {"url": receiver.url}).expect(201)
        ann.delete("/projects/short").expect(202)
        deliver(registry)
        assert receiver.events[-1]["type"] == "io.moorage.project.removed"
        registry.tenancy.removals._settle = 0
        registry.run(registry.tenancy.removals.purge_due())
        registry.run(registry.journal.flush())
        left = registry.run(registry.store.list("tenants/"))
        assert not [key for key in left if key.endswith("/webhooks/x")]
        assert registry.run(registry.store.list("events/")) == []


def test_the_commands(registry, tmp_path, monkeypatch, capsys):
    login, secret = tmp_path / "login", tmp_path / "secret"
    login.write_text(f"adm:{PASSWORD}")
    secret.write_text("a secret from a file\n")
    monkeypatch.setenv("MOORAGE_TOKEN_FILE", str(login))
    monkeypatch.setenv("MOORAGE_URL", f"http://{registry.address}")

    def moorage(*words, code=0):
        assert main(["webhook", *words]) == code
        return "".join(capsys.readouterr())

    with receiving(registry, says(500)) as receiver:
        for project in ("demo", "-"):
            shown = moorage("add", project, "told", receiver.url, "--event", "tag.*")
            assert "mrg_whk_" in shown
            changed = moorage("add", project, "told", receiver.url, "--secret-file", str(secret))
            assert "mrg_whk_" not in changed
            assert "from a file" not in changed
            assert "told" in moorage("list", project)
            assert "it answered 500" in moorage("ping", project, "told", code=1)
            moorage("deliveries", project, "told", "--dead")
            assert "COUNT  0" in moorage("redeliver", project, "told")
            moorage("remove", project, "told")
            assert "no webhook" in moorage("ping", project, "told", code=1)


@contextlib.contextmanager
def receiver_thread():
    """A receiver that lives while registries are killed."""
    loop, receiver = asyncio.new_event_loop(), Receiver()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(receiver.__aenter__(), loop).result(10)
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(receiver.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_what_was_acknowledged_is_told_though_the_process_is_killed(registry_server, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    make_projects(data, {"demo": {"ann": "owner"}})
    settings = {
        "AUTH__MODE": "projects",
        "AUDIT__MODE": "strict",
        "WEBHOOKS__ALLOW_HTTP": "true",
        "WEBHOOKS__ALLOW_NETWORKS": ",".join(NETWORKS),
        "WEBHOOKS__INTERVAL_SECONDS": "0.1",
    }
    server = registry_server("filesystem", data=data, settings=settings)
    head = ("Authorization", basic("ann"))
    with receiver_thread() as receiver:
        with Client(server.address) as client:
            body = json.dumps({"url": receiver.url, "events": ["tag.*"]}).encode()
            client.request(
                "PUT", "/api/v1/projects/demo/webhooks/x",
                [head, ("Content-Type", "application/json")], body,
            ).expect(201)  # fmt: skip
        expected = set()
        for number in range(2):
            with Caller(server.address, head) as client:
                push_image(client, "demo/app", number, f"v{number}")
            expected.add(f"demo/app:v{number}")
            server.kill()
            server.start()
        wait_for(lambda: {event["subject"] for event in receiver.events} == expected)
        # Again only with the same id: as many ids as there were pushes.
        assert len(set(receiver.ids)) == 2


class Caller(Client):
    def __init__(self, address, head):
        super().__init__(address)
        self.head = head

    def request(self, method, target, headers=(), body=None):
        return super().request(method, target, [*headers, self.head], body)


def wait_for(condition, seconds=60.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)
