"""Challenges: built in one place, and nothing of a request gets into them unchecked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.challenge import BadHost, Challenges, origin
from auth.scopes import Scopes

PUSH = Scopes.parse("repository:demo/env:pull,push repository:base:pull")


def test_a_challenge_names_the_token_service_at_the_clients_own_host_and_port():
    challenges = Challenges("moorage")
    realm = challenges.realm("Reg.example.com:5000", secure=True)
    assert challenges.values(realm) == (
        'Bearer realm="https://reg.example.com:5000/token",service="moorage"',
    )
    assert challenges.realm("127.0.0.1:5000", secure=False) == "http://127.0.0.1:5000/token"


def test_the_configured_address_wins_over_the_clients():
    challenges = Challenges("moorage", public="https://reg.example.com")
    for host in ("evil.example", None, "127.0.0.1:5000"):
        assert challenges.realm(host, secure=False) == "https://reg.example.com/token"


def test_a_challenge_tells_what_was_missing():
    (value,) = Challenges("m").values(
        "https://x/token", PUSH, error="insufficient_scope", description="log in"
    )
    assert value == (
        'Bearer realm="https://x/token",service="m",'
        'scope="repository:base:pull repository:demo/env:pull,push",'
        'error="insufficient_scope",error_description="log in"'
    )


def test_bearer_comes_first_and_basic_has_a_line_of_its_own():
    bearer, basic = Challenges("m", basic=True).values("https://x/token")
    assert bearer.startswith("Bearer ")
    assert basic == 'Basic realm="m", charset="UTF-8"'


@pytest.mark.parametrize(
    ("host", "secure", "expected"),
    [
        ("localhost", False, "http://localhost"),
        ("my_registry:5000", False, "http://my_registry:5000"),
        ("[::1]:5000", True, "https://[::1]:5000"),
        ("10.0.0.1", True, "https://10.0.0.1"),
        ("registry.service.consul.:4443", True, "https://registry.service.consul.:4443"),
    ],
)
def test_hosts_that_clients_use(host, secure, expected):
    assert origin(host, secure=secure) == expected


@pytest.mark.parametrize(
    "host",
    [None, "", " ", "a b", "a/b", "a/../b", "user@evil.example", "evil.example/x?", "a\r\nX: y",
     "a\n", "a\x00", 'a"', "a,b", "a;b", "a#b", "a\\b", "é", "a:", "a:x", "a:123456", ":5000",
     "[::1", "::1", "[x]", "-a", "a-", ".", "a" * 300, "http://a", "a:1:2", "[::1]x"],
)  # fmt: skip
def test_a_poisoned_host_gets_no_challenge(host):
    with pytest.raises(BadHost):
        origin(host, secure=True)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_gets_in_a_challenge_is_one_header_line_of_quoted_strings(text, host):
    challenges = Challenges(text, basic=True)
    try:
        realm = challenges.realm(host, secure=True)
    except BadHost:
        realm = "https://x/token"
    bearer, basic = challenges.values(realm, PUSH, error="invalid_token", description=text)
    for value in (bearer, basic):
        assert value.isascii()
        assert value.isprintable()
    assert re.fullmatch(r'Bearer (\w+="[^"\\]*",){4}error_description="[^"\\]*"|'
                        r'Bearer (\w+="[^"\\]*",?){3,5}', bearer)  # fmt: skip
