"""The token protocol: what docker, containerd, podman, crane and others send is understood."""

from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.errors import TokenRequestInvalid
from registry.spec.token import MAX_FORM, Grant, TokenRequest, read_body, read_query

codec = st.characters(codec="utf-8")
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
PUSH_AND_MOUNT = (
    "account=alice&scope=repository%3Ademo%2Fb%3Apush%2Cpull"
    "&scope=repository%3Ademo%2Fa%3Apull&service=moorage"
)
JWT = "urn:ietf:params:oauth:token-type:jwt"
EXCHANGED = f"grant_type={EXCHANGE}&subject_token=a&subject_token_type={JWT}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", TokenRequest(grant=Grant.HEADER)),
        # docker login
        ("account=alice&client_id=docker&offline_token=true&service=moorage",
         TokenRequest(grant=Grant.HEADER, service="moorage", offline=True, client="docker")),
        # docker push, with a mount
        (PUSH_AND_MOUNT,
         TokenRequest(grant=Grant.HEADER, service="moorage",
                      scopes=("repository:demo/b:push,pull", "repository:demo/a:pull"))),
        # Go writes a space as a plus
        ("scope=repository:a:pull+repository:b:pull",
         TokenRequest(grant=Grant.HEADER, scopes=("repository:a:pull repository:b:pull",))),
        ("scope=&service=", TokenRequest(grant=Grant.HEADER, scopes=("",))),
        ("offline_token=false&unknown=1&unknown=2", TokenRequest(grant=Grant.HEADER)),
        # secrets in a query are not read
        ("grant_type=password&username=a&password=b", TokenRequest(grant=Grant.HEADER)),
    ],
)  # fmt: skip
def test_queries(query, expected):
    assert read_query(query) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # containerd
        ({"grant_type": "password", "service": "moorage", "client_id": "containerd-client",
          "scope": "repository:a:pull repository:b:pull,push", "username": "alice",
          "password": "p&w=+ %é"},
         TokenRequest(grant=Grant.PASSWORD, service="moorage", client="containerd-client",
                      scopes=("repository:a:pull repository:b:pull,push",), username="alice",
                      secret="p&w=+ %é")),
        # crane
        ({"grant_type": "password", "access_type": "offline", "username": "a", "password": "b"},
         TokenRequest(grant=Grant.PASSWORD, username="a", secret="b", offline=True)),
        # docker and podman, with an identity token
        ({"grant_type": "refresh_token", "refresh_token": "abc", "client_id": "docker"},
         TokenRequest(grant=Grant.REFRESH_TOKEN, secret="abc", client="docker")),
        # RFC 8693
        ({"grant_type": EXCHANGE, "subject_token": "ey.x.y", "subject_token_type": JWT,
          "audience": "moorage", "scope": "repository:a:pull"},
         TokenRequest(grant=Grant.EXCHANGE, secret="ey.x.y", service="moorage",
                      scopes=("repository:a:pull",))),
    ],
)  # fmt: skip
def test_forms(form, expected):
    assert read_body(urlencode(form)) == expected


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=authorization_code", "unsupported_grant_type"),
        ("grant_type=PASSWORD&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=password", "invalid_request"),
        ("grant_type=password&username=a", "invalid_request"),
        ("grant_type=password&username=a&password=", "invalid_request"),
        ("grant_type=password&password=a", "invalid_request"),
        ("grant_type=password&grant_type=refresh_token&username=a&password=b", "invalid_request"),
        ("grant_type=password&username=a&username=b&password=c", "invalid_request"),
        ("grant_type=refresh_token", "invalid_request"),
        (f"grant_type={EXCHANGE}&subject_token=a", "invalid_request"),
        (f"grant_type={EXCHANGE}&subject_token=a&subject_token_type=saml2", "invalid_request"),
        (f"grant_type={EXCHANGE}&subject_token_type={JWT}", "invalid_request"),
        (f"{EXCHANGED}&actor_token=b", "invalid_request"),
        (f"{EXCHANGED}&requested_token_type={JWT}", "invalid_request"),
        ("grant_type=password&username=%ff&password=a", "invalid_request"),
        ("grant_type=password&username=é&password=a", "invalid_request"),
        ("a=b&" * 300, "invalid_request"),
        ("a" * (MAX_FORM + 1), "invalid_request"),
    ],
)  # fmt: skip
def test_malformed_forms(form, error):
    with pytest.raises(TokenRequestInvalid) as caught:
        read_body(form)
    assert caught.value.oauth == error
    assert caught.value.status == 400


def test_a_doubled_or_malformed_query_parameter_is_refused():
    for query in ("service=a&service=b", "scope=%ff", "scope=é", "&" * 300):
        with pytest.raises(TokenRequestInvalid):
            read_query(query)


@given(st.text(codec, min_size=1, max_size=30), st.text(codec, min_size=1, max_size=60))
def test_any_name_and_password_come_through(username, password):
    form = f"grant_type=password&username={quote_plus(username)}&password={quote_plus(password)}"
    found = read_body(form)
    assert (found.username, found.secret) == (username, password)


def test_a_request_does_not_show_its_secret():
    found = read_body("grant_type=password&username=alice&password=hunter2")
    assert "alice" in repr(found)
    assert "hunter2" not in repr(found)
    for form in (
        "grant_type=password&username=a&password=hunter2&password=b",
        "grant_type=password&password=hunter2",
        "grant_type=hunter&password=hunter2",
        "grant_type=password&username=é&password=hunter2",
        "hunter2%ff&grant_type=password",
        "grant_type=password&username=a&password=hunter2%ff",
    ):
        with pytest.raises(TokenRequestInvalid) as caught:
            read_body(form)
        assert "hunter2" not in str(caught.value)
