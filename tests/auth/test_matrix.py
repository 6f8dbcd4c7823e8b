"""Every route by every method, for every sort of caller, in every sort of project.

What each is expected to get follows from two tables: who has which verbs where, and how a caller of
its kind is refused. A route that is not placed here fails.
"""

import re
import time
from dataclasses import dataclass

import pytest

from auth.policy import Verb
from auth.roles import Role, Visibility
from registry.http.api import ROUTES
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.robots import RobotTerms
from tests.auth.idp import Issuer
from tests.auth.keys import key_set, signing_key
from tests.auth.requests import CONFIG, EVERY, EXAMPLES, LAYER, MANIFEST, METHODS, TARGETS
from tests.auth.tenants import PASSWORD, ROOT, TenantRegistry, basic, bearer, tenants
from tests.oracle.content import push_blob, put_manifest

ALL = frozenset({"pull", "push", "delete"})
READ = frozenset({"pull"})
PUSH = frozenset({"pull", "push"})
NONE: frozenset[str] = frozenset()

REPOSITORIES = {
    # sort of project: its repository that has an image. Foreign and absent are of one length.
    "own": "own/app",
    "shared": "lender/app",
    "beside": "lender/bpp",  # of the project that shares, but not shared
    "internal": "inside/app",
    "public": "public/app",
    "foreign": "foreign/app",
    "absent": "absent1/app",
}
OPEN = {"internal": READ, "public": READ}


@dataclass(frozen=True)
class Sort:
    """A sort of caller: how it is refused, and which verbs it has where."""

    scheme: str
    verbs: dict[str, frozenset[str]]
    catalog: bool = True
    lapsed: bool = False


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
    "robot": _by("basic", PUSH),
    "robot with a token": _by("bearer", PUSH),
    "maintainer robot": _by("basic", ALL),
    "narrow robot": Sort("basic", {"own": READ}, catalog=False),
    "workload": _by("bearer", PUSH, catalog=True),
    "workload, by a password": _by("basic", PUSH),
    "workload with a token": _by("bearer", PUSH),
    "user from elsewhere, by a group": _by("basic", READ),
    "user from elsewhere, no longer in it": _by("basic", **NOBODY),
    "stranger": _by("basic", **NOBODY),
    "stranger with a token": _by("bearer", **NOBODY),
    "administrator": _by("basic", **NOBODY),
    "member that was removed": _by("basic", **NOBODY),
    "member that was removed, with its token": _by("bearer", **NOBODY),
    "owner of an earlier project of that name, with its token": Sort("bearer", {}, catalog=False),
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


