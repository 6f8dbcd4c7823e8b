"""What the platform's hooks call, over HTTP: `ProjectHandler` (creation, deletion) and
`ProjectTeamRoleHandler` (members), and the events that it signs."""

import json
import time
from base64 import b64decode

import pytest

from auth.roles import Visibility
from registry.service.webhooks.signature import HEADER, signature
from tests.auth.tenants import basic, tenants
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image

SECRET = "what the platform signs with, in tests"
SETTINGS = {
    "platform.service": "user:platform",
    "platform.members": "told",
    "platform.events_secret": SECRET,
    "server.public_url": "https://images.example.org",
}
BASE = {"repository": "hopsworks-base/python-app", "reference": "4.1.0"}


@pytest.fixture(scope="module")
def registry():
    with tenants(settings=SETTINGS) as registry:
        registry.user("adm", administrator=True)
        registry.user("platform")
        registry.user("stranger")
        registry.project("hopsworks-base", Visibility.INTERNAL, adm="owner")
        yield registry


@pytest.fixture(scope="module")
def base(registry):
    """The digest of a base image, which an administrator has pushed."""
    with registry.caller(basic("adm")) as caller:
        return digest_of(push_image(caller, "hopsworks-base/python-app", 1, "4.1.0"))


@pytest.fixture
def platform(registry):
    return Api(registry, basic("platform"))


@pytest.fixture
def number(request):
    """A project's number that no other test has."""
    number.last = getattr(number, "last", 118) + 1
    return number.last


def environment(tag="1611136370296-4.1.0.0", name=""):
    return {**BASE, "environment": name, "tag": tag}


def event(registry, what, number, at, *, secret=SECRET, seconds=None, header=None, **more):
    """Send an event as a platform does."""
    body = json.dumps(
        {"id": f"e-{number}-{at}", "type": what, "at": at, "project": number, **more}
    ).encode()
    signed = signature(secret, body, int(time.time() if seconds is None else seconds))
    headers = {} if header == "" else {HEADER.replace("-", "_"): header or signed}
    return Api(registry, None).post("/platform/events", body, Content_Type="application/json",
                                    **headers)  # fmt: skip


@pytest.mark.parametrize("name", ["", "python-app", "gpu/torch"])
def test_a_project_begins_with_its_environment_in_one_call(registry, platform, base, number, name):
    path, project = f"/platform/projects/{number}", f"Project_{number}"
    body = {"name": project, "at": 1, "members": {"ann10000": "Data scientist"}}
    body["environment"] = environment(name=name)
    reply = platform.put(path, body).expect(200).json()
    assert (reply["project"], reply["deleted"]) == (project.lower(), False)
    assert reply["kubernetes_namespace"] == f"project-{number}"
    assert reply["environment"]["digest"] == base
    repository = f"{project.lower()}/{name}" if name else project.lower()
    with registry.caller(basic("platform")) as caller:
        assert caller.get(f"/v2/{repository}/tags/list").json()["tags"] == ["1611136370296-4.1.0.0"]
    assert platform.put(path, body).expect(200).json() == reply, "it may be repeated"


def test_the_pull_secret_of_its_namespace_comes_with_the_project(registry, platform, number):
    path, body = f"/platform/projects/{number}", {"name": f"Kept_{number}", "at": 1}
    assert platform.put(path, body).expect(200).json()["pull_secret"] is None
    first, second = (
        platform.put(path, body | {"pull_secret": {}}).expect(200).json()["pull_secret"]
        for _ in range(2)
    )
    assert first["manifest"]["metadata"]["namespace"] == f"kept-{number}"
    assert first["robot"]["name"] == "kubelet"
    shown = [pair_of(each["manifest"]) for each in (first, second)]
    assert shown[0] != shown[1]
    for pair in shown:  # the one before stays good for a while
        with registry.caller(f"Basic {pair}") as caller:
            caller.get(f"/v2/kept_{number}/tags/list").refused(404, "NAME_UNKNOWN")
            caller.get("/v2/").expect(200)
    body["pull_secret"] = {"robot": "batch", "namespace": "elsewhere", "overlap_seconds": 0}
    issued = platform.put(path, body).expect(200).json()["pull_secret"]["manifest"]["metadata"]
    assert (issued["name"], issued["namespace"]) == ("moorage-batch", "elsewhere")


