"""The token service over the wire: what real clients send, and what they insist on getting."""

import asyncio
import base64
import json
import re
import time

import jwt
import pytest

from auth.access import Standing
from auth.chain import TooManyAttempts
from auth.jose import unverified
from auth.roles import Role
from storage.memory import MemoryStore
from storage.testing.faults import FaultyStore
from tests.auth.served import PASSWORD, served

PULL = "repository:demo/env:pull"
ALICE = ("alice", PASSWORD)
FORM = {"grant_type": "password", "username": "alice", "password": PASSWORD}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture
async def service():
    async with served() as running:
        yield running


def access(answer):
    return {
        (each["type"], each["name"]): set(each["actions"])
        for each in unverified(answer.fields["token"])["access"]
    }


def check(answer, *, refresh=False):
    """What every client needs of a good answer."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.fields
    assert body["token"] == body["access_token"]
    assert type(body["expires_in"]) is int
    assert body["expires_in"] >= 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["issued_at"])
    assert isinstance(body["scope"], str)
    assert ("refresh_token" in body) == refresh
    assert len(answer.data) < 64 * 1024  # crane reads no more
    return body


async def test_docker_login(service):
    """GET with Basic, no scope; docker keeps the refresh token instead of the password."""
    query = {
        "account": "alice",
        "client_id": "docker",
        "offline_token": "true",
        "service": "moorage",
    }
    answer = await service.get(params=query, auth=ALICE)
    body = check(answer, refresh=True)
    assert body["scope"] == ""
    assert unverified(body["token"])["sub"] == "user:alice"
    assert service.world.offline[body["refresh_token"]][1] == "docker"
    form = {"grant_type": "refresh_token", "refresh_token": body["refresh_token"],
            "service": "moorage", "client_id": "docker", "scope": f"{PULL},push"}  # fmt: skip
    for _ in range(3):  # it is used again and again (artifact-keeper#2477)
        again = await service.post(form)
        assert check(again)["scope"] == "repository:demo/env:pull,push"
        assert unverified(again.fields["token"])["sub"] == "user:alice"


async def test_docker_push_with_a_mount(service):
    scopes = [("scope", "repository:demo/b:push,pull"), ("scope", "repository:base/a:pull")]
    answer = await service.get(params=[*scopes, ("service", "moorage")], auth=ALICE)
    check(answer)
    assert access(answer) == {
        ("repository", "demo/b"): {"pull", "push"}, ("repository", "base/a"): {"pull"},
    }  # fmt: skip
    assert unverified(answer.fields["token"])["projects"] == {"demo": "id-1", "base": "id-2"}


async def test_containerd(service):
    """POST with one space-joined scope; a content type with a charset."""
    form = FORM | {"client_id": "containerd-client", "service": "moorage",
                   "scope": f"{PULL},push repository:base/x:pull"}  # fmt: skip
    kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = check(await service.post(form, headers=kind))
    assert body["scope"] == "repository:base/x:pull repository:demo/env:pull,push"


async def test_the_token_opens_what_it_grants(service):
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    found = (await service.get("/v2/demo/env/tags/list", headers=headers)).fields
    assert (found["name"], found["scheme"], found["allowed"]) == ("user:alice", "bearer", True)
    assert not (await service.get("/v2/demo/other/tags/list", headers=headers)).fields["allowed"]
    put = await service.request("PUT", "/v2/demo/env/manifests/v1", headers=headers)
    assert not put.fields["allowed"], "it was asked for pull only"


async def test_a_grant_is_what_was_asked_for_and_is_allowed(service):
    """Harbor grants all that the user has, whatever was asked for."""
    service.world.roles["demo"]["user:bob"] = Role.GUEST
    for name, scope, granted in [
        ("alice", "repository:demo/env:pull", {"pull"}),
        ("alice", "repository:demo/env:*", {"pull", "push", "delete"}),
        ("alice", "repository:demo/env:push", {"pull", "push"}),
        ("bob", "repository:demo/env:*", {"pull"}),
        ("bob", "repository:demo/env:pull,push", {"pull"}),
    ]:
        auth = (name, PASSWORD)
        answer = await service.get(params={"scope": scope}, auth=auth)
        check(answer)
        assert access(answer) == {("repository", "demo/env"): granted}, (name, scope)


@pytest.mark.parametrize(
    "scope",
    ["repository:other/env:pull", "repository:absent/env:pull,push", "repository:demo:fly",
     "image:x:pull", "repository:DEMO:pull", "x", "repository:demo/*:pull", "repository:*:pull",
     "repository:reg:5000/demo/env:pull", "registry:users:*", "project:other:manage", " "],
)  # fmt: skip
async def test_lack_of_permission_is_no_error_and_foreign_is_as_absent(service, scope):
    answer = await service.get(params={"scope": scope}, auth=ALICE)
    assert check(answer)["scope"] == ""
    assert unverified(answer.fields["token"])["access"] == []


async def test_catalog_and_management_are_scopes_too(service):
    scope = "registry:catalog:* project:demo:manage project:other:manage"
    answer = await service.get(params={"scope": scope}, auth=ALICE)
    assert check(answer)["scope"] == "project:demo:manage registry:catalog:*"
    anonymous = await service.get(params={"scope": scope})
    assert check(anonymous)["scope"] == ""


async def test_nobody_in_particular_gets_what_is_public(service):
    answer = await service.get(params={"scope": "repository:base/a:pull,push"})
    assert check(answer)["scope"] == "repository:base/a:pull"
    assert unverified(answer.fields["token"])["sub"] == ""
    empty = await service.get(params={"scope": PULL})
    assert check(empty)["scope"] == ""


@pytest.mark.parametrize("query", [{}, {"scope": ""}, {"service": "moorage"}, {"scope": "  "}])
async def test_nobody_who_asks_for_nothing_is_told_to_log_in(service, query):
    answer = await service.get(params=query)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("<token>", "offline-0"),
     ("", "offline-0"), ("alice", ""), ("ALICE ", PASSWORD), ("alice", PASSWORD + " "),
     ("demo+ci", "mrg_bo")],
)  # fmt: skip
async def test_wrong_credentials_are_401_for_both_verbs(service, name, password):
    """Never 403, which containerd takes for final; the same whether the account is there."""
    await service.world.issue(None, "docker")
    got = await service.get(params={"scope": PULL}, auth=(name, password))
    form = {"grant_type": "password", "username": name, "password": password}
    for answer in [got, *([await service.post(form)] if name and password else [])]:
        assert answer.status == 401
        assert answer.fields["errors"][0]["code"] == "UNAUTHORIZED"
        assert answer.fields["error"] == "invalid_grant"
        assert answer.fields["error_description"] == "the user name or the password is wrong"
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="moorage", charset="UTF-8"'


async def test_a_robots_secret_reaches_no_further_through_a_token(service):
    """artifact-keeper#3316: the ceiling holds for Basic and for the token alike."""
    service.world.roles["demo"]["robot:demo/ci"] = Role.DEVELOPER
    robot = ("demo+ci", "mrg_bot")
    answer = await service.get(params={"scope": "repository:demo/env:pull,push"}, auth=robot)
    assert check(answer)["scope"] == "repository:demo/env:pull"
    headers = {"Authorization": f"Bearer {answer.fields['token']}"}
    for options in ({"headers": headers}, {"auth": robot}):
        pull = await service.get("/v2/demo/env/tags/list", **options)
        push = await service.request("PUT", "/v2/demo/env/manifests/a", **options)
        assert (pull.fields["allowed"], push.fields["allowed"]) == (True, False)


