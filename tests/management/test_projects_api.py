"""Projects, members, shares and robot accounts over HTTP."""

import itertools
import json
import time
from base64 import b64decode

import pytest

from tests.auth.tenants import basic, tenants
from tests.console.content import attach, push
from tests.fixtures.secrecy import SECRETS
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image

_names = itertools.count(1)


@pytest.fixture
def name():
    return f"p{next(_names)}"


@pytest.fixture
def project(admin, name):
    """A project of ann's."""
    admin.put(f"/projects/{name}", {"owner": "user:ann"}).expect(201)
    return f"/projects/{name}"


def test_a_project_is_made_once(admin, name):
    wanted = {"visibility": "internal", "owner": "user:ann"}
    made = admin.put(f"/projects/{name}", wanted).expect(201)
    again = admin.put(f"/projects/{name}", wanted).expect(200)
    assert made.json() == again.json()
    assert made["ETag"] == again["ETag"]
    described = made.json()
    assert described["name"] == name
    assert described["by"] == "user:adm"
    assert described["visibility"] == "internal"
    assert problem(admin.put(f"/projects/{name}", {"visibility": "public"}), 409) == (
        "project-exists"
    )


def test_the_spelling_of_a_name_is_kept_for_display(admin, name):
    spelled = f"My_{name.upper()}"
    made = admin.put(f"/projects/{spelled}", {}).expect(201).json()
    assert (made["name"], made["display"]) == (spelled.lower(), spelled)
    assert admin.get(f"/projects/{spelled}").expect(200).json()["name"] == spelled.lower()


def test_who_may_create(ann, nobody, name):
    assert problem(ann.put(f"/projects/{name}", {}), 403) == "not-allowed"
    refused = nobody.put(f"/projects/{name}", {})
    assert problem(refused, 401) == "unauthorized"
    assert refused["WWW-Authenticate"].startswith('Bearer realm="http://127.0.0.1:')


def test_what_one_has_no_part_in_is_not_there(bob, project):
    for method, path, body in [
        ("GET", "", None),
        ("PATCH", "", {"visibility": "public"}),
        ("DELETE", "", None),
        ("GET", "/members", None),
        ("PUT", "/members/user:bob", {"role": "owner"}),
        ("GET", "/robots", None),
        ("PUT", "/robots/ci", {}),
        ("GET", "/shares", None),
        ("GET", "/repositories", None),
        ("GET", "/explain?principal=user:bob", None),
    ]:
        there, absent = (
            bob.ask(method, project + path, body),
            bob.ask(method, "/projects/absent" + path, body),
        )
        assert there.status == absent.status == 404, (method, path, there)
        one, two = there.json(), absent.json()
        assert one.pop("request_id") != two.pop("request_id")
        assert one == two, (method, path)


def test_projects_are_listed_in_pages(admin, registry, anyone):
    registry.user("lister")
    wanted = [f"list-{number}" for number in range(5)]
    for each in wanted:
        admin.put(f"/projects/{each}", {"owner": "user:lister"}).expect(201)
    lister = anyone(basic("lister"))
    found, path = [], "/projects?limit=2"
    while path:
        page = lister.get(path).expect(200)
        found += [each["name"] for each in page.json()["items"]]
        link = page.get("Link")
        path = link.partition(">")[0][1:] if link else ""
        assert bool(path) == (page.json()["next"] is not None)
    assert found == wanted
    assert {each["role"] for each in lister.get("/projects").json()["items"]} == {"owner"}
    assert problem(lister.get("/projects?all=true"), 403) == "not-allowed"
    every = [each["name"] for each in admin.get("/projects?all=true").json()["items"]]
    assert set(wanted) <= set(every)


def test_a_change_may_be_conditional(ann, project):
    read = ann.get(project).expect(200)
    changed = ann.patch(project, {"visibility": "internal"}, If_Match=read["ETag"]).expect(200)
    assert changed.json()["visibility"] == "internal"
    assert changed["ETag"] != read["ETag"]
    late = ann.patch(project, {"visibility": "public"}, If_Match=read["ETag"])
    assert problem(late, 412) == "changed"
    assert problem(ann.delete(project, If_Match=read["ETag"]), 412) == "changed"
    assert ann.get(project).json()["visibility"] == "internal"
    for condition in ("*", '"a", "b"', 'W/"a"'):
        refused = ann.patch(project, {"visibility": "public"}, If_Match=condition)
        assert problem(refused, 400) == "request-invalid"
    assert problem(ann.patch(project, {"visibility": "public"}, If_Match="a"), 400)


