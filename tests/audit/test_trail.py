"""What requests leave in the audit log: one event for each login, denial and change, no secret."""

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from auth.roles import Visibility
from registry.http.management.table import ROUTES
from registry.http.trail import CHANGES
from registry.service.audit.events import ACTIONS
from registry.service.audit.log import AuditLog
from registry.spec import requests as spec
from tests.auth.tenants import BOOTSTRAP, PASSWORD, ROOT, basic, bearer, tenants
from tests.docs.test_docs import rows
from tests.management.api import Api, problem
from tests.oracle.content import (
    OCI_MANIFEST,
    digest_of,
    image,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
)

DOCS = Path(__file__).parents[2] / "docs"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


class Watched:
    """A registry, and the events that came since the last look."""

    def __init__(self, registry):
        self.registry = registry
        self.seen = 0
        self.every = []

    def events(self):
        self.registry.run(self.registry.journal.flush())
        lines = self.registry.audit_lines
        new = [json.loads(line) for line in lines[self.seen :]]
        self.seen = len(lines)
        self.every += new
        return new

    def one(self, action, **facts):
        """The only event since the last look, checked."""
        (event,) = self.events()
        check(event, action, **facts)
        return event

    def api(self, authorization):
        return Api(self.registry, authorization)


def check(event, action, **facts):
    assert event["action"] == action, event
    for name, value in facts.items():
        assert event.get(name, "") == value, (name, event)


@pytest.fixture(scope="module")
def served():
    with tenants(settings={"rates.enabled": "off"}) as registry:
        for name in ("ann", "bob", "eve"):
            registry.user(name)
        registry.user("adm", administrator=True)
        registry.project("demo", ann="owner", bob="guest")
        registry.project("other", Visibility.PUBLIC, eve="owner")
        yield Watched(registry)


@pytest.fixture
def watched(served):
    """Nobody has logged in lately, and nothing is left to look at."""
    served.registry.trail._logins.clear()
    served.events()
    return served


def tenant(registry, name):
    return registry.run(registry.tenancy.projects.named(name))


def test_a_login_is_one_event_and_a_read_is_none(watched):
    with watched.registry.caller(basic("ann")) as ann:
        ann.get("/v2/").expect(200)
        event = watched.one("login.succeeded", principal="user:ann", address="127.0.0.1")
        assert event["details"] == {"scheme": "basic"}
        assert event["request_id"]
        ann.get("/v2/demo/never/tags/list").expect(404)
        ann.get("/v2/").expect(200)
        watched.api(basic("ann")).get("/whoami").expect(200)
        assert watched.events() == []


def test_a_failed_login_is_an_event_each_time(watched):
    registry = watched.registry
    for target in ("/v2/", "/api/v1/whoami", "/token?service=moorage"):
        with registry.caller(basic("ann", "a wrong guess")) as caller:
            caller.get(target).expect(401)
        event = watched.one("login.failed", result="failed", principal="user:ann")
        assert "wrong guess" not in json.dumps(event)
    with registry.caller(bearer("no.such.token")) as caller:
        caller.get("/v2/demo/app/manifests/v1").expect(401)
    watched.one("login.failed", principal="", repository="demo/app")
    form = f"grant_type=password&service=moorage&client_id=x&username=ann&password={'x' * 12}"
    with registry.caller(None) as caller:
        caller.post("/token", FORM, body=form.encode()).expect(401)
    watched.one("login.failed", principal="user:ann")
    with registry.caller(basic("mrg_pat_0123456789abcdef_secretsecret", "x")) as caller:
        caller.get("/v2/").expect(401)
    assert watched.one("login.failed")["principal"] == "user:***"


def test_a_token_is_an_event_of_the_project_that_it_is_for(watched):
    token = watched.registry.token(basic("ann"), "repository:demo/app:pull,push")
    event = watched.one(
        "token.issued", principal="user:ann", project="demo",
        subject="repository:demo/app:pull,push",
    )  # fmt: skip
    assert event["tenant"] == tenant(watched.registry, "demo").id
    assert token not in json.dumps(event)
    with watched.registry.caller(bearer(token)) as caller:
        caller.get("/v2/").expect(200)
        caller.get("/v2/demo/app/tags/list")
    assert watched.events() == []
    watched.registry.token(basic("eve"), "repository:demo/app:pull")
    event = watched.one("token.issued", principal="user:eve", project="", subject="")
    assert event["details"]["asked"] == "repository:demo/app:pull"


