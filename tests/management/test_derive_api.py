"""`PUT …/tags/{tag}`: an image of one repository becomes another's too.

For who may pull the one and push to the other."""

import json

import pytest

from auth.roles import Visibility
from tests.auth.tenants import basic
from tests.management.api import problem
from tests.oracle.content import digest_of, push_image


@pytest.fixture(scope="module")
def base(registry):
    """An image of a project that is open to all who log in, and one that is nobody else's."""
    bodies = {}
    for name, visibility in (
        ("pybase", Visibility.INTERNAL),
        ("secret", Visibility.PRIVATE),
    ):
        registry.project(name, visibility, bob="owner")
        with registry.caller(basic("bob")) as bob:
            bodies[name] = push_image(bob, f"{name}/python", name, "4.1")
    return bodies


@pytest.fixture(scope="module")
def env(registry, base):
    registry.project("mine", ann="developer")
    return "/repositories/mine:env/tags/{}"


def source(repository, reference="4.1"):
    return {"repository": repository, "reference": reference}


def test_an_environment_begins_with_a_base_in_one_call(registry, ann, base, env):
    reply = ann.put(env.format("v1"), source("pybase/python")).expect(200)
    body = base["pybase"]
    assert reply.json() == {
        "name": "v1",
        "digest": digest_of(body),
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "manifest_bytes": len(body),
    }
    with registry.caller(basic("ann")) as caller:
        assert caller.get("/v2/mine/env/manifests/v1").expect(200).body == body
        for blob in [json.loads(body)["config"], *json.loads(body)["layers"]]:
            caller.get(f"/v2/mine/env/blobs/{blob['digest']}").expect(200)


def test_repeating_it_changes_nothing_and_conditions_hold(ann, base, env):
    first = ann.put(env.format("again"), source("pybase/python")).expect(200)
    assert ann.put(env.format("again"), source("pybase/python")).expect(200).body == first.body
    path = env.format("again")
    assert problem(ann.put(path, source("pybase/python"), If_None_Match="*"), 412)
    ann.put(path, source("pybase/python"), If_Match=first["ETag"]).expect(200)


def test_by_digest_and_within_one_repository(ann, base, env):
    digest = digest_of(base["pybase"])
    ann.put(env.format("one"), source("pybase/python", digest)).expect(200)
    ann.put(env.format("two"), source("mine/env", "one")).expect(200)
    assert ann.get(env.format("two")).json()["digest"] == digest


def test_a_repository_that_the_caller_may_not_pull_from_is_as_one_that_is_not_there(ann, base, env):
    """Knowing its name and its digest gives nothing, and shows nothing."""
    digest = digest_of(base["secret"])
    for reference in ("4.1", digest):
        answers = []
        for repository in ("secret/python", "nobody/python"):
            reply = ann.put(env.format("stolen"), source(repository, reference))
            details = reply.json()
            assert problem(reply, 404) == "manifest-unknown"
            answers.append({**details, "request_id": ""})
        assert answers[0] == answers[1]
    assert problem(ann.get(env.format("stolen")), 404) == "manifest-unknown"


def test_it_takes_the_right_to_push(anyone, registry, base, env):
    registry.user("eve")
    tenant = registry.run(registry.tenancy.directory.tenant("mine"))
    registry.member(tenant, "user:eve", "guest")
    eve = anyone(basic("eve"))
    assert problem(eve.put(env.format("v9"), source("pybase/python")), 403) == "not-allowed"
    assert problem(anyone(None).put(env.format("v9"), source("pybase/python")), 401)


def test_what_is_no_reference_is_refused(ann, base, env):
    for reference in ("", "a b", "sha256:1", "../x"):
        assert problem(ann.put(env.format("v1"), source("pybase/python", reference)), 400)
    assert problem(ann.put(env.format("v1"), {"repository": "pybase/python"}), 400)


def test_the_log_of_a_project_tells_no_repository_elsewhere(admin, registry, ann, base, env):
    ann.put(env.format("logged"), source("pybase/python")).expect(200)
    ann.put(env.format("relogged"), source("mine/env", "logged")).expect(200)
    registry.run(registry.journal.settled())
    events = admin.get("/projects/mine/audit").expect(200).json()["items"]
    told = {
        each["subject"]: each.get("details", {}).get("source")
        for each in events
        if each["action"] == "tag.pushed"
    }
    assert (told["logged"], told["relogged"]) == (None, "mine/env")
