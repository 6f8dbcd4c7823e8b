"""What the management API refuses, and the form of its answers."""

import fnmatch
import json

import pytest

from registry.http.management.room import MAX_BODY
from tests.auth.tenants import basic
from tests.management.api import Api, problem


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api", 404),
        ("/api/", 404),
        ("/api/v1", 404),
        ("/api/v1/", 404),
        ("/api/v2/projects", 404),
        ("/api/v1/projects/", 404),
        ("/api/v1//projects", 404),
        ("/api/v1/projects/a/../b", 404),
        ("/api/v1/projects/..", 400),
        ("/api/v1/projects/%2e%2e", 400),
        ("/api/v1/projects/a%2Fb", 400),
        ("/api/v1/projects/a%00b", 404),
        ("/api/v1/projects/%ff", 404),
        ("/api/v1/projects/%zz", 404),
        ("/api/v1/projects/a%0a", 404),
        ("/api/v1/projects/v2", 400),
        ("/api/v1/projects/" + "a" * 101, 400),
        ("/api/v1/projects/" + "a" * 3000, 404),
        ("/api/v1/projects/api", 400),
        ("/api/v1/repositories/a::b/tags", 400),
        ("/api/v1/repositories/A:b/tags", 400),
        ("/api/v1/repositories/a/b/tags", 404),
        ("/api/v1/openapi.json/", 404),
    ],
)
def test_paths_have_one_meaning(admin, path, status):
    problem(admin.ask("GET", path), status)


def test_methods_that_a_path_does_not_have(admin):
    for method, path, allowed in [
        ("POST", "/projects", {"GET", "HEAD"}),
        ("DELETE", "/whoami", {"GET", "HEAD"}),
        ("GET", "/password", {"PUT"}),
        ("OPTIONS", "/projects/a", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("PATCH", "/projects/a/members/user:b", {"GET", "HEAD", "PUT", "DELETE"}),
        ("QUERY", "/tokens", {"GET", "HEAD", "POST"}),
    ]:
        refused = admin.ask(method, path)
        assert problem(refused, 405) == "method-unknown"
        assert set(refused["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=1&limit=2", "limit", "page=2",
     "after=%ff", "all=maybe", "LIMIT=1", "limit=1e1", "after=" + "x" * 1025, "%00=1"],
)  # fmt: skip
def test_queries_are_read_strictly(admin, query):
    refused = admin.get(f"/projects?{query}")
    assert problem(refused, 400) == "request-invalid"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"x"', None),
        (b"{}{}", None),
        (b'{"visibility": "hidden"}', "/visibility"),
        (b'{"visibility": 1}', "/visibility"),
        (b'{"visibility": null}', "/visibility"),
        (b'{"owner": {"a": 1}}', "/owner"),
        (b'{"nope": 1}', None),
        (b'{"owner": "' + b"x" * 301 + b'"}', "/owner"),
        (b"[" * 20_000, None),
        (b'{"nope": ' + b"[" * 20_000, None),
        (b'{"owner": "\xff"}', None),
        (b'{"owner": "\\ud800"}', None),
    ],
)
def test_bodies_are_read_strictly(admin, body, pointer):
    refused = admin.put("/projects/strict", body)
    assert problem(refused, 400) == "request-invalid"
    if pointer is not None:
        assert refused.json()["pointer"] == pointer


def test_a_body_is_bounded(admin):
    problem(admin.put("/projects/strict", b" " * (MAX_BODY + 1)), 413)
    refused = admin.put("/projects/strict", b" " * MAX_BODY)
    assert problem(refused, 400) == "request-invalid"


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonx", "text/plain; application/json"],
)  # fmt: skip
def test_only_json_is_taken(admin, kind):
    """Pages of other sites can make a browser send any of these without being asked (CSRF)."""
    for method, path in (("POST", "/tokens"), ("PUT", "/projects/csrf"), ("POST", "/bootstrap")):
        refused = admin.ask(method, path, b'{"label": "x"}', Content_Type=kind)
        assert problem(refused, 415) == "not-json"
    assert admin.get("/tokens").json()["items"] == []


def test_json_may_say_its_charset(admin):
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        assert admin.put("/projects/charset", {}, Content_Type=kind).status in (200, 201)


def test_a_body_that_nobody_asked_for_is_refused(admin):
    admin.put("/projects/bodyless", {})
    refused = admin.ask("DELETE", "/projects/bodyless", {"force": True})
    assert problem(refused, 400) == "request-invalid"
    admin.get("/projects/bodyless").expect(200)


def test_every_answer_has_its_number_and_is_not_kept(admin):
    seen = set()
    for reply in (admin.get("/whoami"), admin.get("/projects/absent"), admin.get("/users")):
        seen.add(reply["X-Request-Id"])
        assert reply["Cache-Control"] == "no-store"
        assert reply.get("Set-Cookie") is None
        assert reply.get("Access-Control-Allow-Origin") is None
    assert len(seen) == 3


def test_a_request_is_understood_before_anything_is_told(nobody):
    """Malformed ones get 400 from everybody; all others 401, whatever there is."""
    for path in ("/projects/absent", "/projects/absent/members", "/users", "/repositories/a/tags"):
        assert problem(nobody.get(path), 401) == "unauthorized"


def test_head_is_get_without_a_body(admin):
    for path in ("/whoami", "/projects", "/openapi.json"):
        got, head = admin.get(path), admin.ask("HEAD", path)
        assert head.status == got.status == 200
        assert head.body == b""
        assert head["Content-Length"] == got["Content-Length"]


def test_the_document_is_served(nobody):
    served = nobody.get("/openapi.json").expect(200)
    assert served["Content-Type"] == "application/json"
    assert json.loads(served.body)["openapi"] == "3.1.0"


def test_what_callers_filter_by_is_not_kept(registry):
    """`fnmatch` itself keeps 32,768 patterns, and callers choose them."""
    registry.user("filterer", administrator=True)
    registry.run(registry.journal.flush())
    asker = Api(registry, basic("filterer"))
    kept = fnmatch._compile_pattern.cache_info().currsize
    for number in range(50):
        pattern = "account.created" + "*" * number
        page = asker.get(f"/audit?action={pattern}").expect(200).json()
        assert {each["action"] for each in page["items"]} == {"account.created"}
    assert fnmatch._compile_pattern.cache_info().currsize - kept < 50
    assert asker.get("/audit?action=account").expect(200).json()["items"] == []
    assert asker.get("/audit?action=account.createdx*").expect(200).json()["items"] == []