def test_refresh_tokens_are_made_used_and_revoked(watched):
    query = "/token?service=moorage&offline_token=true&client_id=laptop"
    with watched.registry.caller(basic("ann")) as ann:
        refresh = ann.get(query).expect(200).json()["refresh_token"]
        created, issued = watched.events()
        check(created, "token.created", principal="user:ann", address="127.0.0.1")
        check(issued, "token.issued", principal="user:ann")
        assert created["request_id"] == issued["request_id"]
    with watched.registry.caller(None) as caller:
        form = f"token={quote(refresh)}"
        caller.post("/token/revoke", FORM, body=form.encode()).expect(200)
    watched.one("token.removed", principal="user:ann", address="127.0.0.1")
    assert refresh.split(".")[0] not in "".join(map(json.dumps, watched.every))


def test_what_is_denied_is_an_event_of_the_project_that_it_is_about(watched):
    registry, demo = watched.registry, tenant(watched.registry, "demo")
    with registry.caller(basic("eve")) as eve:
        eve.get("/v2/").expect(200)
        watched.one("login.succeeded")
        eve.get("/v2/demo/app/manifests/v1").expect(404)
        event = watched.one(
            "access.denied", result="denied", principal="user:eve", project="demo",
            tenant=demo.id, repository="demo/app",
        )  # fmt: skip
        assert event["details"] == {"asked": "manifest.get", "verb": "pull", "why": "unrelated"}
        eve.get("/v2/absent/app/manifests/v1").expect(404)
        watched.one("access.denied", project="absent", tenant="", repository="absent/app")
        watched.api(basic("eve")).put("/projects/demo/members/user:eve", {"role": "owner"})
        watched.one("access.denied", project="demo", tenant=demo.id, principal="user:eve")
        watched.api(basic("eve")).get("/users").expect(403)
        watched.one("access.denied", project="", tenant="")
        watched.api(basic("eve")).get("/projects?all=true").expect(403)
        watched.one("access.denied", project="", tenant="")
    with registry.caller(None) as nobody:
        nobody.get("/v2/").expect(401)
        assert watched.events() == []
        nobody.get("/v2/demo/app/manifests/v1").expect(401)
        watched.one("access.denied", principal="anonymous", tenant=demo.id)


def test_a_push_and_a_deletion_leave_an_event_each(watched):
    demo = tenant(watched.registry, "demo")
    where = {"project": "demo", "tenant": demo.id, "principal": "user:ann"}
    with watched.registry.caller(basic("ann")) as ann:
        digest = push_blob(ann, "demo/app", b"{}")
        login, pushed = watched.events()
        check(login, "login.succeeded")
        check(pushed, "blob.pushed", subject=digest, repository="demo/app", **where)
        layer = random_bytes("layer", 10)
        target = f"/v2/demo/app/blobs/uploads/?digest={digest_of(layer)}"
        ann.post(target, body=layer).expect(201)
        watched.one("blob.pushed", subject=digest_of(layer), **where)
        ann.post(f"/v2/demo/two/blobs/uploads/?mount={digest}&from=demo/app").expect(201)
        event = watched.one("blob.mounted", subject=digest, repository="demo/two", **where)
        assert event["details"] == {"source": "demo/app"}
        location = ann.post("/v2/demo/app/blobs/uploads/").expect(202)["Location"]
        ann.patch(location, body=b"abc").expect(202)
        assert watched.events() == []
        ann.delete(location).expect(204)
        event = watched.one("upload.cancelled", **where)
        assert event["subject"] in location
        assert len(event["subject"]) == 16, "the id of a session is half a secret"
        manifest = image(b"{}", [layer])
        put_manifest(ann, "demo/app", "v1", manifest)
        one, two = watched.events()
        check(one, "manifest.pushed", subject=digest_of(manifest), **where)
        check(two, "tag.pushed", subject="v1", repository="demo/app", **where)
        facts = {"media_type": OCI_MANIFEST, "size": str(len(manifest))}
        assert two["details"] == {"digest": digest_of(manifest)} | facts
        kind = ("Content-Type", OCI_MANIFEST)
        reference = f"{digest_of(manifest)}?tag=a&tag=b"
        ann.put(f"/v2/demo/app/manifests/{reference}", kind, body=manifest).expect(201)
        assert [(e["action"], e["subject"]) for e in watched.events()[1:]] == [
            ("tag.pushed", "a"),
            ("tag.pushed", "b"),
        ]
        ann.delete("/v2/demo/app/manifests/a").expect(202)
        watched.one("tag.deleted", subject="a", **where)
        watched.api(basic("ann")).delete("/repositories/demo:app/tags/b").expect(204)
        watched.one("tag.deleted", subject="b", repository="demo/app", **where)
        ann.delete(f"/v2/demo/app/manifests/{digest_of(manifest)}").expect(202)
        watched.one("manifest.deleted", subject=digest_of(manifest), **where)
        ann.delete(f"/v2/demo/app/blobs/{digest}").expect(202)
        watched.one("blob.deleted", subject=digest, **where)


