"""Other issuers: their keys come from where the configuration says, and from nowhere else."""

import asyncio
import base64
import json
import time

import aiohttp
import jwt
import pytest
import trustme

from auth import issuers
from auth.chain import AuthenticatorUnavailable
from auth.fetch import MAX_DOCUMENT, HttpFetch
from auth.issuers import FetchFailed, FileKeys, PublishedKeys, TrustedIssuer
from auth.jose import InvalidToken
from auth.keys import KeyUnusable
from tests.auth.idp import issuing
from tests.auth.keys import key_set, signing_key


@pytest.fixture
async def idp():
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
def fetch(session):
    return HttpFetch(lambda: session, seconds=1.0)


@pytest.fixture
def trusted(idp, fetch):
    keys = PublishedKeys(idp.url, fetch)
    return TrustedIssuer(idp.url, ["moorage"], keys, longest_seconds=3600)


async def refused(trusted, token):
    with pytest.raises(InvalidToken) as caught:
        await trusted.claims(token)
    return str(caught.value)


async def test_a_token_is_verified_by_the_keys_that_its_issuer_publishes(idp, trusted):
    claims = await trusted.claims(idp.token(groups=["ml"], number=5))
    assert (claims["sub"], claims["groups"], claims["number"]) == ("alice", ["ml"], 5)
    assert idp.asked == ["/.well-known/openid-configuration", "/keys"]
    for _ in range(5):
        await trusted.claims(idp.token())
    assert len(idp.asked) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "other"}, "audience"), ({"aud": []}, "audience"), ({"aud": None}, "lacks"),
        ({"iss": "https://evil.example"}, "another issuer"), ({"iss": None}, "lacks"),
        ({"exp": None}, "lacks"), ({"exp": 1}, "expired"), ({"exp": 1e15}, "longer"),
        ({"exp": "x"}, "lacks"), ({"exp": True}, "lacks"),
        ({"exp": int(time.time()) + 9999}, "longer"),
        ({"nbf": int(time.time()) + 9999}, "not good yet"),
        ({"iat": int(time.time()) + 9999}, "not good yet"), ({"aud": {"moorage": 1}}, "lacks"),
    ],
)  # fmt: skip
async def test_claims_that_do_not_fit_are_refused(idp, trusted, changes, reason):
    assert reason in await refused(trusted, idp.token(**changes))


async def test_one_of_several_audiences_is_enough_and_times_may_be_fractions(idp, trusted):
    soon = time.time() + 60.5
    assert await trusted.claims(idp.token(aud=["a", "moorage"], exp=soon, nbf=time.time() - 0.5))


async def test_cve_2022_29217_a_token_keyed_with_the_published_key_is_refused(idp, trusted):
    key = idp.keys[0]
    for header in ({"alg": "HS256"}, {"alg": "none"}):
        good = idp.token(headers={"kid": key.kid}).split(".")
        forged = base64.urlsafe_b64encode(json.dumps(header | {"kid": key.kid}).encode())
        await refused(trusted, ".".join([forged.decode().rstrip("="), *good[1:]]))


async def test_a_rotated_key_is_fetched_and_a_flood_of_unknown_keys_is_not(
    idp, trusted, monkeypatch
):
    await trusted.claims(idp.token())
    idp.keys.append(signing_key("ES256"))
    monkeypatch.setattr(issuers, "RETRY", 0.3)
    await asyncio.sleep(0.3)
    await trusted.claims(idp.token())
    asked = len(idp.asked)
    stranger = signing_key("EdDSA")
    results = await asyncio.gather(
        *(trusted.claims(idp.token(stranger, headers={"kid": str(n)})) for n in range(200)),
        return_exceptions=True,
    )
    assert all(isinstance(result, InvalidToken) for result in results)
    assert len(idp.asked) - asked <= 2


async def test_requests_that_wait_for_the_same_keys_share_one_fetch(idp, trusted):
    idp.delay = 0.2
    found = await asyncio.gather(*(trusted.claims(idp.token()) for _ in range(20)))
    assert len(found) == 20
    assert len(idp.asked) == 2


async def test_one_that_gives_up_does_not_end_the_fetch_for_the_others(idp, trusted):
    idp.delay = 0.2
    first = asyncio.create_task(trusted.claims(idp.token()))
    others = [asyncio.create_task(trusted.claims(idp.token())) for _ in range(3)]
    await asyncio.sleep(0.05)
    first.cancel()
    assert len(await asyncio.gather(*others)) == 3


async def test_old_keys_are_used_while_new_ones_are_fetched_and_when_that_fails(
    idp, trusted, monkeypatch
):
    await trusted.claims(idp.token())
    monkeypatch.setattr(issuers, "FRESH", 0)
    monkeypatch.setattr(issuers, "RETRY", 0)
    idp.status = 500
    for _ in range(3):
        assert await trusted.claims(idp.token())
        await asyncio.sleep(0.05)
    monkeypatch.setattr(issuers, "STALE", 0)
    with pytest.raises(AuthenticatorUnavailable, match="can't be had"):
        await trusted.claims(idp.token())