def test_what_was_read_need_not_be_sent_again(ann, project):
    read = ann.get(project).expect(200)
    assert ann.get(project, If_None_Match=read["ETag"]).expect(304).body == b""
    assert ann.ask("HEAD", project).expect(200)["ETag"] == read["ETag"]


def test_removal_tells_how_far_it_is(registry, ann, admin, bob, project):
    gone = ann.delete(project).expect(202)
    where = gone["Location"]
    assert gone.json()["progress"] == "purging"
    assert ann.get(project).status == 404
    assert ann.get(where).expect(200).json()["by"] == "user:ann"
    assert problem(bob.get(where), 404) == "project-unknown"
    assert gone.json()["id"] in [
        each["id"] for each in admin.get("/removals").expect(200).json()["items"]
    ]
    registry.run(registry.tenancy.removals.purge_due())
    assert admin.get(where).expect(200).json()["progress"] in ("settling", "purged")
    for absent in ("0" * 32, "%C3%86", "A", "..", "a%2Fb", "-", "x" * 100):
        assert problem(bob.get(f"/removals/{absent}"), 404) == "project-unknown"


def test_members_come_and_go(ann, bob, project):
    made = ann.put(f"{project}/members/user:bob", {"role": "Data scientist"}).expect(201)
    assert made.json()["role"] == "developer"
    assert made.json()["by"] == "user:ann"
    ann.put(f"{project}/members/user:bob", {"role": "developer"}).expect(200)
    assert bob.get(project).expect(200).json()["role"] == "developer"
    assert problem(bob.put(f"{project}/members/user:eve", {"role": "guest"}), 403) == "not-allowed"
    listed = ann.get(f"{project}/members").expect(200).json()["items"]
    assert [(each["principal"], each["role"]) for each in listed] == [
        ("user:ann", "owner"),
        ("user:bob", "developer"),
    ]
    stale = ann.put(f"{project}/members/user:bob", {"role": "guest"}, If_Match='"x"')
    assert problem(stale, 412) == "changed"
    ann.delete(f"{project}/members/user:bob").expect(204)
    assert bob.get(project).status == 404
    assert problem(ann.delete(f"{project}/members/user:bob"), 404) == "member-unknown"


def test_the_last_owner_stays(ann, project):
    assert problem(ann.delete(f"{project}/members/user:ann"), 409) == "last-owner"
    refused = ann.put(f"{project}/members/user:ann", {"role": "guest"})
    assert problem(refused, 409) == "last-owner"


def test_a_member_only_where_there_is_none(ann, project):
    path = f"{project}/members/group:eng"
    ann.put(path, {"role": "guest"}, If_None_Match="*").expect(201)
    assert problem(ann.put(path, {"role": "owner"}, If_None_Match="*"), 412) == "changed"


@pytest.mark.parametrize("principal", ["group:corp/ml", "workload:ci/repo:a/b:ref", "user:o'neil"])
def test_names_with_slashes_are_read_in_either_spelling(ann, project, principal):
    raw = principal
    escaped = principal.replace("/", "%2F").replace(":", "%3a")
    ann.put(f"{project}/members/{escaped}", {"role": "guest"}).expect(201)
    for spelling in (raw, escaped):
        found = ann.get(f"{project}/members/{spelling}").expect(200).json()
        assert found["principal"] == principal


@pytest.mark.parametrize(
    "principal", ["bob", "robot:a/b", "user:", "user:a%20b", "user:%0a", "system:x", "%00"]
)
def test_what_can_be_no_member(ann, project, principal):
    assert ann.put(f"{project}/members/{principal}", {"role": "guest"}).status in (400, 404)
    assert len(ann.get(f"{project}/members").json()["items"]) == 1


def test_a_robot_account_shows_its_secret_once(registry, ann, anyone, project):
    made = ann.put(f"{project}/robots/ci", {"role": "developer"}).expect(201).json()
    secret, login = made["secret"], made["robot"]["login"]
    assert login == f"{project.rpartition('/')[2]}+ci"
    again = ann.put(f"{project}/robots/ci", {"role": "guest"}).expect(200)
    assert again.json()["secret"] is None
    assert secret not in ann.get(f"{project}/robots").body.decode()
    robot = anyone(basic(login, secret))
    assert robot.get("/whoami").expect(200).json()["kind"] == "robot"
    rotated = ann.post(f"{project}/robots/ci/secrets", {"overlap_seconds": 60}).expect(201).json()
    assert rotated["secret"] != secret
    assert len(rotated["robot"]["secrets"]) == 2
    robot.get("/whoami").expect(200)
    ann.post(f"{project}/robots/ci/secrets", {}).expect(201)
    assert robot.get("/whoami").status == 401
    ann.delete(f"{project}/robots/ci").expect(204)
    assert problem(ann.get(f"{project}/robots/ci"), 404) == "robot-unknown"


