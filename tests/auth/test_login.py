"""Who a request is taken for: bearer, Basic, nobody; and a token that a push outlives."""

import asyncio
import time

import pytest

from auth.identity import Identity
from auth.keyring import KeptKeys
from auth.scopes import Scopes
from auth.tokens import GRACE, TokenIssuer
from registry.service.sessions import Sessions
from registry.service.signing_keys import SigningKeys
from registry.spec.names import Place
from tests.auth.served import PASSWORD, SECRET, served

ALICE = ("alice", PASSWORD)
TAGS = "/v2/demo/env/tags/list"
PUSH = Scopes.parse("repository:demo/env:pull,push")


@pytest.fixture
async def service():
    async with served() as running:
        yield running


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def issue(service, *, age=0, seconds=300, granted=PUSH, name="user:alice", monkeypatch=None):
    """A token that was issued `age` seconds ago."""
    ring = KeptKeys(
        SigningKeys(service.store), algorithm="ES256", rotate_seconds=10**9, verify_seconds=10**9
    )
    await ring.reload()
    issuer = TokenIssuer(ring.current, issuer="moorage", service="moorage", seconds=seconds)
    then = time.time() - age
    with monkeypatch.context() as patch:
        patch.setattr("auth.tokens.time.time", lambda: then)
        identity = Identity(name, credential=f"{SECRET}alice")
        return issuer.issue(identity, granted, {"demo": "id-1"}).text


async def session(service, *, age=0, principal="user:alice", monkeypatch=None):
    """An upload session that was opened `age` seconds ago."""
    then = time.time() - age
    with monkeypatch.context() as patch:
        patch.setattr("registry.service.sessions.time.time", lambda: then)
        return await Sessions(service.store).issue(Place("id-1/env"), principal, "sha256")


async def test_nobody_is_told_where_to_log_in(service):
    answer = await service.get("/v2/")
    host = service.url.removeprefix("http://")
    assert answer.status == 401
    assert answer.headers.getall("WWW-Authenticate") == [
        f'Bearer realm="http://{host}/token",service="moorage"'
    ]
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    answer = await service.request("PUT", "/v2/demo/env/manifests/v1")
    assert answer.headers["WWW-Authenticate"].endswith(
        ',service="moorage",scope="repository:demo/env:pull,push"'
    )


async def test_the_challenge_names_the_host_of_the_request_or_the_configured_one(service):
    answer = await service.get("/v2/", headers={"Host": "Images.Example.org:8443"})
    assert 'realm="http://images.example.org:8443/token"' in answer.headers["WWW-Authenticate"]
    async with served({"server.public_url": "https://images.example.org"}) as configured:
        answer = await configured.get("/v2/", headers={"Host": "evil.example"})
        assert 'realm="https://images.example.org/token"' in answer.headers["WWW-Authenticate"]


async def test_forwarding_headers_do_not_poison_the_challenge(service):
    names = ("X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "X-Original-Host")
    poisoned = dict.fromkeys(names, "evil.example") | {
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example;proto=https",
    }
    answer = await service.get("/v2/", headers=poisoned)
    assert "evil" not in str(answer.headers)
    assert f'realm="{service.url}/token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "host", ['x"y', "evil.example/x?", "user@evil.example", "a b", "x,y", "", "a\\b", "[::1"]
)
async def test_a_host_that_is_none_gets_no_challenge(service, host):
    reader, writer = await asyncio.open_connection(*service.url[7:].split(":"))
    writer.write(f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"WWW-Authenticate" not in answer


async def test_basic_is_offered_behind_bearer_on_a_line_of_its_own():
    async with served({"auth.token.offer_basic": True}) as service:
        lines = (await service.get("/v2/")).headers.getall("WWW-Authenticate")
        assert [line.split()[0] for line in lines] == ["Bearer", "Basic"]


async def test_basic_is_taken_everywhere(service):
    found = (await service.get(TAGS, auth=ALICE)).fields
    assert (found["name"], found["scheme"], found["allowed"]) == ("user:alice", "basic", True)
    answer = await service.get(TAGS, auth=("alice", "wrong"))
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert 'scope="repository:demo/env:pull"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer x", "Bearer a.b.c", "Basic", "Basic !", "Digest a", "Bearer " + "a" * 20_000,
     "bearer eyJhbGciOiJub25lIn0.e30.", "Negotiate x"],
)  # fmt: skip
async def test_what_is_no_credential_is_refused_with_a_challenge(service, value):
    answer = await service.get("/v2/", headers={"Authorization": value})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_token_without_access_is_still_a_login(service, monkeypatch):
    """`docker login` asks `/v2/` with a token that grants nothing."""
    token = await issue(service, granted=Scopes({}), monkeypatch=monkeypatch)
    assert (await service.get("/v2/", headers=bearer(token))).status == 200


