"""Every route of the management API, for every sort of caller, in every sort of project.

What each is expected to get follows from who has which verbs where. A route that is not placed in
`EXAMPLES` fails. Bodies and conditions are such that nobody's request changes anything for others:
whoever is allowed gets past the decision, and that is what is looked at.
"""

from dataclasses import dataclass

import pytest

from auth.policy import Verb
from auth.roles import Visibility
from registry.http.management.route import PREFIX
from registry.http.management.table import ROUTES
from registry.service.projects.accounts import AccountTerms
from tests.auth.tenants import ROOT, basic, bearer, tenants
from tests.management.api import Api
from tests.oracle.content import push_image

# Path below the prefix and body. `{p}` is a project. They meet nothing, or change nothing.
EXAMPLES = {
    "project.list": ("/projects", None),
    "project.get": ("/projects/{p}", None),
    "project.create": ("/projects/fresh", {"owner": "user:!"}),
    "project.change": ("/projects/{p}", {"visibility": "private"}),
    "project.remove": ("/projects/{p}", None),
    "removal.list": ("/removals", None),
    "removal.get": ("/removals/none", None),
    "member.list": ("/projects/{p}/members", None),
    "member.get": ("/projects/{p}/members/user:none", None),
    "member.put": ("/projects/{p}/members/user:none", {"role": "king"}),
    "member.remove": ("/projects/{p}/members/user:none", None),
    "share.list": ("/projects/{p}/shares", None),
    "share.put": ("/projects/{p}/shares/none", None),
    "share.remove": ("/projects/{p}/shares/none", None),
    "robot.list": ("/projects/{p}/robots", None),
    "robot.get": ("/projects/{p}/robots/none", None),
    "robot.put": ("/projects/{p}/robots/none", {"role": "owner"}),
    "robot.rotate": ("/projects/{p}/robots/none/secrets", {}),
    "robot.remove": ("/projects/{p}/robots/none", None),
    "repository.list": ("/projects/{p}/repositories", None),
    "repository.tags": ("/repositories/{p}:app/tags", None),
    "tag.get": ("/repositories/{p}:app/tags/v1", None),
    "tag.delete": ("/repositories/{p}:app/tags/none", None),
    "explain": ("/projects/{p}/explain?principal=user:none", None),
    "audit.project": ("/projects/{p}/audit", None),
    "audit.registry": ("/audit", None),
    "whoami": ("/whoami", None),
    "user.list": ("/users", None),
    "user.get": ("/users/ann", None),
    "user.put": ("/users/none", {"password": "short"}),
    "user.remove": ("/users/none", None),
    "user.password": ("/password?user=ann", {"password": "short"}),
    "user.bootstrap": ("/bootstrap", {"secret": "none", "name": "x", "password": "short"}),
    "token.list": ("/tokens?user=ann", None),
    "token.create": ("/tokens?user=ann", {"label": "\u0007"}),
    "token.remove": ("/tokens/none?user=ann", None),
}

MEMBER = {Verb.PULL, Verb.LIST, Verb.DESCRIBE}
DELETER = MEMBER | {Verb.DELETE, Verb.OPERATE}
OWNER = DELETER | {Verb.ADMINISTER}
READER = {Verb.PULL, Verb.LIST}
GOVERNOR = {Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER}
BEYOND = {Verb.CREATE, Verb.GOVERN, Verb.ACCOUNT}


@dataclass(frozen=True)
class Sort:
    """What a caller may do in its own project, in a public one, and beyond projects.

    `lapsed`: its credentials are the trouble. `governs`: it may do the same everywhere.
    """

    own: frozenset
    beyond: frozenset = frozenset()
    public: frozenset = frozenset(READER)
    login: bool = True
    lapsed: bool = False
    governs: bool = False
    bearer: bool = False
    narrow: bool = False
    """Its credential reaches one repository, and lets nothing else of the project be seen."""


def _sort(own=(), beyond=(), **more):
    return Sort(frozenset(own), frozenset(beyond), **more)


SELF = {Verb.ACCOUNT}
CALLERS = {
    "anonymous": _sort(login=False),
    "owner": _sort(OWNER, SELF),  # user:ann, whose account the examples name
    "owner with an access token": _sort(OWNER, SELF),
    "owner with a narrow access token": _sort(
        READER - {Verb.LIST}, public=frozenset(), narrow=True
    ),
    "owner with a token to manage": _sort(GOVERNOR, public=frozenset(), bearer=True),
    "owner with a token to pull": _sort({Verb.PULL}, public=frozenset(), bearer=True, narrow=True),
    "maintainer": _sort(DELETER),
    "developer": _sort(MEMBER),
    "guest": _sort(MEMBER),
    "robot": _sort(MEMBER),
    "maintainer robot": _sort(MEMBER | {Verb.DELETE}),
    "administrator": _sort(GOVERNOR, BEYOND, governs=True),
    "stranger": _sort(),
    "member that was removed": _sort(),
    "blocked": _sort(lapsed=True),
    "wrong password": _sort(lapsed=True),
    "no token": _sort(lapsed=True),
}
WHERE = {"own": "own", "public": "public", "foreign": "foreign", "absent": "absent1"}


@pytest.fixture(scope="module")
def registry():
    with tenants() as registry:
        yield registry