def test_what_a_robot_account_may_be(ann, project):
    for wanted, code in [
        ({"role": "owner"}, "invalid"),
        ({"role": "king"}, "request-invalid"),
        ({"scopes": "repository:demo:fly"}, "invalid"),
        ({"networks": ["10.0.0.1/8"]}, "invalid"),
        ({"expires": "2001-01-01T00:00:00Z"}, "invalid"),
        ({"expires": "2101-01-01T00:00:00"}, "request-invalid"),
        ({"admin": True}, "request-invalid"),
        ({"role": "guest", "secret": "mine"}, "request-invalid"),
    ]:
        assert problem(ann.put(f"{project}/robots/ci", wanted), 400) == code, wanted
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    made = (
        ann.put(f"{project}/robots/ci", {"expires": until, "networks": ["10.0.0.0/8"]})
        .expect(201)
        .json()
    )
    assert made["robot"]["expires"] == until
    assert made["robot"]["networks"] == ["10.0.0.0/8"]


def test_pull_secrets_name_the_address_that_is_configured():
    """And no other, whatever `Host` says. They are shown once, and by whom they were issued."""
    with tenants(settings={"server.public_url": "https://images.example.org:8443"}) as registry:
        registry.user("ann")
        registry.project("my_demo", ann="maintainer")
        ann = Api(registry, basic("ann"))
        path = "/projects/my_demo/pull-secrets/kubelet"
        issued = ann.post(path, {}).expect(201)
        assert issued["Cache-Control"] == "no-store"
        said = issued.json()
        assert said["host"] == "images.example.org:8443"
        config = json.loads(b64decode(said["manifest"]["data"][".dockerconfigjson"]))
        ((host, entry),) = config["auths"].items()
        assert host == said["host"]
        SECRETS.note(entry["password"])
        assert entry["username"] == said["robot"]["login"] == "my_demo+kubelet"
        assert said["manifest"]["metadata"]["namespace"] == "my-demo"
        assert entry["password"] not in str(said["robot"])
        pulling = Api(registry, basic(entry["username"], entry["password"]))
        assert pulling.get("/whoami").expect(200).json()["name"] == "robot:my_demo/kubelet"
        assert problem(pulling.get("/projects/my_demo"), 404) == "project-unknown"
        again = ann.post(path, {"namespace": "x", "name": "a.b", "overlap_seconds": 0}).expect(201)
        assert again.json()["manifest"]["metadata"]["name"] == "a.b"
        assert problem(pulling.get("/whoami"), 401) == "unauthorized"
        ann.delete(path).expect(204)
        assert problem(ann.delete(path), 404) == "robot-unknown"
        for wanted in (
            {"namespace": "A"},
            {"namespace": "a\n"},
            {"name": "-a"},
            {"name": "a..b"},
            {"overlap_seconds": -1},
            {"overlap_seconds": 604_801},
            {"host": "elsewhere"},
        ):
            assert problem(ann.post(path, wanted), 400) == "request-invalid", wanted


def test_without_a_public_address_there_are_no_pull_secrets(ann, project):
    assert problem(ann.post(f"{project}/pull-secrets/kubelet", {}), 409) == "address-unknown"
    ann.put(f"{project}/robots/ci", {}).expect(201)
    assert problem(ann.delete(f"{project}/pull-secrets/ci"), 400) == "invalid"


def test_shares_are_given_and_revoked(admin, ann, bob, name, project):
    admin.put(f"/projects/{name}-b", {"owner": "user:bob"}).expect(201)
    number = bob.get(f"/projects/{name}-b").json()["id"]
    by_name = ann.put(f"{project}/shares/{name}-b?repository={name}/app")
    assert problem(by_name, 400) == "invalid"  # no part of hers
    given = ann.put(f"{project}/shares/{number}?repository={name}/app").expect(201).json()
    assert (given["target"], given["repository"]) == (f"{name}-b", f"{name}/app")
    ann.put(f"{project}/shares/{number}").expect(201)
    ann.put(f"{project}/shares/{number}").expect(200)
    first = ann.get(f"{project}/shares?limit=1").expect(200).json()
    second = ann.get(f"{project}/shares?limit=1&after={first['next']}").expect(200).json()
    whole, one = sorted(
        [*first["items"], *second["items"]], key=lambda each: each["repository"] or ""
    )
    assert whole["repository"] is None
    assert one["repository"] == f"{name}/app"
    ann.delete(f"{project}/shares/{name}-b").expect(204)
    assert problem(ann.delete(f"{project}/shares/{name}-b"), 404) == "share-unknown"


