"""Access tokens: what is issued is understood, and nothing else is."""

import json
import time
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.identity import ANONYMOUS, Identity, Kind, Scheme
from auth.jose import InvalidToken, sign, unverified
from auth.keys import ALGORITHMS, KeySet
from auth.scopes import NONE, Scopes
from auth.tokens import GRACE, LATE, LEEWAY, ExpiredToken, TokenIssuer, TokenVerifier
from tests.auth.keys import key_set, signing_key
from tests.auth.strategies import scopes

ISSUER, SERVICE = "https://registry.example.com", "registry.example.com"
ALICE = Identity("user:alice", groups=frozenset({"ml", "dev"}), credential="password:alice")
PULL = Scopes.parse("repository:demo/env:pull")


def issuer(keys=key_set, seconds=300):
    return TokenIssuer(keys, issuer=ISSUER, service=SERVICE, seconds=seconds)


def verifier(keys=key_set, **changes):
    options = {"issuer": ISSUER, "service": SERVICE, "most_seconds": 3600} | changes
    return TokenVerifier(keys, **options)


def claims(**changes):
    """A token with a good signature, and claims that need not be good; ``None`` leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER, "aud": SERVICE, "sub": "user:alice", "kind": "user", "jti": "x",
        "iat": now, "nbf": now, "exp": now + 300,
        "access": [{"type": "repository", "name": "demo/env", "actions": ["pull"]}],
    } | changes  # fmt: skip
    payload = json.dumps({name: value for name, value in good.items() if value is not None})
    return sign(payload.encode(), signing_key(), "JWT")


def refused(text, by=None):
    with pytest.raises(InvalidToken) as caught:
        (by or verifier()).verify(text)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_issued_token_says_whose_it_is_and_what_it_grants(algorithm):
    keys = partial(key_set, algorithm)
    issued = issuer(keys).issue(ALICE, PULL, {"demo": "p1"})
    found = verifier(keys).verify(issued.text)
    assert found.identity == replace(
        ALICE, ceiling=PULL, projects={"demo": "p1"}, scheme=Scheme.BEARER
    )
    assert (found.not_before, found.expires) == (issued.issued, issued.expires)
    assert issued.expires - issued.issued == 300


def test_the_claims_are_those_of_the_token_protocol():
    said = unverified(issuer().issue(ALICE, PULL, {"demo": "p1"}).text)
    assert said.pop("jti")
    assert said.pop("exp") - said.pop("nbf") == 300
    assert abs(said.pop("iat") - time.time()) < 5
    assert said == {
        "iss": ISSUER, "aud": SERVICE, "sub": "user:alice", "kind": "user",
        "access": [{"type": "repository", "name": "demo/env", "actions": ["pull"]}],
        "projects": {"demo": "p1"}, "groups": ["dev", "ml"], "cid": "password:alice",
    }  # fmt: skip


def test_every_token_has_an_id_of_its_own():
    assert len({unverified(issuer().issue(ALICE, NONE, {}).text)["jti"] for _ in range(50)}) == 50


def test_the_subject_of_an_anonymous_caller_is_empty():
    text = issuer().issue(ANONYMOUS, PULL, {}).text
    assert unverified(text)["sub"] == ""
    found = verifier().verify(text).identity
    assert (found.name, found.kind) == (ANONYMOUS.name, Kind.ANONYMOUS)


@given(
    scopes,
    st.sampled_from([Kind.USER, Kind.ROBOT, Kind.WORKLOAD]),
    st.text(min_size=1, max_size=50),
    st.sets(st.text(max_size=20), max_size=5),
)
def test_whatever_is_issued_is_verified_as_it_was(granted, kind, name, groups):
    caller = Identity(f"{kind}:{name}", kind, frozenset(groups))
    found = verifier().verify(issuer().issue(caller, granted, {}).text).identity
    assert found == replace(caller, ceiling=granted, projects={}, scheme=Scheme.BEARER)


def test_a_caller_with_too_many_groups_gets_no_token():
    caller = replace(ALICE, groups=frozenset(map(str, range(257))))
    with pytest.raises(ValueError, match="groups"):
        issuer().issue(caller, PULL, {})


def test_a_good_token_is_taken():
    assert verifier().verify(claims()).identity.name == "user:alice"
    assert verifier().verify(claims(aud=["other", SERVICE])).identity.name == "user:alice"


@pytest.mark.parametrize(
    "changes",
    [{"aud": "other"}, {"aud": []}, {"aud": ["other"]}, {"aud": None}, {"aud": 7},
     {"aud": SERVICE + "x"}, {"aud": SERVICE[:-1]}, {"aud": SERVICE.upper()}, {"aud": [[SERVICE]]}],
    ids=str,
)  # fmt: skip
def test_a_token_for_another_service_is_refused(changes):
    refused(claims(**changes))


@pytest.mark.parametrize("iss", ["https://evil.example", "", None, ISSUER + "/", [ISSUER]], ids=str)
def test_a_token_of_another_issuer_is_refused(iss):
    refused(claims(iss=iss))


@pytest.mark.parametrize(
    "changes",
    [{"exp": None}, {"iat": None}, {"nbf": None}, {"exp": 1e300}, {"exp": 2**63}, {"exp": 2**70},
     {"exp": "9999999999"}, {"exp": True}, {"exp": -1}, {"exp": 0}, {"exp": {}},
     {"jti": None}, {"jti": ""}, {"jti": "x" * 65}, {"jti": 7}],
    ids=str,
)  # fmt: skip
def test_a_claim_that_must_be_there_is_missing_or_no_such_claim(changes):
    refused(claims(**changes))


def test_a_token_that_would_live_too_long_is_refused():
    now = int(time.time())
    assert "longer" in refused(claims(exp=now + 3601))
    assert "longer" in refused(claims(exp=now + 10 * 365 * 86_400))
    assert "longer" in refused(claims(iat=now - 7200, nbf=now - 7200, exp=now + 60))


def test_a_token_from_the_future_is_refused_beyond_what_clocks_differ_by():
    now = int(time.time())
    later = now + LEEWAY - 5
    assert verifier().verify(claims(iat=later, nbf=later, exp=later + 300))
    later = now + LEEWAY + 5
    assert "clocks" in refused(claims(nbf=later, exp=now + 300))
    assert "clocks" in refused(claims(iat=later, exp=later + 300))


@pytest.mark.parametrize("ahead", [300, -300])
def test_replicas_take_each_others_tokens_though_a_clock_is_five_minutes_off(ahead):
    then = int(time.time()) + ahead
    assert verifier().verify(claims(iat=then, nbf=then, exp=then + 900))


def test_an_expired_token_is_refused_and_says_what_it_was_good_for():
    now = int(time.time())
    text = claims(iat=now - 400, nbf=now - 400, exp=now - 100)
    with pytest.raises(ExpiredToken) as caught:
        verifier().verify(text)
    was = caught.value.token
    assert was.identity.name == "user:alice"
    assert was.was_good_at(now - 200)
    assert was.was_good_at(now - 100 + LATE - 1)
    assert not was.was_good_at(now - 100 + LATE)
    assert not was.was_good_at(now - 400 - LEEWAY - 1)


def test_a_token_that_expired_long_ago_is_nothing_any_more():
    then = int(time.time()) - GRACE - 400
    with pytest.raises(InvalidToken) as caught:
        verifier().verify(claims(iat=then, nbf=then, exp=then + 300))
    assert not isinstance(caught.value, ExpiredToken)


@pytest.mark.parametrize(
    "changes",
    [{"sub": ""}, {"sub": None}, {"sub": 7}, {"sub": "x" * 513}, {"kind": "anonymous"},
     {"kind": None}, {"kind": "admin"}, {"kind": "system", "sub": "system:gc"}, {"kind": "system"},
     {"kind": ["user"]}],
    ids=str,
)  # fmt: skip
def test_a_subject_that_no_token_is_issued_for_is_refused(changes):
    refused(claims(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"access": None}, {"access": {}}, {"access": "repository:x:pull"}, {"access": [1]},
     {"access": [{}]},
     {"access": [{"type": "repository", "name": "x"}]},
     {"access": [{"type": 1, "name": "x", "actions": []}]},
     {"access": [{"type": "repository", "name": "x", "actions": "pull"}]},
     {"projects": []}, {"projects": {"a": 1}}, {"groups": "x"}, {"groups": [1]},
     {"groups": ["g"] * 257}, {"cid": 1}],
    ids=str,
)  # fmt: skip
def test_malformed_claims_are_refused(changes):
    refused(claims(**changes))


def test_a_flood_of_access_is_refused():
    many = [{"type": "repository", "name": f"a{n}", "actions": ["pull"]} for n in range(257)]
    refused(claims(access=many))
    refused(claims(access=many * 400))
    # Short ones, which fit into a token by their length.
    brief = {"type": "x", "name": "y", "actions": []}
    assert verifier().verify(claims(access=[brief] * 256))
    assert "claims" in refused(claims(access=[brief] * 257))


def test_a_star_in_a_name_is_no_wildcard():
    entries = [("demo/*", ["pull"]), ("*", ["pull"]), ("demo/env", ["pull"]), ("a", ["*"])]
    access = [{"type": "repository", "name": n, "actions": a} for n, a in entries]
    assert str(verifier().verify(claims(access=access)).identity.ceiling) == (
        "repository:demo/env:pull"
    )


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 9000, b'"x"', b"{}"]
)
def test_a_payload_that_is_no_object_of_claims_is_refused(payload):
    refused(sign(payload, signing_key(), "JWT"))


def test_a_duplicate_claim_can_not_be_read_in_two_ways():
    """The last one counts, for everybody who looks: one reader, after the signature."""
    now = int(time.time())
    payload = (
        f'{{"iss":"{ISSUER}","aud":"{SERVICE}","sub":"user:alice","kind":"user","jti":"x",'
        f'"iat":{now},"nbf":{now},"exp":{now + 60},"aud":"other"}}'
    )
    refused(sign(payload.encode(), signing_key(), "JWT"))


def test_a_token_is_verified_once_and_remembered(monkeypatch):
    by = verifier()
    text = claims()
    found = by.verify(text)
    monkeypatch.setattr("auth.tokens.open_token", lambda *_: pytest.fail("verified again"))
    assert by.verify(text) is found


def test_a_remembered_token_expires_all_the_same(monkeypatch):
    by = verifier()
    text = claims()
    by.verify(text)
    later = time.time() + 301
    monkeypatch.setattr("auth.tokens.time.time", lambda: later)
    with pytest.raises(ExpiredToken):
        by.verify(text)
    assert not by._verified
    assert by._weight == 0


def test_a_remembered_token_goes_with_its_key():
    """A key that was withdrawn takes its tokens along at once."""
    keys = [KeySet.of(signing_key())]
    by = verifier(lambda: keys[0])
    text = claims()
    by.verify(text)
    keys[0] = KeySet.of(signing_key("EdDSA"), [signing_key()])
    by.verify(text)
    keys[0] = KeySet.of(signing_key("EdDSA"))
    assert "key" in refused(text, by)


def test_the_quick_way_knows_only_what_is_remembered_and_still_good(monkeypatch):
    keys = [KeySet.of(signing_key())]
    by = verifier(lambda: keys[0])
    text = claims()
    assert by.remembered(text) is None
    identity = by.verify(text).identity
    assert by.remembered(text) is identity
    assert by.remembered(text[:-1]) is None
    keys[0] = KeySet.of(signing_key("EdDSA"))
    assert by.remembered(text) is None, "its key was withdrawn"
    keys[0] = KeySet.of(signing_key())
    by.verify(text)
    later = time.time() + 301
    monkeypatch.setattr("auth.tokens.time.time", lambda: later)
    assert by.remembered(text) is None, "it has expired"


def test_what_is_remembered_is_bounded():
    texts = [claims(jti=str(number)) for number in range(6)]
    by = verifier(remember=3 * len(texts[0]) + 10)
    for text in texts[:3]:
        by.verify(text)
    by.verify(texts[0])
    by.verify(texts[3])
    assert list(by._verified) == [texts[2], texts[0], texts[3]]
    assert by._weight == sum(map(len, by._verified))


def test_a_token_that_is_refused_is_not_remembered():
    by = verifier()
    for text in ("x", claims(aud="other"), claims(sub="")):
        refused(text, by)
    assert not by._verified


def test_an_expired_token_of_the_past_key_is_understood_as_long_as_the_key_is_there():
    now = int(time.time())
    text = claims(iat=now - 400, nbf=now - 400, exp=now - 100)
    keys = KeySet.of(signing_key("EdDSA"), [signing_key()])
    by = verifier(lambda: keys)
    with pytest.raises(ExpiredToken):
        by.verify(text)