def test_a_change_that_was_refused_is_none(watched):
    with watched.registry.caller(basic("ann")) as ann:
        ann.get("/v2/").expect(200)
        watched.events()
        ann.delete("/v2/demo/app/manifests/none").expect(404)
        kind = ("Content-Type", OCI_MANIFEST)
        ann.put("/v2/demo/app/manifests/v1", kind, body=b"{}").expect(400)
        ann.post(f"/v2/demo/app/blobs/uploads/?digest={digest_of(b'a')}", body=b"b").expect(400)
    api = watched.api(basic("ann"))
    api.put("/projects/demo/members/user:bob", {"role": "guest"}).expect(200)
    api.put("/projects/demo/members/user:bob", {"role": "king"}).expect(400)
    assert watched.events() == []


def test_a_mount_from_where_one_may_not_pull_is_seen_there_and_not_where_it_would_go(watched):
    registry, demo = watched.registry, tenant(watched.registry, "demo")
    with registry.caller(basic("ann")) as ann:
        digest = push_blob(ann, "demo/app", b"mine")
    with registry.caller(basic("eve")) as eve:
        eve.get("/v2/").expect(200)
        watched.events()
        eve.post(f"/v2/other/app/blobs/uploads/?mount={digest}&from=demo/app").expect(202)
        event = watched.one("access.denied", tenant=demo.id, repository="demo/app")
        assert "other" not in json.dumps(event)
        # From a public one of another project it may: but members learn of no repository elsewhere.
        push_blob(eve, "other/app", b"theirs")
    with registry.caller(basic("ann")) as ann:
        watched.events()
        source = f"mount={digest_of(b'theirs')}&from=other/app"
        ann.post(f"/v2/demo/app/blobs/uploads/?{source}").expect(201)
        assert "other" not in json.dumps(watched.one("blob.mounted", tenant=demo.id))


