"""The token service, for every sort of caller, in every sort of project.

Grant = requested ∩ allowed: what a token is granted must be what the matrix of the registry's own
routes says that the caller has, whichever way it asks.
"""

import base64
import ssl
from urllib.parse import urlencode

import pytest

from auth.scopes import Scopes
from tests.auth.everyone import REPOSITORIES
from tests.auth.requests import METHODS
from tests.auth.test_matrix import CALLERS

ASKED = ["service=moorage", *(f"scope=repository:{name}:*" for name in REPOSITORIES.values())]

OF_THIS_REGISTRY = (
    "with a token", "with its token", "with a token of", "with a token for", "with a token to",
    "expired token",
)  # fmt: skip


def is_token(name):
    """Whether it shows a token of this registry, which buys no further one."""
    return "token of another issuer" not in name and any(each in name for each in OF_THIS_REGISTRY)


def expected(name):
    """Every scope that the caller is to be granted."""
    found = {}
    for where, repository in REPOSITORIES.items():
        for verb in CALLERS[name].verbs.get(where, ()):
            found.setdefault(repository, set()).add(verb)
    return found


def granted(reply):
    """What an answer says was granted, and what the token in it holds: the same."""
    scopes = Scopes.parse(reply.json()["scope"])
    return {each.name: set(actions) for each, actions in scopes}


@pytest.mark.parametrize("name", CALLERS)
def test_a_query(registry, callers, name):
    with registry.caller(callers[name]) as caller:
        reply = caller.get("/token?" + "&".join(ASKED))
    if is_token(name) or CALLERS[name].lapsed:
        assert reply.status == 401, reply
        assert reply["WWW-Authenticate"].startswith("Basic "), reply
        return
    assert granted(reply.expect(200)) == expected(name)


def pair(shown):
    """The user name and the password, where that is what is shown."""
    if isinstance(shown, ssl.SSLContext) or not (shown or "").startswith("Basic "):
        return None
    name, _, password = base64.b64decode(shown[6:]).decode().partition(":")
    return name, password


@pytest.mark.parametrize("name", CALLERS)
def test_a_form(registry, callers, name):
    """As containerd sends it: a password, in a form. A token of another issuer is exchanged."""
    shown = callers[name]
    found = pair(shown)
    if found is not None:
        fields = {"grant_type": "password", "username": found[0], "password": found[1]}
    elif isinstance(shown, str) and shown.startswith("Bearer "):
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": shown[7:],
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        }
    else:
        # Nothing in the form: what the head or the connection shows is not looked at.
        fields = {}
    scope = " ".join(f"repository:{each}:*" for each in REPOSITORIES.values())
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    with registry.caller(None) as nobody:
        form = urlencode({**fields, "service": "moorage", "scope": scope}).encode()
        reply = nobody.post("/token", kind, body=form)
    if not fields:
        assert reply.status == 400, reply
    elif is_token(name) or CALLERS[name].lapsed:
        assert reply.status == 401, reply
    else:
        assert granted(reply.expect(200)) == expected(name)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, sort in CALLERS.items()
        if not (sort.lapsed or is_token(name) or name == "administrator")
    ],
)
def test_foreign_is_absent_in_what_is_granted(registry, callers, name):
    """Whatever is asked of a project that the caller has no part in: no scope, and no trace."""
    with registry.caller(callers[name]) as caller:
        for scope in ("repository:{}/app:pull,push", "repository:{}:*", "project:{}:manage"):
            foreign, absent = (
                caller.get(f"/token?scope={scope.format(project)}").expect(200)
                for project in ("foreign", "absent1")
            )
            assert foreign.json()["scope"] == absent.json()["scope"] == ""
            assert foreign.json().keys() == absent.json().keys()


ROUTES = {
    "/token": ("GET", "POST"),
    "/token/": ("GET", "POST"),
    "/token/revoke": ("POST",),
    "/.well-known/jwks.json": ("GET", "HEAD"),
}


@pytest.mark.parametrize("path", ROUTES)
def test_other_methods_are_refused_to_everybody(registry, callers, path):
    for name, shown in callers.items():
        with registry.caller(shown) as caller:
            for method in METHODS:
                reply = caller.request(method, path)
                if method not in ROUTES[path]:
                    assert reply.status == 405, (name, method)
                    assert set(reply["Allow"].split(", ")) == set(ROUTES[path])


def test_the_keys_are_everybodys(registry, callers):
    answers = set()
    for shown in callers.values():
        with registry.caller(shown) as caller:
            answers.add(caller.get("/.well-known/jwks.json").expect(200).body)
    assert len(answers) == 1


def test_whoever_revokes_learns_nothing(registry, callers):
    """RFC 7009 §2.2: what is no token is no error; whose a token was is not told."""
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    for shown in callers.values():
        with registry.caller(shown) as caller:
            reply = caller.post("/token/revoke", kind, body=b"token=mrg_off_nothing")
            assert reply.expect(200).body == b"{}"
