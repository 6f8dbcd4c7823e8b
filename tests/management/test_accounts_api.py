"""Accounts, passwords and tokens over HTTP."""

import itertools

import pytest

from tests.auth.tenants import BOOTSTRAP, PASSWORD, basic, bearer, tenants
from tests.management.api import Api, problem

_names = itertools.count(1)


@pytest.fixture
def person(registry, anyone):
    """A user of its own, and the API as it sees it."""
    name = f"person{next(_names)}"
    registry.user(name, "staff")
    return name, anyone(basic(name))


def test_whoami(admin, person, nobody):
    name, api = person
    said = api.get("/whoami").expect(200).json()
    assert said["name"] == f"user:{name}"
    assert (said["kind"], said["scheme"], said["groups"]) == ("user", "basic", ["staff"])
    assert said["address"] == "127.0.0.1"
    assert said["administrator"] is False
    assert admin.get("/whoami").json()["administrator"] is True
    assert problem(nobody.get("/whoami"), 401) == "unauthorized"


def test_an_access_token_is_shown_once_and_ends_when_revoked(person, anyone):
    name, api = person
    made = api.post("/tokens", {"label": "laptop", "scopes": "repository:x/*:pull"}).expect(201)
    secret, number = made.json()["secret"], made.json()["token"]["id"]
    assert made["Cache-Control"] == "no-store"
    assert made.json()["login"] == name
    tool = anyone(basic(name, secret))
    said = tool.get("/whoami").expect(200).json()
    assert said["ceiling"] == "repository:x/*:pull"
    assert problem(tool.get("/tokens"), 403) == "not-allowed"  # a ceiling reaches no account
    listed = api.get("/tokens").expect(200)
    assert secret not in listed.body.decode()
    (token,) = listed.json()["items"]
    assert (token["id"], token["label"], token["kind"]) == (number, "laptop", "access")
    api.delete(f"/tokens/{number}").expect(204)
    assert tool.get("/whoami").status == 401
    assert problem(api.delete(f"/tokens/{number}"), 404) == "token-unknown"
    assert problem(api.delete("/tokens/..%2f..%2fx"), 404) == "token-unknown"


def test_refresh_tokens_are_listed_and_revoked(registry, person):
    name, api = person
    with registry.caller(basic(name)) as caller:
        given = caller.get("/token?service=moorage&offline_token=true&client_id=docker").expect(200)
    refresh = given.json()["refresh_token"]
    (token,) = api.get("/tokens").expect(200).json()["items"]
    assert (token["kind"], token["label"]) == ("refresh", "docker")
    form = f"grant_type=refresh_token&service=moorage&refresh_token={refresh}".encode()
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    with registry.caller(None) as caller:
        caller.post("/token", kind, body=form).expect(200)
    api.delete(f"/tokens/{token['id']}").expect(204)
    with registry.caller(None) as caller:
        caller.post("/token", kind, body=form).expect(401)


def test_nobody_makes_tokens_for_others_but_administrators_revoke_them(admin, bob, person):
    name, api = person
    number = api.post("/tokens", {"label": "x"}).expect(201).json()["token"]["id"]
    assert problem(admin.post(f"/tokens?user={name}", {"label": "x"}), 403) == "not-allowed"
    assert problem(bob.get(f"/tokens?user={name}"), 403) == "not-allowed"
    assert problem(bob.delete(f"/tokens/{number}?user={name}"), 403) == "not-allowed"
    assert admin.get(f"/tokens?user={name}").expect(200).json()["items"]
    admin.delete(f"/tokens/{number}?user={name}").expect(204)


def test_a_password_is_changed_by_who_knows_it(admin, person, anyone):
    name, api = person
    fresh = "another good password"
    wrong = api.put("/password", {"password": fresh, "current": "not it, surely"})
    assert problem(wrong, 400) == "invalid"
    assert problem(api.put("/password", {"password": "short", "current": PASSWORD}), 400)
    api.put("/password", {"password": fresh, "current": PASSWORD}).expect(204)
    assert api.get("/whoami").status == 401
    anyone(basic(name, fresh)).get("/whoami").expect(200)
    admin.put(f"/password?user={name}", {"password": PASSWORD}).expect(204)
    api.get("/whoami").expect(200)
    assert problem(api.put("/password?user=bob", {"password": fresh}), 403) == "not-allowed"