def test_repositories_and_tags(registry, ann, bob, name, project):
    with registry.caller(basic("ann")) as caller:
        for repository in (name, f"{name}/app", f"{name}/deep/er"):
            push_image(caller, repository, repository, "v1")
            push_image(caller, repository, 2, "v2")
    listed = ann.get(f"{project}/repositories?limit=2").expect(200)
    assert [each["name"] for each in listed.json()["items"]] == [name, f"{name}/app"]
    rest = ann.get(listed["Link"].partition(">")[0][1:]).expect(200).json()
    assert [each["name"] for each in rest["items"]] == [f"{name}/deep/er"]
    assert rest["next"] is None
    for spelling in (f"{name}:deep:er", f"{name}%2Fdeep%2Fer"):
        page = ann.get(f"/repositories/{spelling}/tags?limit=1").expect(200)
        (tag,) = page.json()["items"]
        assert tag["name"] == "v1"
        assert tag["by"] == "user:ann"
        assert tag["content_bytes"] > tag["manifest_bytes"] > 0
        (after,) = ann.get(page["Link"].partition(">")[0][1:]).expect(200).json()["items"]
        assert after["name"] == "v2"
    one = ann.get(f"/repositories/{name}:app/tags/v1").expect(200)
    assert one.json()["digest"] == one["ETag"].strip('"')
    path = f"/repositories/{name}:app/tags/v1"
    assert problem(ann.delete(path, If_Match='"sha256:0"'), 412) == "precondition-failed"
    ann.delete(path, If_Match=one["ETag"]).expect(204)
    assert problem(ann.get(path), 404) == "manifest-unknown"
    assert problem(ann.get(f"/repositories/{name}:never/tags"), 404) == "name-unknown"
    foreign, absent = (bob.get(f"/repositories/{each}:app/tags") for each in (name, "absent"))
    assert foreign.status == absent.status == 404
    assert foreign.json()["detail"] == absent.json()["detail"]


def test_a_repository_is_deleted_and_had_back(registry, ann, bob, name, project):
    with registry.caller(basic("ann")) as caller:
        for number in (1, 2):
            push_image(caller, f"{name}/app", number, f"v{number}")
        push_image(caller, f"{name}/app/deeper", 1, "v1")
    path = f"/repositories/{name}:app"
    assert problem(bob.delete(path), 404) == "name-unknown"
    gone = ann.delete(path).expect(200).json()
    since = gone.pop("since")
    assert gone == {"repository": f"{name}/app", "manifests": 2, "tags": 2, "gone": True}
    listed = ann.get(f"{project}/repositories").expect(200).json()["items"]
    assert [each["name"] for each in listed] == [f"{name}/app/deeper"]
    assert problem(ann.get(f"{path}/tags"), 404) == "name-unknown"
    assert problem(ann.delete(path), 404) == "name-unknown"
    assert problem(ann.post(f"{path}/deleted", {"since": "yesterday"}), 400) == "request-invalid"
    late = {"since": "2099-01-01T00:00:00Z"}
    assert problem(ann.post(f"{path}/deleted", late), 404) == "name-unknown"
    back = ann.post(f"{path}/deleted", {"since": since}).expect(200).json()
    assert back == {"repository": f"{name}/app", "manifests": 2, "tags": 2, "lost": []}
    tags = ann.get(f"{path}/tags").expect(200).json()["items"]
    assert [each["name"] for each in tags] == ["v1", "v2"]
    registry.run(registry.journal.flush())
    told = ann.get(f"{project}/audit?limit=100").expect(200).json()["items"]
    details = {each["action"]: each for each in told if each["action"].startswith("repository.")}
    assert details["repository.deleted"]["repository"] == f"{name}/app"
    assert details["repository.deleted"]["details"] == {
        "manifests": "2",
        "tags": "2",
        "gone": "true",
    }
    assert details["repository.undeleted"]["details"]["lost"] == "0"