@pytest.mark.parametrize(
    "standing",
    [Standing(blocked=True), Standing(revoked=True), Standing(expires=1.0)],
    ids=["blocked", "revoked", "over"],
)
async def test_who_no_longer_stands_gets_no_token_and_the_old_one_is_worthless(service, standing):
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    service.world.standings["user:alice"] = standing
    answer = await service.get(params={"scope": PULL}, auth=ALICE)
    assert answer.status == 401
    assert answer.fields["error_description"] != "the user name or the password is wrong"
    found = await service.get(
        "/v2/demo/env/tags/list", headers={"Authorization": f"Bearer {token}"}
    )
    assert found.fields["allowed"] is False


async def test_harbor_22900_a_project_made_anew_honours_no_older_token(service):
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    service.world.ids["demo"] = "id-9"
    found = await service.get(
        "/v2/demo/env/tags/list", headers={"Authorization": f"Bearer {token}"}
    )
    assert found.fields["allowed"] is False
    fresh = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    found = await service.get(
        "/v2/demo/env/tags/list", headers={"Authorization": f"Bearer {fresh}"}
    )
    assert found.fields["allowed"] is True


async def test_a_role_that_was_taken_away_counts_at_once(service):
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    del service.world.roles["demo"]["user:alice"]
    found = await service.get(
        "/v2/demo/env/tags/list", headers={"Authorization": f"Bearer {token}"}
    )
    assert found.fields["allowed"] is False