def test_each_change_of_the_management_api_leaves_its_event(watched):
    ann, adm = watched.api(basic("ann")), watched.api(basic("adm"))
    ann.get("/whoami")
    adm.get("/whoami")
    watched.events()
    registry = watched.registry
    adm.put("/projects/fresh", {"owner": "user:ann"}).expect(201)
    created = watched.events()
    assert [event["action"] for event in created] == ["project.created"]
    fresh = tenant(registry, "fresh")
    where = {"project": "fresh", "tenant": fresh.id, "principal": "user:ann"}
    ann.patch("/projects/fresh", {"visibility": "internal"}).expect(200)
    watched.one("project.changed", **where)
    adm.put("/projects/fresh/quota", {"bytes": 10**9}).expect(200)
    event = watched.one("quota.set", **(where | {"principal": "user:adm"}))
    assert event["details"] == {"bytes": "1000000000"}
    ann.put("/projects/fresh/members/user:bob", {"role": "developer"}).expect(201)
    assert watched.one("member.put", subject="user:bob", **where)["details"] == {
        "role": "developer"
    }
    ann.delete("/projects/fresh/members/user:bob").expect(204)
    watched.one("member.removed", subject="user:bob", **where)
    terms = {"expires": "2100-01-01T00:00:00Z", "networks": ["127.0.0.0/8", "::1/128"]}
    terms["scopes"] = "repository:fresh/app:pull"
    secrets = [ann.put("/projects/fresh/robots/ci", terms).expect(201).json()["secret"]]
    assert watched.one("robot.put", subject="robot:fresh/ci", **where)["details"] == {
        "role": "developer",
        "scopes": "repository:fresh/app:pull",
        "expires": "4102444800.0",
        "networks": "127.0.0.0/8 ::1/128",
    }
    secrets.append(ann.post("/projects/fresh/robots/ci/secrets", {}).expect(201).json()["secret"])
    watched.one("robot.rotated", subject="robot:fresh/ci", **where)
    ann.delete("/projects/fresh/robots/ci").expect(204)
    watched.one("robot.removed", **where)
    ann.put("/projects/fresh/shares/demo")
    watched.one("share.put", **where)
    ann.delete("/projects/fresh/shares/demo").expect(204)
    watched.one("share.removed", **where)
    ann.delete("/projects/fresh").expect(202)
    watched.one("project.removed", **where)
    registry.tenancy.removals._settle = 0
    registry.run(registry.tenancy.removals.purge_due())
    event = watched.one("project.purged", project="fresh", tenant=fresh.id)
    assert (event["principal"], event.get("address", "")) == ("system:purger", "")
    whose = {"principal": "user:adm", "project": "", "tenant": "", "subject": "user:zoe"}
    adm.put("/users/zoe", {"password": "the first password"}).expect(201)
    watched.one("account.created", **whose)
    adm.put("/users/zoe", {"blocked": True}).expect(200)
    watched.one("account.changed", **whose)
    adm.put("/password?user=zoe", {"password": "the second password"}).expect(204)
    watched.one("account.password", **whose)
    adm.delete("/users/zoe").expect(204)
    watched.one("account.removed", **whose)
    made = ann.post("/tokens", {"label": "laptop"}).expect(201).json()
    secrets.append(made["secret"])
    watched.one("token.created", principal="user:ann", subject="user:ann")
    ann.delete(f"/tokens/{made['token']['id']}").expect(204)
    watched.one("token.removed", principal="user:ann")
    ann.put("/password", {"password": PASSWORD, "current": "not it at all"}).expect(400)
    watched.one("login.failed", principal="user:ann")
    watched.api(None).post(
        "/bootstrap", {"secret": "a guess at it", "name": "x", "password": PASSWORD}
    ).expect(403)
    watched.one("login.failed", principal="anonymous", subject="bootstrap secret")
    told = "".join(map(json.dumps, watched.every))
    for secret in (*secrets, "the first password", "the second password", "a guess at it"):
        assert secret not in told


def test_every_route_that_changes_something_is_in_the_table():
    """A new one has to say what it did."""
    sessions = {spec.GetUpload, spec.AppendUpload}  # they change a session, and nothing stored
    kinds = {kind for kind in spec.Request.__args__ if kind.write}
    assert set(CHANGES) == kinds - sessions
    assert [route for route in ROUTES if route.writes]  # each is run inside `change`


def test_every_action_is_documented_and_no_other():
    documented = {row[0].strip("`"): row for row in rows(DOCS / "reference/audit.md", "action")}
    assert set(documented) == ACTIONS
    assert all(row[1].endswith(".") for row in documented.values())


def test_every_detail_is_documented(watched):
    documented = {row[0].strip("`"): row for row in rows(DOCS / "reference/audit.md", "action")}
    for event in watched.every:
        row = documented[event["action"]][2]
        for name in event.get("details", {}):
            assert f"`{name}`" in row, event