async def test_an_expired_token_is_refused(service, monkeypatch):
    token = await issue(service, age=400, monkeypatch=monkeypatch)
    for method, path in (
        ("GET", "/v2/"), ("GET", TAGS), ("HEAD", "/v2/demo/env/manifests/v1"),
        ("PUT", "/v2/demo/env/manifests/v1"), ("POST", "/v2/demo/env/blobs/uploads/"),
        ("GET", f"/v2/demo/env/blobs/sha256:{'0' * 64}"), ("DELETE", "/v2/demo/env/manifests/v1"),
        ("GET", "/v2/_catalog"),
    ):  # fmt: skip
        answer = await service.request(method, path, headers=bearer(token))
        assert answer.status == 401, (method, path)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_moby_33558_an_upload_that_began_in_time_can_be_finished(service, monkeypatch):
    """The token lived from 400 to 100 seconds ago; the upload began 200 seconds ago."""
    token = await issue(service, age=400, monkeypatch=monkeypatch)
    path = f"/v2/demo/env/blobs/uploads/{await session(service, age=200, monkeypatch=monkeypatch)}"
    digest = f"?digest=sha256:{'0' * 64}"
    for method, query in (("PATCH", ""), ("GET", ""), ("PUT", digest), ("DELETE", "")):
        answer = await service.request(method, path + query, headers=bearer(token))
        assert answer.status == 200, method
        assert answer.fields["name"] == "user:alice"
        assert answer.fields["allowed"] is True, "what it was good for, it is good for"


@pytest.mark.parametrize("opened", [1030, 90, 30, 0])
async def test_one_that_began_before_or_after_can_not(service, monkeypatch, opened):
    """The token was good from 400 to 160 seconds ago; clocks may add 600 before, 60 after."""
    token = await issue(service, age=400, seconds=240, monkeypatch=monkeypatch)
    path = (
        f"/v2/demo/env/blobs/uploads/{await session(service, age=opened, monkeypatch=monkeypatch)}"
    )
    answer = await service.request("PATCH", path, headers=bearer(token))
    assert answer.status == 401


async def test_a_role_that_is_gone_or_a_revoked_secret_ends_an_upload_too(service, monkeypatch):
    token = await issue(service, age=400, monkeypatch=monkeypatch)
    path = f"/v2/demo/env/blobs/uploads/{await session(service, age=200, monkeypatch=monkeypatch)}"
    del service.world.roles["demo"]["user:alice"]
    answer = await service.request("PATCH", path, headers=bearer(token))
    assert answer.fields["allowed"] is False


async def test_an_expired_token_reaches_no_further_than_it_did(service, monkeypatch):
    """Pull only, and a session of another repository: the token's grant still counts."""
    path = f"/v2/demo/env/blobs/uploads/{await session(service, age=200, monkeypatch=monkeypatch)}"
    for scopes in ("repository:demo/env:pull", "repository:demo/other:pull,push"):
        token = await issue(service, age=400, granted=Scopes.parse(scopes), monkeypatch=monkeypatch)
        answer = await service.request("PATCH", path, headers=bearer(token))
        assert answer.fields["allowed"] is False


async def test_the_session_of_another_stays_unknown_to_an_expired_token(service, monkeypatch):
    """The id proves whose it is: nobody can make one up with a time that suits."""
    token = await issue(service, age=400, name="user:bob", monkeypatch=monkeypatch)
    theirs = await session(service, age=200, monkeypatch=monkeypatch)
    answer = await service.request(
        "PATCH", f"/v2/demo/env/blobs/uploads/{theirs}", headers=bearer(token)
    )
    assert answer.fields["name"] == "user:bob", "and Sessions.check refuses bob"


async def test_after_the_grace_an_expired_token_finishes_nothing(service, monkeypatch):
    token = await issue(service, age=GRACE + 400, monkeypatch=monkeypatch)
    opened = GRACE + 200
    path = (
        f"/v2/demo/env/blobs/uploads/{await session(service, age=opened, monkeypatch=monkeypatch)}"
    )
    answer = await service.request("PATCH", path, headers=bearer(token))
    assert answer.status == 401
