"""Every route by every method, for every sort of caller, in every sort of project.

What each is expected to get follows from two tables: who has which verbs where, and how a caller of
its kind is refused. A route that is not placed here fails.
"""

import re
from dataclasses import dataclass

import pytest

from auth.policy import Verb
from registry.http.api import ROUTES
from tests.auth.everyone import REPOSITORIES
from tests.auth.requests import EVERY, EXAMPLES, METHODS, TARGETS

ALL = frozenset({"pull", "push", "delete"})
READ = frozenset({"pull"})
PUSH = frozenset({"pull", "push"})
NONE: frozenset[str] = frozenset()

OPEN = {"internal": READ, "public": READ}


@dataclass(frozen=True)
class Sort:
    """A sort of caller: how it is refused, and which verbs it has where."""

    scheme: str
    verbs: dict[str, frozenset[str]]
    catalog: bool = True
    lapsed: bool = False
    stale: str = ""
    """Where its token was made for an earlier project of that name, of which it is an owner now."""


def _by(scheme, own, **more):
    catalog = more.pop("catalog", scheme == "basic")
    return Sort(scheme, {**OPEN, "own": own, "shared": READ} | more, catalog)


NOBODY = {"own": NONE, "shared": NONE}
CALLERS = {
    "anonymous": Sort("none", {"public": READ}, catalog=False),
    "anonymous with a token": Sort("bearer", {"public": READ}, catalog=False),
    "owner": _by("basic", ALL),
    "owner with a token": _by("bearer", ALL),
    "maintainer": _by("basic", ALL),
    "maintainer with a token": _by("bearer", ALL),
    "developer": _by("basic", PUSH),
    "developer with a token": _by("bearer", PUSH),
    "guest": _by("basic", READ),
    "guest with a token": _by("bearer", READ),
    "member by a group": _by("basic", PUSH),
    "member by a group with a token": _by("bearer", PUSH),
    "owner with an access token": _by("basic", ALL),
    "owner with a narrow access token": Sort("basic", {"own": READ}, catalog=False),
    "owner with a token of a narrow access token": Sort("bearer", {"own": READ}, catalog=False),
    "owner with a token for pull": Sort("bearer", {"own": READ}, catalog=False),
    "owner with a token for the catalog": Sort("bearer", {}, catalog=True),
    "owner with a token to manage": Sort("bearer", {}, catalog=False),
    "robot": _by("basic", PUSH),
    "robot with a token": _by("bearer", PUSH),
    "maintainer robot": _by("basic", ALL),
    "narrow robot": Sort("basic", {"own": READ}, catalog=False),
    "workload": _by("bearer", PUSH, catalog=True),
    "workload, by a password": _by("basic", PUSH),
    "workload with a token": _by("bearer", PUSH),
    "service account": _by("bearer", READ, catalog=True),
    "service account, as kubelet sends it": _by("basic", READ),
    "service account with a token": _by("bearer", READ),
    "certificate": _by("basic", ALL),
    "certificate with a token": _by("bearer", ALL),
    "user from elsewhere, by a group": _by("basic", READ),
    "user from elsewhere, no longer in it": _by("basic", **NOBODY),
    "platform's user by a key": _by("basic", PUSH),
    "platform's user by a key, as docker sends it": _by("basic", PUSH),
    "platform's user with a token of such": _by("bearer", PUSH),
    "platform's user by its token": _by("bearer", PUSH, catalog=True),
    "platform's user by a key that only reads": _by("basic", READ),
    "platform's user under removal": _by("basic", **NOBODY),
    "platform's user by a revoked key": Sort("basic", {}, catalog=False, lapsed=True),
    "directory's user": _by("basic", PUSH),
    "directory's user with a token": _by("bearer", PUSH),
    "directory's user by a wrong password": Sort("basic", {}, catalog=False, lapsed=True),
    "stranger": _by("basic", **NOBODY),
    "stranger with a token": _by("bearer", **NOBODY),
    "administrator": _by("basic", **NOBODY),
    "administrator with a token": _by("bearer", **NOBODY),
    "member that was removed": _by("basic", **NOBODY),
    "member that was removed, with its token": _by("bearer", **NOBODY),
    "owner of an earlier project of that name, with its token": Sort(
        "bearer", {}, catalog=False, stale="own"
    ),
    "expired token": Sort("bearer", {}, catalog=False, lapsed=True),
    "expired token of another issuer": Sort("bearer", {}, catalog=False, lapsed=True),
    "workload that no rule fits": Sort("bearer", {}, catalog=False, lapsed=True),
    "certificate that no rule fits": Sort("basic", {}, catalog=False, lapsed=True),
    "blocked": Sort("basic", {}, catalog=False, lapsed=True),
    "revoked access token": Sort("basic", {}, catalog=False, lapsed=True),
    "robot that is gone": Sort("basic", {}, catalog=False, lapsed=True),
    "expired robot": Sort("basic", {}, catalog=False, lapsed=True),
    "changed password": Sort("basic", {}, catalog=False, lapsed=True),
    "blocked, with its token": Sort("bearer", {}, catalog=False, lapsed=True),
    "revoked access token, with its token": Sort("bearer", {}, catalog=False, lapsed=True),
    "robot that is gone, with its token": Sort("bearer", {}, catalog=False, lapsed=True),
    "expired robot, with its token": Sort("bearer", {}, catalog=False, lapsed=True),
    "changed password, with its token": Sort("bearer", {}, catalog=False, lapsed=True),
    "wrong password": Sort("basic", {}, catalog=False, lapsed=True),
    "no account": Sort("basic", {}, catalog=False, lapsed=True),
    "robot from elsewhere": Sort("basic", {}, catalog=False, lapsed=True),
    "no token": Sort("bearer", {}, catalog=False, lapsed=True),
    "no scheme": Sort("basic", {}, catalog=False, lapsed=True),
}