@pytest.fixture(scope="module")
def callers(registry):
    for name in ("ann", "max", "dev", "guy", "sue", "rem", "blo", "filler"):
        registry.user(name)
    registry.user("adm", administrator=True)
    own = registry.project(
        "own", ann="owner", max="maintainer", dev="developer", guy="guest", rem="owner",
        filler="owner", blo="owner",
    )  # fmt: skip
    registry.project("public", Visibility.PUBLIC, filler="owner")
    registry.project("foreign", filler="owner")
    with registry.caller(basic("filler")) as filler:
        for name in ("own", "public", "foreign"):
            push_image(filler, f"{name}/app", 1, "v1")
    ci = registry.robot(own, "ci", "developer")
    main = registry.robot(own, "main", "maintainer")
    narrow = registry.access_token("ann", "repository:own/app:pull")
    manage = registry.token(basic("ann"), "project:own:manage")
    pull = registry.token(basic("ann"), "repository:own/app:pull")
    registry.run(registry.tenancy.members.remove(own, "user:rem", ROOT))
    registry.run(registry.tenancy.accounts.put("blo", AccountTerms((), blocked=True), ROOT))
    return {
        "anonymous": None,
        "owner": basic("ann"),
        "owner with an access token": basic("ann", registry.access_token("ann")),
        "owner with a narrow access token": basic("ann", narrow),
        "owner with a token to manage": bearer(manage),
        "owner with a token to pull": bearer(pull),
        "maintainer": basic("max"),
        "developer": basic("dev"),
        "guest": basic("guy"),
        "robot": basic("own+ci", ci),
        "maintainer robot": basic("own+main", main),
        "administrator": basic("adm"),
        "stranger": basic("sue"),
        "member that was removed": basic("rem"),
        "blocked": basic("blo"),
        "wrong password": basic("ann", "not the password"),
        "no token": bearer("this.is.none"),
    }


def test_every_route_is_placed():
    assert set(EXAMPLES) == {route.action for route in ROUTES}


def allowed(sort, verb, where):
    """Whether the caller may do it there."""
    if verb is None:
        return True
    if verb is Verb.ENTER:
        return sort.login
    if verb in BEYOND:
        return verb in sort.beyond
    if sort.governs and where != "absent":
        return verb in sort.own or (where == "public" and verb in READER)
    if where == "own":
        return verb in sort.own
    return where == "public" and verb in sort.public


def visible(sort, where):
    """Whether it may know that the project is there."""
    if sort.governs:
        return where != "absent"
    if where == "own":
        return bool(sort.own & {Verb.PULL, Verb.DESCRIBE})
    return where == "public" and Verb.PULL in sort.public


SLOW = ("wrong password", "blocked")


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("where", WHERE)
def test_matrix(registry, callers, name, where):
    sort = CALLERS[name]
    if name in SLOW and where != "own":
        pytest.skip("each try takes the time of a password check: it is made in one project only")
    api = Api(registry, callers[name])
    removes = {"project.remove", "project.change", "member.remove", "tag.delete"}
    for route in ROUTES:
        path, body = EXAMPLES[route.action]
        path = path.replace("{p}", WHERE[where])
        condition = {"If_Match": '"none"'} if route.action in removes else {}
        reply = api.ask(route.method, path, body, **condition)
        told = f"{name} {route.method} {path}: {reply}"
        if sort.lapsed:
            assert reply.status == 401, told
        elif allowed(sort, route.verb, where):
            code = reply.json()["code"] if reply.status >= 400 else ""
            assert reply.status not in (401, 500, 503), told
            # Past the decision there are other reasons to be refused, but not these two.
            assert code not in ("project-unknown", "unauthorized") or (
                route.action == "removal.get" and code == "project-unknown"
            ), told
            if route.action not in ("token.create", "user.bootstrap"):
                assert code != "not-allowed", told
        elif not sort.login:
            assert reply.status == 401, told
        elif route.verb in BEYOND:
            assert reply.status == (401 if sort.bearer and reply.status == 401 else 403), told
        elif visible(sort, where) and not (sort.narrow and ":app" not in path):
            assert reply.status in ((401, 403) if sort.bearer else (403,)), told
        else:
            assert reply.status == 404, told
            assert reply.json()["code"] in ("project-unknown", "name-unknown"), told


def comparable(reply, name):
    """An answer without what differs in any two answers."""
    number = (reply.get("X-Request-Id") or "").encode()
    headers = [
        (key, value.replace(name, "PROJECT"))
        for key, value in reply.headers
        if key not in ("Date", "X-Request-Id", "Content-Length")
    ]
    return reply.status, headers, reply.body.replace(number, b"").replace(name.encode(), b"PROJECT")


@pytest.mark.parametrize("name", [each for each in CALLERS if each != "administrator"])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    """Every path with every method, also those that it does not have."""
    paths = {path.partition("?")[0] for path, _ in EXAMPLES.values() if "{p}" in path}
    methods = ("GET",) if name in SLOW else ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
    with registry.caller(callers[name]) as caller:
        for path in sorted(paths):
            for method in methods:
                answers = []
                for project in ("foreign", "absent1"):
                    target = PREFIX + path.replace("{p}", project)
                    kind = [("Content-Type", "application/json")]
                    answers.append(comparable(caller.request(method, target, kind), project))
                assert answers[0] == answers[1], (method, path)
                assert answers[0][0] in (400, 401, 403, 404, 405), (method, path, answers[0])