async def test_a_token_of_this_registry_buys_no_further_one(service):
    """A stolen token must not be renewed for ever."""
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    kind = "urn:ietf:params:oauth:token-type:access_token"
    exchange = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": kind}
    for answer in (
        await service.post(exchange),
        await service.get(headers={"Authorization": f"Bearer {token}"}),
        await service.get(auth=("alice", token)),
        await service.post({"grant_type": "refresh_token", "refresh_token": token}),
    ):
        assert answer.status == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [({}, "invalid_request"), ({"grant_type": "magic"}, "unsupported_grant_type"),
     ({"grant_type": "password"}, "invalid_request"),
     (FORM | {"service": "other"}, "invalid_request"),
     (FORM | {"scope": "repository:a:pull " * 300}, "invalid_request")],
)  # fmt: skip
async def test_malformed_requests_are_400_with_the_fields_of_oauth(service, form, error):
    answer = await service.post(form)
    assert (answer.status, answer.fields["error"]) == (400, error)
    assert answer.fields["error_description"]
    assert answer.fields["errors"][0]["code"] == "UNSUPPORTED"


async def test_a_body_that_is_no_form_or_too_long_is_refused(service):
    for kind in ("application/json", "", "text/plain", "application/x-www-form-urlencodedx"):
        answer = await service.post(b"{}", headers={"Content-Type": kind})
        assert answer.status == 400
    answer = await service.post(FORM | {"password": "x" * 70_000})
    assert answer.status == 413
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await service.post(b"grant_type=password&username=\xff&password=x", headers=headers)
    assert answer.status == 400


@pytest.mark.parametrize("path", ["/token", "/token/revoke", "/.well-known/jwks.json"])
async def test_other_methods_are_refused(service, path):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await service.request(method, path)
        assert answer.status == 405
        assert answer.headers["Allow"]


async def test_a_password_in_a_query_is_not_read_and_not_logged(service):
    answer = await service.get(params={"username": "alice", "password": PASSWORD, "scope": PULL})
    assert check(answer)["scope"] == ""


async def test_two_authorization_headers_are_refused(service):
    reader, writer = await asyncio.open_connection(*service.url[7:].split(":"))
    good = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    writer.write(
        f"GET /token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {good}\r\n"
        f"Authorization: Basic {good}\r\nConnection: close\r\n\r\n".encode()
    )
    assert b" 401 " in (await reader.read()).partition(b"\r\n")[0]
    writer.close()