def pair_of(manifest):
    """What a kubelet shows."""
    config = json.loads(b64decode(manifest["data"][".dockerconfigjson"]))
    return config["auths"]["images.example.org"]["auth"]


def test_no_event_is_answered_with_a_secret(registry, number):
    """Who has seen it could send it again."""
    more = {"name": f"Evented_{number}", "pull_secret": {}}
    assert problem(event(registry, "project.created", number, 1, **more), 400) == "request-invalid"


def test_an_environment_that_has_moved_on_is_not_put_back(registry, platform, base, number):
    path = f"/platform/projects/{number}"
    body = {"name": f"moved{number}", "environment": environment("current")}
    platform.put(path, body).expect(200)
    with registry.caller(basic("platform")) as caller:
        moved = digest_of(push_image(caller, f"moved{number}", "next", "current"))
    assert platform.put(path, body).expect(200).json()["environment"]["digest"] == moved != base


def test_without_its_base_a_project_is_made_and_the_call_can_be_repeated(platform, base, number):
    path, wanted = f"/platform/projects/{number}", environment()
    wanted["reference"] = "9.9"
    body = {"name": f"late{number}", "environment": wanted}
    assert problem(platform.put(path, body), 404) == "manifest-unknown"
    assert platform.get(path).expect(200).json()["project"] == f"late{number}"
    body["environment"] = environment()
    assert platform.put(path, body).expect(200).json()["environment"]["digest"] == base


def test_a_whole_life_by_calls(registry, platform, number):
    path = f"/platform/projects/{number}"
    assert problem(platform.get(path), 404) == "platform-project-unknown"
    platform.put(path, {"name": "Life", "at": 10}).expect(200)
    platform.put(f"{path}/members/ann10000", {"role": "Data owner", "at": 20}).expect(200)
    member = "/projects/life/members/user:hopsworks/ann10000"
    assert platform.get(member).json()["role"] == "owner"
    platform.delete(f"{path}/members/ann10000?at=30").expect(204)
    platform.put(f"{path}/members/ann10000", {"role": "Data owner", "at": 25}).expect(200)
    assert problem(platform.get(member), 404) == "member-unknown"
    platform.put(path, {"name": "LIFE", "at": 40}).expect(200)
    assert platform.get("/projects/life").json()["display"] == "LIFE"
    for _ in range(2):
        platform.delete(f"{path}?at=50").expect(204)
    assert problem(platform.get("/projects/life"), 404) == "project-unknown"
    assert problem(platform.put(path, {"name": "Life", "at": 60}), 409) == "project-gone"
    told = platform.get(path).expect(200).json()
    assert (told["deleted"], told["project"]) == (True, None)


def test_a_whole_life_by_events_the_wrong_way_round(registry, platform, base, number):
    team = {"ann10000": "Data owner"}
    early = event(registry, "member.added", number, 20, user="bob10000", role="Observer")
    assert early.expect(200).json() == {"applied": False, "project": None}
    created = event(
        registry, "project.created", number, 10, name="Events", members=team,
        environment=environment(),
    )  # fmt: skip
    assert created.expect(200).json()["project"]["environment"]["digest"] == base
    members = platform.get("/projects/events/members").json()["items"]
    assert {each["principal"]: each["role"] for each in members} == {
        "user:platform": "owner",
        "user:hopsworks/ann10000": "owner",
        "user:hopsworks/bob10000": "guest",
    }
    event(registry, "member.removed", number, 40, user="bob10000").expect(200)
    event(registry, "member.changed", number, 30, user="bob10000", role="Data owner").expect(200)
    assert len(platform.get("/projects/events/members").json()["items"]) == 2
    event(registry, "project.deleted", number, 50).expect(200)
    late = event(registry, "project.created", number, 10, name="Events", members=team)
    assert late.expect(200).json() == {"applied": False, "project": None}
    assert problem(platform.get("/projects/events"), 404)