CI = """
[auth.workload.ci]
issuer = "https://ci.test"
audiences = ["moorage"]
jwks_file = "{keys}"
rules = [{{ match = {{ sub = "repo:*" }}, name = "{{sub}}" }}]

[auth.oidc.corp]
issuer = "https://corp.test"
audiences = ["moorage"]
jwks_file = "{keys}"
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    directory = tmp_path_factory.mktemp("matrix")
    keys, settings = directory / "keys.json", directory / "ci.toml"
    keys.write_bytes(key_set().jwks())
    settings.write_text(CI.format(keys=keys))
    with tenants(files=[settings]) as registry:
        yield registry


@pytest.fixture(scope="module")
def callers(registry):
    """The `Authorization` of each sort of caller."""
    return _furnish(registry)


def _furnish(registry: TenantRegistry) -> dict[str, str | None]:
    for name in ("ann", "max", "dev", "guy", "sue", "rem", "blo", "cha"):
        registry.user(name)
    registry.user("gru", "eng")
    registry.user("adm", administrator=True)
    earlier = registry.project("own", ann="owner", sue="owner")
    scope = ["repository:own/app:pull,push,delete"]
    old = registry.token(basic("sue"), *scope)
    registry.run(registry.tenancy.projects.remove(earlier, ROOT))
    own = registry.project(
        "own", ann="owner", max="maintainer", dev="developer", guy="guest",
        rem="owner", blo="owner", cha="owner",
    )  # fmt: skip
    registry.member(own, "group:eng", "developer")
    registry.member(own, "group:corp/ml", "guest")
    registry.member(own, "workload:ci/repo:a", "developer")
    for name, visibility in [
        ("lender", Visibility.PRIVATE),
        ("inside", Visibility.INTERNAL),
        ("public", Visibility.PUBLIC),
        ("foreign", Visibility.PRIVATE),
    ]:
        registry.project(name, visibility, filler="owner")
    registry.user("filler")
    registry.member(own, "user:filler", "owner")
    with registry.caller(basic("filler")) as filler:
        for repository in (*REPOSITORIES.values(), "own/other", "foreign/other"):
            if not repository.startswith("absent"):
                push_blob(filler, repository, CONFIG)
                push_blob(filler, repository, LAYER)
                put_manifest(filler, repository, "v1", MANIFEST).expect(201)
    lender = registry.run(registry.tenancy.projects.named("lender")).tenant
    registry.run(registry.tenancy.shares.put(lender, own.id, "lender/app", ROOT))
    return _authorizations(registry, own, old)


def _authorizations(registry, own, old):
    scopes = [f"repository:{name}:pull,push,delete" for name in REPOSITORIES.values()]
    scopes.append("registry:catalog:*")

    def token(authorization, *wanted):
        return bearer(registry.token(authorization, *(wanted or scopes[:-1])))

    narrow = registry.access_token("ann", "repository:own/app:pull")
    wide = registry.access_token("ann")
    gone = registry.access_token("ann")
    robots = {
        name: registry.robot(own, name, role, **terms)
        for name, role, terms in [
            ("ci", "developer", {}),
            ("main", "maintainer", {}),
            ("narrow", "maintainer", {"scopes": "repository:own/app:pull"}),
            ("gone", "maintainer", {}),
            ("late", "maintainer", {}),
            ("far", "maintainer", {"networks": ["192.0.2.0/24"]}),
        ]
    }
    callers = {
        "anonymous": None,
        "anonymous with a token": token(None),
        "owner": basic("ann"),
        "owner with a token": token(basic("ann")),
        "maintainer": basic("max"),
        "maintainer with a token": token(basic("max")),
        "developer": basic("dev"),
        "developer with a token": token(basic("dev")),
        "guest": basic("guy"),
        "guest with a token": token(basic("guy")),
        "member by a group": basic("gru"),
        "member by a group with a token": token(basic("gru")),
        "owner with an access token": basic("ann", wide),
        "owner with a narrow access token": basic("ann", narrow),
        "owner with a token of a narrow access token": token(basic("ann", narrow)),
        "owner with a token for pull": token(basic("ann"), "repository:own/app:pull"),
        "owner with a token for the catalog": token(basic("ann"), "registry:catalog:*"),
        "robot": basic("own+ci", robots["ci"]),
        "robot with a token": token(basic("own+ci", robots["ci"])),
        "maintainer robot": basic("own+main", robots["main"]),
        "narrow robot": basic("own+narrow", robots["narrow"]),
        "workload": bearer(issued("https://ci.test", sub="repo:a")),
        "workload, by a password": basic("whoever", issued("https://ci.test", sub="repo:a")),
        "workload with a token": token(basic("x", issued("https://ci.test", sub="repo:a"))),
        "user from elsewhere, by a group": basic("y", issued("https://corp.test", groups=["ml"])),
        "user from elsewhere, no longer in it": basic("y", issued("https://corp.test", groups=[])),
        "stranger": basic("sue"),
        "stranger with a token": token(basic("sue")),
        "administrator": basic("adm"),
        "member that was removed": basic("rem"),
        "member that was removed, with its token": token(basic("rem")),
        "owner of an earlier project of that name, with its token": bearer(old),
        "blocked, with its token": token(basic("blo")),
        "revoked access token, with its token": token(basic("ann", gone)),
        "robot that is gone, with its token": token(basic("own+gone", robots["gone"])),
        "expired robot, with its token": token(basic("own+late", robots["late"])),
        "changed password, with its token": token(basic("cha")),
        "wrong password": basic("ann", "not the password"),
        "no account": basic("nobody-of-that-name"),
        "robot from elsewhere": basic("own+far", robots["far"]),
        "no token": bearer("this.is.none"),
        "no scheme": "Negotiate abcdef",
    }
    _change(registry, own, gone)
    time.sleep(1.1)
    return callers


def issued(issuer, **claims):
    """A token of another issuer."""
    maker = Issuer()
    maker.url, maker.keys = issuer, [signing_key()]
    return maker.token(**claims)


def _change(registry, own, gone):
    """What happens after the tokens were issued."""
    tenancy, root = registry.tenancy, ROOT
    registry.run(tenancy.members.put(own, "user:filler", Role.GUEST, root))
    registry.run(tenancy.members.remove(own, "user:rem", root))
    registry.run(tenancy.accounts.put("blo", AccountTerms((), blocked=True), root))
    registry.run(tenancy.robots.remove(own, "gone", root))
    terms = RobotTerms(Role.MAINTAINER, expires=time.time() + 1)
    registry.run(tenancy.robots.put(own, "late", terms, root))
    registry.run(tenancy.access_tokens.remove("user:ann", gone.split("_")[2], root))
    registry.run(tenancy.accounts.set_password("cha", PASSWORD + "!", root))


def test_every_route_has_its_examples():
    """A new route must be placed here: with a verb, and with requests that are tried."""
    assert set(EXAMPLES) == set(ROUTES)
    for kind, examples in EXAMPLES.items():
        verb, _ = ROUTES[kind]
        assert {example.verb for example in examples} == {verb.value}


def test_every_verb_of_a_route_is_one_of_the_api():
    verbs = {verb for verb, _ in ROUTES.values()}
    assert verbs == {Verb.ENTER, Verb.PULL, Verb.PUSH, Verb.DELETE, Verb.CATALOG}


def refusal(sort: Sort, *, visible: bool) -> tuple[int, str, str]:
    """Status, code, and what the challenge says of the error."""
    if sort.lapsed:
        return 401, "UNAUTHORIZED", 'error="invalid_token"'
    if sort.scheme == "none":
        return 401, "UNAUTHORIZED", ""
    if sort.scheme == "bearer":
        return 401, "UNAUTHORIZED", 'error="insufficient_scope"'
    return (403, "DENIED", "") if visible else (404, "NAME_UNKNOWN", "")


SLOW = ("wrong password", "no account")
"""Each try takes the time of a password check: these are tried with less."""

CASES = [
    (name, where)
    for name in CALLERS
    for where in (REPOSITORIES if name not in SLOW else ("own", "absent"))
]


@pytest.mark.parametrize(("name", "where"), CASES)
def test_matrix(registry, callers, name, where):
    sort = CALLERS[name]
    repository = REPOSITORIES[where]
    verbs = sort.verbs.get(where, NONE)
    # Administrators see every project that there is, and the content of none.
    visible = "pull" in verbs or (name == "administrator" and where != "absent")
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
            status, code, error = refusal(sort, visible=seen)
            assert reply.status == status, told
            if example.method != "HEAD":
                assert reply.code() == code, told
            _check_challenge(reply, example, repository, error, told)


def _check_challenge(reply, example, repository, error, told):
    values = reply.all("WWW-Authenticate")
    if reply.status != 401:
        assert values == [], told
        return
    (value,) = values
    assert re.match(r'Bearer realm="http://127\.0\.0\.1:\d+/token",service="moorage"', value), told
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


@pytest.mark.parametrize("name", [name for name in CALLERS if name != "administrator"])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    """Every path with every method, also those that it does not have."""
    foreign, absent = REPOSITORIES["foreign"], REPOSITORIES["absent"]
    nothing = "foreign/never"  # a repository that is not there, in a project that is
    with registry.caller(callers[name]) as caller:
        for target in TARGETS:
            for method in METHODS if name not in SLOW else ("GET",):
                answers = []
                for repository in (foreign, absent, nothing):
                    reply = caller.request(method, target.replace("{r}", repository))
                    answers.append(comparable(reply, repository))
                assert answers[0] == answers[1] == answers[2], (method, target)
                assert answers[0][0] in (200, 400, 401, 403, 404, 405), (method, target)


def test_the_catalog_lists_what_may_be_pulled(registry, callers):
    every = ["inside/app", "lender/app", "own/app", "own/other", "public/app"]
    expected = {
        "owner": every,
        "owner with an access token": every,
        "owner with a token for the catalog": every,
        "guest": every,
        "robot": every,
        "member by a group": every,
        "stranger": ["inside/app", "public/app"],
        "administrator": ["inside/app", "public/app"],
        "member that was removed": ["inside/app", "public/app"],
    }
    for name, repositories in expected.items():
        with registry.caller(callers[name]) as caller:
            assert caller.get("/v2/_catalog").expect(200).json()["repositories"] == repositories