async def test_a_second_authorization_header_is_no_way_past_a_remembered_token(service):
    token = check(await service.get(params={"scope": PULL}, auth=ALICE))["token"]
    one = ("Authorization", f"Bearer {token}")
    await service.get("/v2/", headers=dict([one]))
    reader, writer = await asyncio.open_connection(*service.url[7:].split(":"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in (one, ("Authorization", "Basic x")))
    writer.write(f"GET /v2/ HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n".encode())
    assert b" 401 " in (await reader.read()).partition(b"\r\n")[0]
    writer.close()


async def test_the_keys_are_published_and_verify_what_was_issued(service):
    answer = await service.get("/.well-known/jwks.json")
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    keys = jwt.PyJWKSet.from_json(answer.data.decode())
    token = check(await service.get(auth=ALICE))["token"]
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="moorage", issuer="moorage")
    assert claims["sub"] == "user:alice"
    head = await service.request("HEAD", "/.well-known/jwks.json")
    assert (head.status, head.data) == (200, b"")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_every_algorithm(algorithm):
    async with served({"auth.token.algorithm": algorithm}) as service:
        token = check(await service.get(auth=ALICE, params={"scope": PULL}))["token"]
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        headers = {"Authorization": f"Bearer {token}"}
        assert (await service.get("/v2/", headers=headers)).fields["name"] == "user:alice"


async def test_replicas_take_each_others_tokens():
    store = MemoryStore()
    async with served(store=store) as one, served(store=store) as two:
        token = check(await one.get(auth=ALICE))["token"]
        found = await two.get("/v2/", headers={"Authorization": f"Bearer {token}"})
        assert found.fields["name"] == "user:alice"


async def test_a_refresh_token_is_revoked_by_its_holder(service):
    query = {"offline_token": "true"}
    refresh = check(await service.get(params=query, auth=ALICE), refresh=True)["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    check(await service.post(form))
    answer = await service.post({"token": refresh}, "/token/revoke")
    assert answer.status == 200
    assert (await service.post(form)).status == 401
    assert (await service.post({"token": "nonsense"}, "/token/revoke")).status == 200
    assert (await service.post({}, "/token/revoke")).status == 400


async def test_refresh_tokens_can_be_turned_off():
    async with served({"auth.token.offline": False}) as service:
        check(await service.get(params={"offline_token": "true"}, auth=ALICE))
        check(await service.post(FORM | {"access_type": "offline"}))
        answer = await service.post({"grant_type": "refresh_token", "refresh_token": "x"})
        assert answer.status == 401


async def test_while_the_keys_can_not_be_had_it_is_503_with_a_time():
    store = FaultyStore(MemoryStore())
    store.fail(method="list")
    async with served(store=store) as service:
        answer = await service.get(auth=ALICE)
        if answer.status != 200:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        async with asyncio.timeout(5):
            while answer.status != 200:
                await asyncio.sleep(0.1)
                answer = await service.get(auth=ALICE)


async def test_who_guesses_is_slowed_down_through_the_port():
    seen = []

    class Attempts:
        async def admit(self, address, account):
            seen.append(("admit", address, account))
            if len([each for each in seen if each[0] == "failed"]) >= 3:
                raise TooManyAttempts(7)

        async def failed(self, address, account):
            seen.append(("failed", address, account))

        async def succeeded(self, address, account):
            seen.append(("succeeded", address, account))

    async with served(attempts=Attempts()) as service:
        check(await service.get(auth=ALICE))
        assert seen == [
            ("admit", "127.0.0.1", "alice"), ("succeeded", "127.0.0.1", "alice"),
        ]  # fmt: skip
        wrong = ("alice", "wrong")
        assert [(await service.get(auth=wrong)).status for _ in range(3)] == [401] * 3
        answer = await service.get(auth=ALICE)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        answer = await service.get("/v2/", auth=ALICE)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_the_time_of_a_token_can_be_set():
    async with served({"auth.token.seconds": 60}) as service:
        body = check(await service.get(auth=ALICE))
        claims = unverified(body["token"])
        assert body["expires_in"] == 60 == claims["exp"] - claims["iat"]
        issued = time.mktime(time.strptime(body["issued_at"], "%Y-%m-%dT%H:%M:%SZ"))
        assert issued - time.timezone == claims["iat"]


async def test_a_request_is_accounted_for_without_its_secrets(service):
    await service.get(params={"scope": PULL}, auth=ALICE)
    await service.post(FORM)
    records = service.observed.records
    assert [record.action for record in records] == ["token.issue", "token.issue"]
    assert [record.principal for record in records] == ["user:alice", "user:alice"]
    assert PASSWORD not in json.dumps([str(record) for record in records])