def test_owners_and_administrators_read_the_events_of_a_project(watched):
    registry = watched.registry
    with registry.caller(basic("ann")) as ann:
        push_image(ann, "demo/paged", 7, "v1")
    registry.run(registry.journal.flush())
    for who, status in (("ann", 200), ("adm", 200), ("bob", 403), ("eve", 404)):
        assert watched.api(basic(who)).get("/projects/demo/audit").status == status, who
        assert watched.api(basic(who)).get("/audit").status == (200 if who == "adm" else 403)
    ann = watched.api(basic("ann"))
    found, target = [], "/projects/demo/audit?limit=3"
    while target:
        reply = ann.get(target).expect(200)
        found += reply.json()["items"]
        link = reply.get("Link")
        target = re.match(r"<(/api/v1[^>]+)>", link)[1] if link else ""
    assert len({item["cursor"] for item in found}) == len(found) > 5
    assert {item["project"] for item in found} == {"demo"}
    pushed = next(item for item in found if item["repository"] == "demo/paged")
    assert set(pushed) == {
        *("time", "action", "result", "principal", "address", "request_id", "credential"),
        *("project", "repository", "subject", "details", "writer", "number", "hash", "cursor"),
    }
    after = found[-1]["cursor"]
    assert ann.get(f"/projects/demo/audit?after={after}").json() == {"items": [], "next": None}
    soon = int(time.time() * 1000) + 60_000
    assert ann.get(f"/projects/demo/audit?after={soon}").json()["items"] == []
    adm = watched.api(basic("adm"))
    assert {item["project"] for item in adm.get("/audit").json()["items"]} <= {"", "absent"}
    number = tenant(registry, "demo").id
    assert adm.get(f"/audit?id={number}").json()["items"] == found[:100]


def test_events_are_asked_for_by_what_they_are(watched):
    registry = watched.registry
    with registry.caller(basic("ann")) as ann:
        for number in range(4):
            push_image(ann, "demo/chosen", number, f"v{number}")
    registry.run(registry.journal.flush())
    ann = watched.api(basic("ann"))

    def chosen(query):
        found, after = [], ""
        while after is not None:
            reply = ann.get(f"/projects/demo/audit?{query}&after={after}").expect(200).json()
            found += reply["items"]
            after = reply["next"]
        return found

    every = chosen("limit=7")
    for query, fits in (
        ("action=tag.*", lambda each: each["action"].startswith("tag.")),
        ("action=tag.pushed&principal=user:ann", lambda each: each["action"] == "tag.pushed"),
        ("result=done", lambda each: each["result"] == "done"),
        ("principal=user:nobody", lambda _: False),
        ("action=*.pushed&limit=2", lambda each: each["action"].endswith(".pushed")),
    ):
        expected = [each["cursor"] for each in every if fits(each)]
        assert [each["cursor"] for each in chosen(query)] == expected, query
    for query in ("result=well", "action=Tag", "action=%22"):
        assert problem(ann.get(f"/projects/demo/audit?{query}"), 400) == "request-invalid"


@pytest.mark.parametrize(
    "after", ["²", "٣", "-1", "1.5", "x", "1" * 14, "1.0123456789abcdef.00000001.²", " 1", "1%0A"]
)
def test_a_cursor_is_read_strictly(watched, after):
    reply = watched.api(basic("ann")).get(f"/projects/demo/audit?after={quote(after, safe='%')}")
    assert problem(reply, 400) == "request-invalid"
    reply = watched.api(basic("adm")).get(f"/audit?id={quote(after, safe='%')}/../x")
    assert problem(reply, 400) == "request-invalid"


def test_what_was_written_verifies(watched):
    registry = watched.registry
    registry.run(registry.journal.flush())

    async def verdicts():
        return [each async for each in AuditLog(registry.store).verify()]

    (verdict,) = registry.run(verdicts())
    assert verdict.findings == []
    assert verdict.events == len(registry.audit_lines)


def test_no_secret_is_in_any_line(watched):
    told = b"".join(watched.registry.audit_lines).decode()
    for secret in (PASSWORD, BOOTSTRAP, "secretsecret"):
        assert secret not in told
    assert not re.search(r"eyJ[\w-]{8,}\.", told)
    assert not re.search(r"mrg_[a-z]{3}_", told)


