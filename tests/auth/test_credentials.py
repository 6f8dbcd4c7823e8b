"""The Authorization header: two schemes, read strictly."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.credentials import (
    MAX_PASSWORD,
    MAX_USERNAME,
    ApiKey,
    Basic,
    Bearer,
    InvalidCredentials,
    checked,
    read_authorization,
)

KEY = "a" * 16 + "." + "b" * 64


def basic(text):
    data = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (basic("alice:secret"), Basic("alice", "secret")),
        (basic("alice:se:cr:et"), Basic("alice", "se:cr:et")),
        (basic("alice:"), Basic("alice", "")),
        (basic(":secret"), Basic("", "secret")),
        (basic("<token>:x"), Basic("<token>", "x")),
        (basic("alicé:sécret🔑"), Basic("alicé", "sécret🔑")),
        (basic("a:b").replace("Basic", "basic"), Basic("a", "b")),
        ("BASIC  " + basic("a:b")[6:], Basic("a", "b")),
        (basic("robot$demo+ci:x"), Basic("robot$demo+ci", "x")),
        ("Bearer abc.def-_~+/=", Bearer("abc.def-_~+/=")),
        ("bearer x", Bearer("x")),
        ("ApiKey " + KEY, ApiKey(KEY)),
        ("apikey  " + KEY, ApiKey(KEY)),
    ],
)
def test_what_clients_send(value, expected):
    assert read_authorization(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", " ", "Basic", "Basic ", "Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer é",
     "Bearer a\x00", "Bearer =", "Basic a", "Basic !!!!", "Basic YTpi YTpi", "Basic YTp=i",
     basic("nocolon"), basic(b"\xff:\xff"), basic("a\x00b:c"), basic("a\nb:c"), basic("a\x7f:b"),
     "Digest username=a", "Negotiate abc", "ApiKey a.b", "ApiKey " + KEY[1:], "ApiKey " + KEY + ".",
     "ApiKey " + "a" * 81, "ApiKey " + KEY.replace("b", "é"), "ApiKey " + KEY * 3, "Token abc",
     "YTpi", "Basic\tYTpi",
     "Bearer " + "a" * (MAX_PASSWORD + 1), basic("a:" + "b" * (MAX_PASSWORD + 1)),
     basic("a" * (MAX_USERNAME + 1) + ":b"), basic("a:b") * 100_000],
)  # fmt: skip
def test_what_can_not_be_read_is_refused(value):
    with pytest.raises(InvalidCredentials) as caught:
        read_authorization(value)
    assert "b" * 20 not in str(caught.value)


@given(st.text(max_size=50))
def test_any_value_is_read_or_refused(value):
    for text in (
        value,
        f"Basic {value}",
        f"Bearer {value}",
        basic(value.encode("utf-8", "ignore")),
    ):
        with contextlib.suppress(InvalidCredentials):
            assert isinstance(read_authorization(text), Basic | Bearer)


def test_secrets_do_not_show():
    assert "secret" not in repr(Basic("alice", "secret"))
    assert "secret" not in repr(Bearer("secret"))


def test_wrong_and_unknown_look_alike():
    assert str(InvalidCredentials()) == "the user name or the password is wrong"


def test_names_and_passwords_from_forms_have_the_same_limits():
    assert checked("a", "b" * MAX_PASSWORD).username == "a"
    for pair in (("a" * 257, "b"), ("a", "b" * (MAX_PASSWORD + 1)), ("a\x00", "b")):
        with pytest.raises(InvalidCredentials):
            checked(*pair)
