"""Sessions of browsers: what they carry, and what is none."""

import time
import zlib

import msgspec
import pytest

from auth.browser_sessions import MAX_SESSION, BrowserSessions
from auth.credentials import InvalidCredentials
from auth.identity import SECRET, Identity, Kind, Scheme
from auth.jose import InvalidToken, sign
from auth.keys import KeySet
from auth.scopes import Scopes
from auth.tokens import TokenIssuer, TokenVerifier
from tests.auth.keys import key_set, signing_key

SESSIONS = BrowserSessions(key_set, issuer="here", seconds=600)
ANN = Identity("user:ann", Kind.USER, frozenset({"a", "b"}), credential=f"{SECRET}1")


def test_a_session_is_its_holder_s_and_no_more():
    narrow = Scopes.parse_ceiling("repository:demo/*:pull")
    for given in (ANN, Identity("robot:demo/ci", Kind.ROBOT, ceiling=narrow)):
        begun = SESSIONS.begin(given)
        assert begun.seconds == 600
        found = SESSIONS.read(begun.text)
        assert (found.name, found.kind, found.groups) == (given.name, given.kind, given.groups)
        assert found.credential == given.credential
        assert found.ceiling == given.ceiling
        assert (found.scheme, found.projects) == (Scheme.SESSION, None)


def test_hundreds_of_groups_fit_into_a_cookie_and_thousands_are_refused():
    groups = frozenset(f"hopsworks/{number}/data-scientist" for number in range(400))
    begun = SESSIONS.begin(Identity("user:x", groups=groups))
    assert len(begun.text) <= MAX_SESSION
    assert SESSIONS.read(begun.text).groups == groups
    many = frozenset(f"group-{number * 7919 % 100_003}" for number in range(3000))
    with pytest.raises(InvalidCredentials, match="groups"):
        SESSIONS.begin(Identity("user:x", groups=many))


def test_neither_kind_of_token_is_taken_for_the_other():
    issuer = TokenIssuer(key_set, issuer="here", service="console", seconds=600)
    token = issuer.issue(ANN, Scopes({}), {}).text
    with pytest.raises(InvalidToken, match="another type"):
        SESSIONS.read(token)
    verifier = TokenVerifier(key_set, issuer="here", service="console", most_seconds=3600)
    with pytest.raises(InvalidToken, match="another type"):
        verifier.verify(SESSIONS.begin(ANN).text)


def forged(**changes):
    """A session that is signed well, with other claims."""
    now = int(time.time())
    claims = {
        "iss": "here", "aud": "console", "sub": "user:ann", "kind": "user",
        "iat": now, "exp": now + 600, "jti": "x",
    } | changes  # fmt: skip
    payload = zlib.compress(msgspec.json.encode(claims))
    return sign(payload, signing_key(), "session+jwt")


def test_a_forged_one_would_be_good_if_it_were_signed():
    assert SESSIONS.read(forged()).name == "user:ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere"},
        {"aud": "moorage"},
        {"kind": "anonymous"},
        {"kind": "system"},
        {"kind": "king"},
        {"sub": ""},
        {"exp": 0},
        {"iat": 10**12},
        {"iat": 0, "exp": 10**12},  # longer than any is good for
        {"ceiling": "x" * 200_000},
    ],
)
def test_what_is_signed_is_looked_at_too(changes):
    with pytest.raises(InvalidToken):
        SESSIONS.read(forged(**changes))


def test_what_does_not_unpack_is_none():
    for payload in (b"{}", b"", zlib.compress(b"{}"), zlib.compress(b"x" * 10_000_000)):
        with pytest.raises(InvalidToken):
            SESSIONS.read(sign(payload, signing_key(), "session+jwt"))


def test_it_is_remembered_as_long_as_it_is_good_and_no_longer(monkeypatch):
    sessions = BrowserSessions(key_set, issuer="here", seconds=600)
    text = sessions.begin(ANN).text
    found = sessions.read(text)
    assert sessions.read(text) is found
    for _ in range(300):
        sessions.read(sessions.begin(ANN).text)
    assert len(sessions._known) == 256
    real = time.time
    monkeypatch.setattr("auth.browser_sessions.time.time", lambda: real() + 601)
    for _ in range(2):
        with pytest.raises(InvalidToken, match="over"):
            sessions.read(text)


def test_a_key_that_is_gone_ends_its_sessions():
    text = SESSIONS.begin(ANN).text
    other = BrowserSessions(lambda: KeySet.of(signing_key(number=1)), issuer="here", seconds=600)
    with pytest.raises(InvalidToken):
        other.read(text)


def test_a_shorter_time_counts_at_once():
    text = forged(iat=int(time.time()) - 300)
    assert SESSIONS.read(text).name == "user:ann"
    with pytest.raises(InvalidToken, match="over"):
        BrowserSessions(key_set, issuer="here", seconds=200).read(text)