def test_collection_and_scrub_are_told_to_administrators(admin, ann):
    assert problem(ann.get("/collection"), 403) == "not-allowed"
    assert problem(ann.get("/scrub"), 403) == "not-allowed"
    queue = admin.get("/collection").expect(200).json()
    assert queue["more"] is False
    scrub = admin.get("/scrub").expect(200).json()
    assert scrub == {"began": None, "ended": None, "looked": 0, "bytes": 0, "damaged": 0}


def test_a_deleted_manifest_is_had_back(registry, ann, bob, name, project):
    with registry.caller(basic("ann")) as caller:
        digest = digest_of(push_image(caller, f"{name}/app", name, "v1"))
        caller.delete(f"/v2/{name}/app/manifests/{digest}").expect(202)
        caller.get(f"/v2/{name}/app/manifests/v1").expect(404)
    path = f"/repositories/{name}:app/deleted"
    (item,) = ann.get(path).expect(200).json()["items"]
    assert (item["digest"], item["tags"], item["by"]) == (digest, ["v1"], "user:ann")
    assert bob.post(f"{path}/{digest}", {}).status == 404
    assert problem(ann.post(f"{path}/sha256:0", {}), 400) == "digest-invalid"
    assert ann.post(f"{path}/{digest}", {}).expect(200).json()["tags"] == ["v1"]
    assert problem(ann.post(f"{path}/{digest}", {}), 404) == "manifest-unknown"
    assert ann.get(path).expect(200).json()["items"] == []
    assert ann.get(f"/repositories/{name}:app/tags/v1").expect(200).json()["digest"] == digest


def test_a_manifest_is_told_of_anew_when_something_refers_to_it(registry, ann, name, project):
    with registry.caller(basic("ann")) as caller:
        subject = push(caller, f"{name}/app", "v1", b"a layer")
        path = f"/repositories/{name}:app/manifests/{subject['digest']}"
        first = ann.get(path).expect(200)
        assert first.json()["referrers"] == []
        attach(caller, f"{name}/app", subject, "application/x-signature", b"signed")
    tag = first.get("ETag") or f'"{subject["digest"]}"'
    (referrer,) = ann.get(path, If_None_Match=tag).expect(200).json()["referrers"]
    assert referrer["artifact_type"] == "application/x-signature"


def test_what_an_image_runs_on_is_told_from_its_own_repository(registry, ann, name, project):
    """What another repository has of the same image tells nothing of this one."""
    with registry.caller(basic("ann")) as caller:
        for each in ("one", "two"):
            push(caller, f"{name}/{each}", "v1", b"a layer", config={"User": name}, of="the same")
        manifest = caller.get(f"/v2/{name}/two/manifests/v1").expect(200).json()
        config = manifest["config"]["digest"]
        caller.delete(f"/v2/{name}/two/blobs/{config}").expect(202)
    found = {
        each: ann.get(f"/repositories/{name}:{each}/tags/v1").expect(200).json()
        for each in ("one", "two")
    }
    assert found["one"]["digest"] == found["two"]["digest"]
    assert found["one"]["platforms"] == ["linux/amd64"]
    assert found["two"]["platforms"] == []


def test_why_somebody_may_not(ann, bob, name, project):
    ann.put(f"{project}/members/user:bob", {"role": "guest"}).expect(201)
    said = (
        ann.get(f"{project}/explain?principal=user:bob&verb=push&repository={name}/app")
        .expect(200)
        .json()
    )
    assert said["allowed"] is False
    assert said["why"] == "role"
    assert "user:bob has the role guest" in said["findings"]
    allowed = ann.get(f"{project}/explain?principal=user:bob").expect(200).json()
    assert allowed["allowed"] is True
    assert problem(bob.get(f"{project}/explain?principal=user:ann"), 403) == "not-allowed"
    for verb in ("pull", "describe", "operate", "administer"):
        elsewhere = f"verb={verb}&repository=elsewhere/app"
        reply = ann.get(f"{project}/explain?principal=user:bob&{elsewhere}")
        assert problem(reply, 400) == "request-invalid", verb
        reply = bob.get(f"/explain?project={name}&{elsewhere}")
        assert problem(reply, 400) == "request-invalid", verb
        ann.get(f"{project}/explain?principal=user:bob&verb={verb}&repository={name}/x").expect(200)
    for query in ("principal=bob", "principal=user:b&verb=fly", "principal=user:b&repository=x/y"):
        assert problem(ann.get(f"{project}/explain?{query}"), 400) == "request-invalid"