def test_every_sort_of_caller_is_placed(callers):
    assert set(callers) == set(CALLERS)


def test_every_route_has_its_examples():
    """A new route must be placed here: with a verb, and with requests that are tried."""
    assert set(EXAMPLES) == set(ROUTES)
    for kind, examples in EXAMPLES.items():
        verb, _ = ROUTES[kind]
        assert {example.verb for example in examples} == {verb.value}


def test_every_verb_of_a_route_is_one_of_the_api():
    verbs = {verb for verb, _ in ROUTES.values()}
    assert verbs == {Verb.ENTER, Verb.PULL, Verb.PUSH, Verb.DELETE, Verb.CATALOG}


def refusal(sort: Sort, *, visible: bool, stale: bool) -> tuple[int, str, str]:
    """Status, code, and what the challenge says of the error."""
    if sort.lapsed or stale:
        return 401, "UNAUTHORIZED", 'error="invalid_token"'
    if sort.scheme == "none":
        return 401, "UNAUTHORIZED", ""
    if sort.scheme == "bearer":
        return 401, "UNAUTHORIZED", 'error="insufficient_scope"'
    return (403, "DENIED", "") if visible else (404, "NAME_UNKNOWN", "")


CASES = [(name, where) for name in CALLERS for where in REPOSITORIES]


@pytest.mark.parametrize(("name", "where"), CASES)
def test_matrix(registry, callers, name, where):
    sort = CALLERS[name]
    repository = REPOSITORIES[where]
    verbs = sort.verbs.get(where, NONE)
    # Administrators see every project that there is, and the content of none.
    visible = "pull" in verbs or (name.startswith("administrator") and where != "absent")
    with registry.caller(callers[name]) as caller:
        for example in EVERY:
            reply = caller.request(
                example.method, example.to(repository), example.headers, example.body
            )
            told = f"{example.method} {example.to(repository)}: {reply}"
            if example.verb == "enter":
                allowed = not sort.lapsed and sort.scheme != "none"
            elif example.verb == "catalog":
                allowed = sort.catalog
            else:
                allowed = example.verb in verbs
            if allowed:
                assert reply.status in example.allowed, told
                if reply.status == 404 and example.method != "HEAD":
                    assert reply.code() != "NAME_UNKNOWN", told
                continue
            seen = visible or example.verb == "catalog"
            stale = where == sort.stale and example.verb in ALL
            status, code, error = refusal(sort, visible=seen, stale=stale)
            assert reply.status == status, told
            if example.method != "HEAD":
                assert reply.code() == code, told
            check_challenge(reply, example, repository, error, told)


_CHALLENGE = re.compile(r'Bearer realm="https?://127\.0\.0\.1:\d+/token",service="moorage"')


def check_challenge(reply, example, repository, error, told):
    values = reply.all("WWW-Authenticate")
    if reply.status != 401:
        assert values == [], told
        return
    (value,) = values
    assert re.match(r'Bearer realm="https?://127\.0\.0\.1:\d+/token",service="moorage"', value), (
        told
    )
    scope = {
        "enter": "",
        "pull": f'scope="repository:{repository}:pull"',
        "push": f'scope="repository:{repository}:pull,push"',
        "delete": f'scope="repository:{repository}:delete"',
        "catalog": 'scope="registry:catalog:*"',
    }[example.verb]
    assert ("scope=" in value) == bool(scope), told
    assert scope in value, told
    assert ("error=" in value) == bool(error), told
    assert error in value, told


def comparable(reply, repository: str):
    """An answer without what differs in any two answers."""
    headers = [
        (name, value.replace(repository, "REPOSITORY"))
        for name, value in reply.headers
        if name not in ("Date", "X-Request-Id")
    ]
    return reply.status, headers, reply.body.replace(repository.encode(), b"REPOSITORY")


@pytest.mark.parametrize("name", [name for name in CALLERS if not name.startswith("administrator")])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    """Every path with every method, also those that it does not have."""
    foreign, absent = REPOSITORIES["foreign"], REPOSITORIES["absent"]
    nothing = "foreign/never"  # a repository that is not there, in a project that is
    with registry.caller(callers[name]) as caller:
        for target in TARGETS:
            for method in METHODS:
                answers = []
                for repository in (foreign, absent, nothing):
                    reply = caller.request(method, target.replace("{r}", repository))
                    answers.append(comparable(reply, repository))
                assert answers[0] == answers[1] == answers[2], (method, target)
                assert answers[0][0] in (200, 400, 401, 403, 404, 405), (method, target)


def test_the_catalog_lists_what_may_be_pulled(registry, callers):
    every = ["common/app", "inside/app", "lender/app", "own/app", "own/other", "public/app"]
    expected = {
        "owner": every,
        "owner with an access token": every,
        "owner with a token for the catalog": every,
        "guest": every,
        "robot": every,
        "member by a group": every,
        "stranger": ["common/app", "inside/app", "public/app"],
        "administrator": ["common/app", "inside/app", "public/app"],
        "member that was removed": ["common/app", "inside/app", "public/app"],
    }
    for name, repositories in expected.items():
        with registry.caller(callers[name]) as caller:
            assert caller.get("/v2/_catalog").expect(200).json()["repositories"] == repositories