@pytest.mark.parametrize(
    "fault",
    [{"status": 404}, {"status": 500}, {"body": b"{}"}, {"body": b"<html>"}, {"body": b"[" * 9999},
     {"body": b"x" * (MAX_DOCUMENT + 1)}, {"delay": 1.5}, {"keys": []},
     {"discovery": {"issuer": "https://evil.example"}}, {"discovery": {"jwks_uri": 5}},
     {"discovery": {"jwks_uri": "http://127.0.0.1:1/keys"}}],
    ids=str,
)  # fmt: skip
async def test_an_issuer_that_does_not_answer_properly_is_unavailable_not_wrong(
    idp, trusted, fault
):
    """503, not 401: containerd takes 401 for final."""
    for name, value in fault.items():
        setattr(idp, name, value)
    with pytest.raises(AuthenticatorUnavailable):
        await trusted.claims(idp.token(signing_key("RS256")))
    asked = list(idp.asked)
    with pytest.raises(AuthenticatorUnavailable):
        await trusted.claims(idp.token(signing_key("RS256")))
    assert idp.asked == asked, "each request asks again"


async def test_keys_on_another_host_are_not_fetched_unless_that_is_configured(idp, fetch):
    """A discovery document that is tampered with must not send the registry anywhere."""
    async with issuing() as other:
        other.keys = idp.keys
        idp.discovery = {"jwks_uri": f"{other.url}/keys"}
        trusted = TrustedIssuer(
            idp.url, ["moorage"], PublishedKeys(idp.url, fetch), longest_seconds=3600
        )
        with pytest.raises(AuthenticatorUnavailable):
            await trusted.claims(idp.token())
        assert other.asked == []
        keys = PublishedKeys(idp.url, fetch, jwks_url=f"{other.url}/keys")
        trusted = TrustedIssuer(idp.url, ["moorage"], keys, longest_seconds=3600)
        assert await trusted.claims(idp.token())
        assert other.asked == ["/keys"]


async def test_redirects_are_not_followed(idp, trusted):
    async with issuing() as other:
        idp.redirect = f"{other.url}/keys"
        with pytest.raises(AuthenticatorUnavailable):
            await trusted.claims(idp.token())
        assert other.asked == []


async def test_without_tls_only_this_machine_is_asked(session):
    fetch = HttpFetch(lambda: session)
    for url in (
        "http://idp.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http:///x",
        "//127.0.0.1/",
        "http://127.0.0.1.evil.example/",
        "http://169.254.169.254/",
    ):
        with pytest.raises(FetchFailed, match="only https"):
            await fetch(url)


async def test_tls_is_verified_against_the_configured_authority(session, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with issuing(authority) as idp:
        good = HttpFetch(lambda: session, ca_file=tmp_path / "ca.pem")
        assert b"keys" in await good(f"{idp.url}/keys")
        with pytest.raises(FetchFailed):
            await HttpFetch(lambda: session)(f"{idp.url}/keys")
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        with pytest.raises(FetchFailed):
            await good(f"{idp.url}/keys")
        (tmp_path / "ca.pem").unlink()
        with pytest.raises(FetchFailed):
            await good(f"{idp.url}/keys")


async def test_a_cluster_is_asked_with_the_token_of_the_file(idp, session, tmp_path):
    (tmp_path / "token").write_text("abc\n")
    fetch = HttpFetch(lambda: session, token_file=tmp_path / "token")
    await fetch(f"{idp.url}/keys")
    assert idp.headers[-1]["Authorization"] == "Bearer abc"
    (tmp_path / "token").unlink()
    with pytest.raises(FetchFailed):
        await fetch(f"{idp.url}/keys")


async def test_a_token_without_a_key_id_is_verified_where_there_is_one_key(idp, trusted):
    key = idp.keys[0]
    claims = {"iss": idp.url, "aud": "moorage", "exp": int(time.time()) + 60}
    text = jwt.encode(claims, key.private, algorithm=key.algorithm)
    assert await trusted.claims(text)
    assert issuers._choose({"a": key.verifying, "b": signing_key().verifying}, None) is None


async def test_keys_from_a_file_are_read_anew(tmp_path, caplog):
    path = tmp_path / "keys.json"
    path.write_bytes(key_set("ES256").jwks())
    keys = FileKeys(path)
    assert await keys.get(signing_key().kid)
    assert await keys.get("other") is None
    path.write_bytes(key_set("RS256").jwks())
    await keys.reload()
    assert await keys.get(signing_key().kid) is None
    path.write_bytes(b"rubbish")
    await keys.reload()
    await keys.reload()
    assert await keys.get(signing_key("RS256").kid)
    assert caplog.text.count("new keys are not used") == 1
    with pytest.raises(KeyUnusable, match="can't be read"):
        FileKeys(tmp_path / "none")
    with pytest.raises(KeyUnusable, match=r"keys\.json"):
        FileKeys(path)
