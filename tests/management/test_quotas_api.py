"""Quotas over HTTP: set by administrators, seen by members, kept by the registry's API."""

import itertools

import pytest

from tests.auth.tenants import basic, tenants
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image

_names = itertools.count(1)


@pytest.fixture
def name(admin):
    """A project of ann's."""
    name = f"q{next(_names)}"
    admin.put(f"/projects/{name}", {"owner": "user:ann"}).expect(201)
    return name


def test_a_project_has_no_quota_until_it_is_given_one(admin, ann, name):
    path = f"/projects/{name}/quota"
    described = ann.get(path).expect(200).json()
    assert set(described.values()) == {None}
    made = admin.put(path, {"bytes": 1_000_000, "tags": 3}).expect(200)
    assert made.json() == ann.get(path).expect(200).json()
    assert made.json()["limits"] == {
        "bytes": 1_000_000,
        "repositories": None,
        "tags": 3,
        "warn_percent": 90,
    }
    assert made.json()["used"] == {"bytes": 0, "repositories": 0, "tags": 0}
    assert made.json()["counted"] is not None


def test_who_sees_it_and_who_sets_it(admin, ann, bob, nobody, name):
    path = f"/projects/{name}/quota"
    assert problem(ann.put(path, {"bytes": 1}), 403) == "not-allowed"
    assert problem(bob.put(path, {"bytes": 1}), 403) == "not-allowed"
    assert problem(bob.get(path), 404) == "project-unknown"
    assert problem(nobody.get(path), 401) == "unauthorized"
    assert problem(admin.put("/projects/no-such/quota", {"bytes": 1}), 404) == "project-unknown"


@pytest.mark.parametrize("body", [{"bytes": -1}, {"bytes": "1"}, {"warn_percent": 0}, {"byte": 1}])
def test_what_is_no_quota_is_refused(admin, name, body):
    assert problem(admin.put(f"/projects/{name}/quota", body), 400) == "request-invalid"


def test_of_two_that_have_read_it_one_changes_it(admin, name):
    path = f"/projects/{name}/quota"
    etag = admin.put(path, {"bytes": 10}, If_None_Match="*").expect(200)["ETag"]
    assert problem(admin.put(path, {"bytes": 20}, If_None_Match="*"), 412) == "changed"
    changed = admin.put(path, {"bytes": 20}, If_Match=etag).expect(200)
    assert problem(admin.put(path, {"bytes": 30}, If_Match=etag), 412) == "changed"
    assert admin.get(path).expect(200)["ETag"] == changed["ETag"] != etag


def test_what_was_there_before_is_counted_and_limits_that_are_taken_away_bind_nobody(
    registry, admin, name
):
    path = f"/projects/{name}/quota"
    with registry.caller(basic("ann")) as caller:
        manifest = push_image(caller, f"{name}/app", name, "v1")
        made = admin.put(path, {"bytes": 200}).expect(200).json()
        assert made["used"]["tags"] == made["used"]["repositories"] == 1
        assert made["used"]["bytes"] > len(manifest) + 100
        assert made["physical_bytes"] == made["used"]["bytes"]
        start(caller, name).refused(403, "DENIED")
        admin.put(path, {}).expect(200)
        start(caller, name).expect(202)


def start(caller, name):
    return caller.post(f"/v2/{name}/app/blobs/uploads/")


def test_a_push_that_does_not_fit_is_told_what_is_left(registry, admin, name):
    admin.put(f"/projects/{name}/quota", {"bytes": 1000}).expect(200)
    with registry.caller(basic("ann")) as caller:
        location = start(caller, name).expect(202)["Location"]
        body = b"x" * 3000
        refused = caller.put(f"{location}?digest={digest_of(body)}", body=body)
        (error,) = refused.refused(403, "DENIED").json()["errors"]
        assert error["detail"] == {"quota": "bytes", "limit": 1000, "left": 1000, "needed": 3000}
        assert error["message"].startswith(
            "the project's quota of 1000 B has 1000 B left, but this push needs 2.9 KiB"
        )
        caller.get(location).expect(204)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_that_does_not_fit_is_never_asked_for(registry, admin, name, method):
    """With ``Expect: 100-continue`` the refusal comes instead of the go-ahead."""
    admin.put(f"/projects/{name}/quota", {"bytes": 1000}).expect(200)
    with registry.caller(basic("ann")) as caller:
        location = start(caller, name).expect(202)["Location"]
        target = f"{location}?digest={digest_of(b'x')}" if method == "PUT" else location
        headers = [("Content-Length", str(10**9)), ("Expect", "100-continue")]
        with caller.connect() as connection:
            headers.append(("Authorization", basic("ann")))
            connection.send(connection.head(method, target, headers))
            reply = connection.read(method).refused(403, "DENIED")
        assert reply.interim == ()


def test_a_push_into_a_project_that_is_nearly_full_is_warned(registry, admin, name):
    admin.put(f"/projects/{name}/quota", {"bytes": 1000, "warn_percent": 50}).expect(200)
    with registry.caller(basic("ann")) as caller:
        warnings = []
        for body in (b"a" * 400, b"b" * 400):
            url = f"/v2/{name}/app/blobs/uploads/?digest={digest_of(body)}"
            warnings.append(caller.post(url, body=body).expect(201).get("Warning"))
    assert warnings[0] is None
    assert warnings[1].startswith('299 - "80% of the project')


def test_new_projects_begin_with_the_limits_of_the_configuration():
    with tenants(settings={"quota.bytes": 5000, "quota.tags": 2}) as registry:
        registry.user("adm", administrator=True)
        admin = Api(registry, basic("adm"))
        admin.put("/projects/fresh", {"owner": "user:adm"}).expect(201)
        found = admin.get("/projects/fresh/quota").expect(200).json()
        assert (found["limits"]["bytes"], found["limits"]["tags"]) == (5000, 2)
        assert found["counted"] is not None
