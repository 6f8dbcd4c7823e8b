"""Every route of the management API, for every sort of caller, in every sort of project.

What each is expected to get follows from who has which verbs where. A route that is not placed in
`EXAMPLES` fails. Bodies and conditions are such that nobody's request changes anything for others:
whoever is allowed gets past the decision, and that is what is looked at.
"""

from dataclasses import dataclass

import pytest

from auth.policy import Verb
from registry.http.management.route import PREFIX
from registry.http.management.table import ROUTES
from tests.auth.everyone import PROJECTS
from tests.auth.requests import MANIFEST
from tests.auth.test_matrix import CALLERS as OF_THE_API
from tests.management.api import Api
from tests.oracle.content import digest_of

# Path below the prefix and body. `{p}` is a project. They meet nothing, or change nothing.
EXAMPLES = {
    "project.list": ("/projects", None),
    "project.get": ("/projects/{p}", None),
    "project.create": ("/projects/fresh", {"owner": "user:!"}),
    "project.change": ("/projects/{p}", {"visibility": "private"}),
    "project.remove": ("/projects/{p}", None),
    "quota.get": ("/projects/{p}/quota", None),
    "quota.set": ("/projects/{p}/quota", {"bytes": "many"}),
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
    "pull-secret.issue": ("/projects/{p}/pull-secrets/none", {"namespace": "-"}),
    "pull-secret.revoke": ("/projects/{p}/pull-secrets/none", None),
    "retention.get": ("/projects/{p}/retention", None),
    "retention.put": ("/projects/{p}/retention", {"rules": [{"name": "r", "tags": ["*"]}]}),
    "retention.plan": ("/repositories/{p}:app/retention/plan", {}),
    "retention.run": ("/repositories/{p}:app/retention/run", {}),
    "tag-rules.get": ("/projects/{p}/tag-rules", None),
    "tag-rules.put": ("/projects/{p}/tag-rules", {"rules": []}),
    "repository.catalog": ("/repositories", None),
    "repository.list": ("/projects/{p}/repositories", None),
    "repository.tags": ("/repositories/{p}:app/tags", None),
    "tag.get": ("/repositories/{p}:app/tags/v1", None),
    "tag.history": ("/repositories/{p}:app/tags/v1/history", None),
    "tag.derive": (
        "/repositories/{p}:app/tags/v1",
        {"repository": "none", "reference": "none"},
    ),
    "tag.rollback": ("/repositories/{p}:app/tags/none/rollback", {}),
    "tag.delete": ("/repositories/{p}:app/tags/none", None),
    "manifest.describe": (f"/repositories/{{p}}:app/manifests/{digest_of(MANIFEST)}", None),
    "repository.deleted": ("/repositories/{p}:app/deleted", None),
    "repository.delete": ("/repositories/{p}:app", None),
    "repository.undelete-all": ("/repositories/{p}:app/deleted", {}),
    "collection.get": ("/collection", None),
    "scrub.get": ("/scrub", None),
    "blob.describe": (f"/repositories/{{p}}:app/blobs/sha256:{'0' * 64}", None),
    "repository.undelete": (f"/repositories/{{p}}:app/deleted/sha256:{'0' * 64}", {}),
    "repository.pulls": ("/projects/{p}/repositories/{p}:app/pulls", None),
    "environment.list": ("/projects/{p}/environments", None),
    "environment.storage": ("/projects/{p}/storage", None),
    "environment.versions": ("/repositories/{p}:app/versions", None),
    "environment.version": ("/repositories/{p}:app/versions/v1", None),
    "environment.packages": ("/repositories/{p}:app/versions/v1/packages", None),
    "environment.changes": ("/repositories/{p}:app/versions/v1/changes?since=v1", None),
    "webhook.list": ("/projects/{p}/webhooks", None),
    "webhook.get": ("/projects/{p}/webhooks/none", None),
    "webhook.put": ("/projects/{p}/webhooks/none", {"url": "http://none"}),
    "webhook.remove": ("/projects/{p}/webhooks/none", None),
    "webhook.ping": ("/projects/{p}/webhooks/none/ping", {}),
    "webhook.deliveries": ("/projects/{p}/webhooks/none/deliveries", None),
    "webhook.redeliver": ("/projects/{p}/webhooks/none/redeliver", {}),
    "registry-webhook.list": ("/webhooks", None),
    "registry-webhook.get": ("/webhooks/none", None),
    "registry-webhook.put": ("/webhooks/none", {"url": "http://none"}),
    "registry-webhook.remove": ("/webhooks/none", None),
    "registry-webhook.ping": ("/webhooks/none/ping", {}),
    "registry-webhook.deliveries": ("/webhooks/none/deliveries", None),
    "registry-webhook.redeliver": ("/webhooks/none/redeliver", {}),
    "explain": ("/projects/{p}/explain?principal=user:none", None),
    "explain.own": ("/explain?project={p}&verb=push", None),
    "audit.project": ("/projects/{p}/audit", None),
    "audit.registry": ("/audit", None),
    "platform-project.get": ("/platform/projects/119", None),
    "platform-project.put": ("/platform/projects/119", {"name": "base"}),
    "platform-project.end": ("/platform/projects/119", None),
    "platform-member.put": ("/platform/projects/119/members/meb10000", {"role": "Data owner"}),
    "platform-member.end": ("/platform/projects/119/members/meb10000", None),
    "platform.reconcile": ("/platform/reconcile", {"dry_run": True}),
    "platform.event": (
        "/platform/events",
        {"id": "1", "type": "project.deleted", "at": 1, "project": 119},
    ),
    "backup.list": ("/platform/backups", None),
    "backup.create": ("/platform/backups", {"projects": ["none"]}),
    "backup.restore": (
        "/platform/backups/20261126T031500Z-5a2f10/restore",
        {"projects": ["none"]},
    ),
    "backup.delete": ("/platform/backups/20261126T031500Z-5a2f10", None),
    "backup-job.list": ("/platform/backup-jobs", None),
    "backup-job.get": (f"/platform/backup-jobs/{'0' * 13}.{'0' * 16}", None),
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

READER = frozenset({Verb.PULL, Verb.LIST})
GUEST = READER | {Verb.DESCRIBE}
DEVELOPER = GUEST | {Verb.PUSH}
MAINTAINER = DEVELOPER | {Verb.DELETE, Verb.OPERATE}
OWNER = MAINTAINER | {Verb.ADMINISTER}
GOVERNOR = frozenset({Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER})
BEYOND = frozenset({Verb.CREATE, Verb.PROVISION, Verb.GOVERN, Verb.ACCOUNT})
NOTHING: frozenset[Verb] = frozenset()


@dataclass(frozen=True)
class Sort:
    """What a caller may do in its own project, what it reads elsewhere, and what is beyond.

    `reach` is how far its credential reaches: everywhere; as a token of the token service that was
    asked for everything (`token`); for pulls from one repository (`app`), for the management of
    its own project (`manage`), for the catalog, or for nothing that is there now. `governs`: it
    may do the same in every project.
    """

    own: frozenset[Verb] = NOTHING
    reads: frozenset[str] = frozenset({"internal", "public"})
    beyond: frozenset[Verb] = NOTHING
    reach: str = "all"
    bearer: bool = False
    login: bool = True
    lapsed: bool = False
    governs: bool = False
    stale: str = ""
    """Where its token was made for an earlier project of that name, of which it is an owner now."""

    def rights(self, where: str, target: str) -> frozenset[Verb]:
        """What its roles give it there, for the repository, the project's root, the project."""
        rights = self.own if where == "own" else NOTHING
        shown = where in self.reads and (where != "shared" or target == "app")
        if shown:
            rights |= READER
        if self.governs and where != "absent":
            rights |= GOVERNOR
        return rights

    def reaches(self, verb: Verb, where: str, target: str) -> bool:
        """Whether its credential does."""
        match self.reach:
            case "all":
                return True
            case "token" if target == "app":
                return True
            case "token":
                return target == "project" and Verb.DESCRIBE in self.rights(where, "project")
            case "app":
                return target == "app" and where == "own" and verb in READER
            case "repositories":
                return (target == "app" and verb in READER) or verb is Verb.LIST
            case "manage":
                return target == "project" and where == "own"
        return self.reach == "catalog" and verb is Verb.LIST

    def may(self, verb: Verb, where: str, target: str) -> bool:
        """Whether it may do it there."""
        return verb in self.rights(where, target) and self.reaches(verb, where, target)

    def sees(self, where: str, target: str) -> bool:
        """Whether it may know that it is there."""
        return self.may(Verb.PULL, where, target) or self.may(Verb.DESCRIBE, where, "project")


def member(own: frozenset[Verb], **more) -> Sort:
    return Sort(own, frozenset({"shared", "internal", "public"}), **more)


def token(own: frozenset[Verb], **more) -> Sort:
    return member(own, reach="token", bearer=True, **more)


SELF = frozenset({Verb.ACCOUNT})
LAPSED = Sort(lapsed=True)
ROBOT = MAINTAINER - {Verb.OPERATE}
CALLERS = {
    "anonymous": Sort(reads=frozenset({"public"}), login=False),
    "anonymous with a token": Sort(reads=frozenset({"public"}), reach="token", bearer=True),
    "owner": member(OWNER, beyond=SELF),  # user:ann, whose account the examples name
    "owner with a token": token(OWNER),
    "maintainer": member(MAINTAINER),
    "maintainer with a token": token(MAINTAINER),
    "developer": member(DEVELOPER),
    "developer with a token": token(DEVELOPER),
    "guest": member(GUEST),
    "guest with a token": token(GUEST),
    "member by a group": member(DEVELOPER),
    "member by a group with a token": token(DEVELOPER),
    "owner with an access token": member(OWNER, beyond=SELF),
    "owner with a narrow access token": member(OWNER, reach="app"),
    "owner with a token of a narrow access token": member(OWNER, reach="app", bearer=True),
    "owner with a token for pull": member(OWNER, reach="app", bearer=True),
    "owner with a token to manage": member(OWNER, reach="manage", bearer=True),
    "owner with a token for the catalog": member(OWNER, reach="catalog", bearer=True),
    "robot": member(DEVELOPER),
    "robot with a token": token(DEVELOPER),
    "maintainer robot": member(ROBOT),
    "narrow robot": member(ROBOT, reach="app"),
    "workload": member(DEVELOPER, bearer=True),
    "workload, by a password": member(DEVELOPER),
    "workload with a token": token(DEVELOPER),
    "service account": member(GUEST, bearer=True),
    "service account, as kubelet sends it": member(GUEST),
    "service account with a token": token(GUEST),
    "user from elsewhere, by a group": member(GUEST),
    "user from elsewhere, no longer in it": Sort(),
    "platform's user by a key": member(DEVELOPER),
    "platform's user by a key, as docker sends it": member(DEVELOPER),
    "platform's user with a token of such": token(DEVELOPER),
    "platform's user by its token": member(DEVELOPER, bearer=True),
    "platform's user by a key that only reads": member(DEVELOPER, reach="repositories"),
    "platform's user under removal": Sort(),
    "directory's user": member(DEVELOPER),
    "directory's user with a token": token(DEVELOPER),
    "certificate": member(MAINTAINER),
    "certificate with a token": token(MAINTAINER),
    "stranger": Sort(),
    "stranger with a token": Sort(reach="token", bearer=True),
    "administrator": Sort(beyond=BEYOND, governs=True),
    "administrator with a token": Sort(reach="token", bearer=True, governs=True),
    "member that was removed": Sort(),
    "member that was removed, with its token": Sort(reach="token", bearer=True),
    "owner of an earlier project of that name, with its token": Sort(
        reach="none", bearer=True, stale="own"
    ),
} | dict.fromkeys(
    (
        *("expired token", "expired token of another issuer", "workload that no rule fits"),
        *("certificate that no rule fits", "blocked", "blocked, with its token"),
        *("revoked access token", "revoked access token, with its token", "robot that is gone"),
        *("robot that is gone, with its token", "expired robot", "expired robot, with its token"),
        *("changed password", "changed password, with its token", "wrong password", "no account"),
        *("robot from elsewhere", "no token", "no scheme", "platform's user by a revoked key"),
        "directory's user by a wrong password",
    ),
    LAPSED,
)


def test_every_route_is_placed():
    assert set(EXAMPLES) == {route.action for route in ROUTES}


def test_every_sort_of_caller_is_placed(callers):
    assert set(callers) == set(CALLERS)


def target_of(path: str, verb: Verb) -> str:
    """What a route of a project is about."""
    if ":app" in path and not path.startswith("/projects/"):
        return "app"
    return "root" if verb is Verb.LIST else "project"


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("where", PROJECTS)
def test_matrix(registry, callers, name, where):
    api = Api(registry, callers[name])
    removes = {"project.remove", "project.change", "member.remove", "tag.delete", "tag-rules.put"}
    for route in ROUTES:
        path, body = EXAMPLES[route.action]
        if where != "own" and "{p}" not in path:
            continue  # it is about no project: asked once
        path = path.replace("{p}", PROJECTS[where])
        condition = {"If_Match": '"none"'} if route.action in removes else {}
        reply = api.ask(route.method, path, body, **condition)
        told = f"{name} {route.method} {path}: {reply}"
        if route.action == "repository.delete" and reply.status == 200:
            back = api.ask("POST", f"{path}/deleted", {})
            # Beside ``v1`` there is the tag by which the repository of all projects shows it.
            assert (back.status, back.json()["tags"]) == (200, 2), back
        if route.verb is Verb.CATALOG and not CALLERS[name].lapsed:
            if OF_THE_API[name].catalog:
                past(route, reply.status, "", told)
            else:
                assert reply.status in refusals(CALLERS[name]), told
        else:
            check(CALLERS[name], route, where, path, reply, told)


def check(sort, route, where, path, reply, told):
    verb, status = route.verb, reply.status
    code = reply.json()["code"] if status >= 400 else ""
    if sort.lapsed and (verb is not None or status != 403):
        # Nobody need be anybody to make the first administrator: that is for who has the secret.
        assert status == 401, told
    elif verb is None or (verb is Verb.ENTER and sort.login):
        past(route, status, code, told)
    elif verb is Verb.ENTER:
        assert status == 401, told
    elif verb in BEYOND:
        if verb in sort.beyond:
            past(route, status, code, told)
        else:
            assert status in refusals(sort), told
    elif where == sort.stale and verb is not Verb.LIST:
        assert status == 401, told
    elif sort.may(verb, where, target_of(path, verb)):
        past(route, status, code, told)
    elif sort.sees(where, target_of(path, verb)) or not sort.login:
        assert status in refusals(sort), told
    else:
        assert status == 404, told
        assert code in ("project-unknown", "name-unknown"), told


def refusals(sort):
    """401 for who may log in, or get a token that reaches further."""
    if not sort.login:
        return (401,)
    return (401, 403) if sort.bearer else (403,)


def past(route, status, code, told):
    """Past the decision there are other reasons to be refused, but not these."""
    assert status not in (401, 500, 503), told
    assert code != "unauthorized", told
    assert code != "project-unknown" or route.action == "removal.get", told
    if route.action not in ("token.create", "user.bootstrap"):
        assert code != "not-allowed", told


def comparable(reply, name):
    """An answer without what differs in any two answers."""
    number = (reply.get("X-Request-Id") or "").encode()
    headers = [
        (key, value.replace(name, "PROJECT"))
        for key, value in reply.headers
        if key not in ("Date", "X-Request-Id", "Content-Length")
    ]
    return reply.status, headers, reply.body.replace(number, b"").replace(name.encode(), b"PROJECT")


@pytest.mark.parametrize("name", [each for each in CALLERS if not CALLERS[each].governs])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    """Every path with every method, also those that it does not have."""
    paths = {path.partition("?")[0] for path, _ in EXAMPLES.values() if "{p}" in path}
    methods = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
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