def test_an_event_has_to_be_signed_and_signed_now(registry, platform, number):
    bad = {
        "unsigned": {"header": ""},
        "another secret": {"secret": "x" * 30},
        "no signature": {"header": "t=1,v1=00"},
        "too old": {"seconds": time.time() - 301},
        "not yet": {"seconds": time.time() + 310},
        "two": {"header": f"t=1,v1={'0' * 64},v1={'1' * 64}"},
    }
    for name, how in bad.items():
        reply = event(registry, "project.created", number, 1, name="Forged", **how)
        assert problem(reply, 403) == "signature-invalid", name
    assert problem(platform.get(f"/platform/projects/{number}"), 404)


def test_a_signature_is_of_the_very_body(registry, number):
    body = json.dumps({"id": "1", "type": "project.created", "at": 1, "project": number,
                       "name": "Mine"}).encode()  # fmt: skip
    header = {HEADER.replace("-", "_"): signature(SECRET, body, int(time.time()))}
    changed = body.replace(b"Mine", b"Hers")
    kind = {"Content_Type": "application/json"}
    reply = Api(registry, None).post("/platform/events", changed, **kind, **header)
    assert problem(reply, 403) == "signature-invalid"


def test_an_event_that_is_sent_again_changes_nothing(registry, platform, number):
    event(registry, "project.created", number, 1, name="Again").expect(200)
    event(registry, "member.added", number, 2, user="ann10000", role="Data owner").expect(200)
    event(registry, "member.removed", number, 3, user="ann10000").expect(200)
    event(registry, "member.added", number, 2, user="ann10000", role="Data owner").expect(200)
    members = platform.get("/projects/again/members").json()["items"]
    assert [each["principal"] for each in members] == ["user:platform"]


def test_what_an_event_did_is_in_the_log_with_its_id(registry, number):
    adm = Api(registry, basic("adm"))
    event(registry, "project.created", number, 7, name=f"logged{number}").expect(200)
    registry.run(registry.journal.settled())
    items = adm.get("/audit").expect(200).json()["items"]
    told = next(each for each in items if each["subject"] == f"e-{number}-7")
    assert told["action"] == "platform.told"
    assert told["details"] == {"type": "project.created", "number": str(number)}
    items = adm.get(f"/projects/logged{number}/audit").json()["items"]
    created = next(each for each in items if each["action"] == "project.created")
    assert created["principal"] == "user:platform"


@pytest.mark.parametrize("who", ["stranger", None])
def test_nobody_else_provisions(registry, number, who):
    other = Api(registry, basic(who) if who else None)
    for method, path, body in (
        ("PUT", "", {"name": "theirs"}),
        ("GET", "", None),
        ("DELETE", "", None),
        ("PUT", "/members/ann10000", {"role": "Data owner"}),
        ("DELETE", "/members/ann10000", None),
    ):
        reply = other.ask(method, f"/platform/projects/{number}{path}", body)
        assert problem(reply, 403 if who else 401) in ("not-allowed", "unauthorized")


def test_the_platform_is_no_administrator(platform):
    assert problem(platform.get("/users"), 403) == "not-allowed"
    assert problem(platform.get("/projects?all=true"), 403) == "not-allowed"
    assert problem(platform.put("/projects/own", {}), 403) == "not-allowed"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a__b"}, {"name": "hopsworks-base"}, {"name": "base"}, {"name": "12"}, {},
        {"name": "ok", "members": {"a/b": "Data owner"}}, {"name": "ok", "at": -1},
        {"name": "ok", "environment": {**BASE, "tag": "a b"}},
        {"name": "ok", "environment": {"tag": "v1"}}, {"name": "ok", "extra": 1},
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_leaves_nothing(platform, number, body):
    path = f"/platform/projects/{number}"
    assert problem(platform.put(path, body), 400)
    assert problem(platform.get(path), 404)


def test_a_project_that_was_made_by_hand_stays_whose_it_is(registry, platform, number):
    registry.project("byhand", stranger="owner")
    path = f"/platform/projects/{number}"
    assert problem(platform.put(path, {"name": "ByHand"}), 409) == "project-exists"
    assert problem(platform.get(path), 404)
    adopting = {"name": "ByHand", "adopt": True}
    assert problem(platform.put(path, adopting), 403) == "not-allowed"
    assert problem(platform.get(path), 404)
    assert Api(registry, basic("adm")).put(path, adopting).expect(200).json()["project"] == "byhand"