def test_while_the_log_is_full_nothing_is_changed_and_reads_go_on(watched):
    registry = watched.registry
    with registry.caller(basic("ann")) as ann:
        push_image(ann, "demo/full", 1, "v1")
        registry.journal._capacity, kept = 0, registry.journal._capacity
        try:
            ann.get("/v2/demo/full/manifests/v1").expect(200)
            before = registry.run(registry.store.list("repos/"))
            reply = ann.delete("/v2/demo/full/manifests/v1").expect(503)
            assert reply["Retry-After"] == "1"
            api = watched.api(basic("ann"))
            assert api.put("/projects/demo/members/user:x", {"role": "guest"}).status == 503
            assert registry.run(registry.store.list("repos/")) == before
        finally:
            registry.journal._capacity = kept


def test_a_change_that_breaks_off_is_told_of(watched):
    registry = watched.registry
    deletions = registry.services.deletions
    with registry.caller(basic("ann")) as ann:
        push_image(ann, "demo/broken", 1, "v1")
        watched.events()
        real = deletions.delete

        async def delete(*_):
            raise RuntimeError("a defect")

        object.__setattr__(deletions, "delete", delete)
        try:
            ann.delete("/v2/demo/broken/manifests/v1").expect(500)
        finally:
            object.__setattr__(deletions, "delete", real)
    watched.one(
        "change.broken", result="unknown", subject="manifest.delete", repository="demo/broken",
        project="demo",
    )  # fmt: skip


def test_where_a_proxy_is_believed_the_address_is_the_client_s():
    from registry.config import ServerConfig  # noqa: PLC0415

    config = ServerConfig(trusted_proxies=("127.0.0.0/8",))
    with tenants(config=config) as registry:
        registry.user("ann")
        with registry.caller(basic("ann")) as ann:
            ann.get("/v2/", ("X-Forwarded-For", "203.0.113.9")).expect(200)
        events = [json.loads(line) for line in registry.audit_lines]
        assert events[-1]["address"] == "203.0.113.9"


def test_in_strict_mode_an_answer_means_that_the_event_is_stored():
    settings = {"audit.mode": "strict", "audit.flush_seconds": 60}
    with tenants(settings=settings) as registry:
        registry.user("ann")
        registry.project("demo", ann="owner")
        demo = tenant(registry, "demo")
        log = AuditLog(registry.store)
        with registry.caller(basic("ann")) as ann:
            for number in range(3):
                digest = push_blob(ann, "demo/app", b"blob %d" % number)
                leaf = registry.run(log.page(demo.id))
                assert leaf.items[-1].entry.subject == digest


def test_without_an_audit_log_nothing_is_written():
    with tenants(settings={"audit.mode": "off"}) as registry:
        registry.user("ann")
        registry.project("demo", ann="owner")
        with registry.caller(basic("ann")) as ann:
            push_image(ann, "demo/app", 1, "v1")
        assert registry.journal is None
        assert registry.audit_lines == []
        assert registry.run(registry.store.list("audit/")) == []
        assert Api(registry, basic("ann")).get("/projects/demo/audit").json()["items"] == []


def test_what_a_project_left_can_still_be_read_when_it_is_gone():
    with tenants() as registry:
        registry.user("adm", administrator=True)
        registry.project("demo", adm="owner")
        demo = tenant(registry, "demo")
        registry.run(registry.tenancy.projects.remove(demo.tenant, ROOT))
        registry.tenancy.removals._settle = 0
        registry.run(registry.tenancy.removals.purge_due())
        registry.run(registry.journal.flush())
        adm = Api(registry, basic("adm"))
        assert problem(adm.get("/projects/demo/audit"), 404) == "project-unknown"
        actions = [item["action"] for item in adm.get(f"/audit?id={demo.id}").json()["items"]]
        assert actions[0] == "project.created"
        assert actions[-2:] == ["project.removed", "project.purged"]


def test_one_who_tries_and_tries_does_not_stop_others():
    with tenants(settings={"audit.buffer": 100, "audit.flush_seconds": 60}) as registry:
        registry.user("ann")
        registry.project("demo", ann="owner")
        with registry.caller(None) as nobody:
            for _ in range(200):
                nobody.get("/v2/demo/app/manifests/v1").expect(401)
        assert registry.journal.dropped > 0
        with registry.caller(basic("ann")) as ann:
            push_blob(ann, "demo/app", b"still")
        events = [json.loads(line) for line in registry.audit_lines]
        assert events[-1]["action"] == "blob.pushed"