def test_users_are_made_blocked_and_removed(admin, ann, anyone):
    name = f"new{next(_names)}"
    made = admin.put(f"/users/{name}", {"password": PASSWORD, "groups": ["b", "a"]}).expect(201)
    assert made.json()["groups"] == ["a", "b"]
    again = admin.put(f"/users/{name}", {"password": PASSWORD})
    assert problem(again, 409) == "account-exists"
    api = anyone(basic(name))
    assert api.get(f"/users/{name}").expect(200).json()["local"] is True
    assert problem(api.get("/users/ann"), 403) == "not-allowed"
    assert problem(ann.get("/users"), 403) == "not-allowed"
    assert name in [each["name"] for each in admin.get("/users").expect(200).json()["items"]]
    read = admin.get(f"/users/{name}")
    blocked = admin.put(f"/users/{name}", {"blocked": True}, If_Match=read["ETag"]).expect(200)
    assert blocked.json()["blocked"] is True
    assert api.get("/whoami").status == 401
    assert problem(admin.put(f"/users/{name}", {}, If_Match=read["ETag"]), 412) == "changed"
    admin.delete(f"/users/{name}").expect(204)
    assert problem(admin.get(f"/users/{name}"), 404) == "account-unknown"


def test_what_is_known_of_users_from_elsewhere(admin):
    """Their names have slashes in them; they have no password here."""
    admin.put("/users/corp/eve", {"blocked": True}).expect(200)
    known = admin.get("/users/corp%2Feve").expect(200).json()
    assert (known["name"], known["local"], known["blocked"]) == ("corp/eve", False, True)


def test_users_are_listed_in_pages(admin):
    for number in range(3):
        admin.put(f"/users/page/{number}", {}).expect(200)
    found, path = [], "/users?limit=2"
    while path:
        page = admin.get(path).expect(200)
        found += [each["name"] for each in page.json()["items"]]
        link = page.get("Link")
        path = link.partition(">")[0][1:] if link else ""
    assert len(found) == len(set(found))
    assert {"page/0", "page/1", "page/2", "ann", "bob", "adm"} <= set(found)


def test_nobody_becomes_more_than_was_meant(ann, person):
    """Fields that a caller may not set are refused, not dropped (CVE-2019-16097)."""
    _, api = person
    for body in ({"label": "x", "administrator": True}, {"label": "x", "owner": "user:adm"}):
        assert problem(api.post("/tokens", body), 400) == "request-invalid"
    wanted = {"password": PASSWORD, "current": PASSWORD, "administrator": True}
    assert problem(api.put("/password", wanted), 400) == "request-invalid"


def test_a_token_of_the_token_service_reaches_as_far_as_it_says(registry, admin, ann, anyone):
    admin.put("/projects/scoped", {"owner": "user:ann"}).expect(201)
    admin.put("/projects/other", {"owner": "user:ann"}).expect(201)
    manage = anyone(bearer(registry.token(basic("ann"), "project:scoped:manage")))
    pull = anyone(bearer(registry.token(basic("ann"), "repository:scoped/a:pull")))
    manage.get("/projects/scoped").expect(200)
    manage.put("/projects/scoped/robots/x", {}).expect(201)
    assert problem(manage.get("/projects/other"), 404) == "project-unknown"
    for path in ("/tokens", "/users/ann"):
        refused = manage.get(path)
        assert problem(refused, 401) == "unauthorized"
        assert 'error="insufficient_scope"' in refused["WWW-Authenticate"]
    assert problem(pull.get("/projects/scoped"), 404) == "project-unknown"


def test_the_first_administrator_is_made_once():
    with tenants() as registry:
        nobody = Api(registry, None)
        wrong = {"secret": "not the secret", "name": "root", "password": PASSWORD}
        assert problem(nobody.post("/bootstrap", wrong), 403) == "bootstrap-refused"
        right = wrong | {"secret": BOOTSTRAP}
        assert problem(nobody.post("/bootstrap", right | {"password": "short"}), 400) == "invalid"
        assert nobody.post("/bootstrap", right).expect(201).json()["administrator"] is True
        other = right | {"name": "second"}
        assert problem(nobody.post("/bootstrap", other), 403) == "bootstrap-refused"
        Api(registry, basic("root")).get("/users").expect(200)
