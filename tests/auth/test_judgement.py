"""The pure core against an oracle of its own, over every combination of facts."""

import itertools
from dataclasses import replace
from ipaddress import ip_network

import pytest

from auth.access import WHOLE, Access, Standing, Tenant
from auth.explain import explain
from auth.identity import ANONYMOUS, Identity, Kind, Scheme
from auth.judgement import Action, Allow, Deny, Why, judge
from auth.roles import PROJECT_VERBS, REPOSITORY_VERBS, RIGHTS, Role, Verb, Visibility
from auth.scopes import Scopes
from registry.spec.names import RepositoryName

NOW = 1_000_000.0
TENANT = Tenant("0123456789abcdef0123456789abcdef", "demo")
APP = RepositoryName("demo/app")
OTHER = RepositoryName("demo/other")
ROOT = RepositoryName("demo")
TABLE = {
    # who: the verbs on a repository and on its project that they have, in words of their own
    None: "",
    Role.GUEST: "pull list describe",
    Role.DEVELOPER: "pull list describe push",
    Role.MAINTAINER: "pull list describe push delete operate",
    Role.OWNER: "pull list describe push delete operate administer",
}
CEILINGS = {
    None: None,
    "pull app": Scopes.parse_ceiling("repository:demo/app:pull"),
    "all of app": Scopes.parse_ceiling("repository:demo/app:pull,push,delete"),
    "all of demo": Scopes.parse_ceiling("repository:demo/*:pull,push,delete project:demo:manage"),
    "catalog": Scopes.parse_ceiling("registry:catalog:*"),
    "elsewhere": Scopes.parse_ceiling("repository:demo2/*:pull,push,delete project:demo2:manage"),
    "nothing": Scopes.parse_ceiling(""),
}
GENERATIONS = {
    None: None,
    "this": {"demo": TENANT.id},
    "earlier": {"demo": "f" * 32},
    "none": {},
}
VERBS = sorted(REPOSITORY_VERBS | PROJECT_VERBS - {Verb.PURGE})


def identity(kind, ceiling, generation):
    name = "anonymous" if kind is Kind.ANONYMOUS else f"{kind}:someone"
    return Identity(name, kind, ceiling=CEILINGS[ceiling], projects=GENERATIONS[generation])


def allowed(kind, role, visibility, shared, administrator, ceiling, generation, verb, repository):
    """The rules once more, written as differently as possible."""
    if kind is Kind.SYSTEM:
        return False
    may = set(TABLE[role].split())
    if kind is Kind.ROBOT:
        may -= {"operate", "administer"}
    if visibility == "public" or (visibility == "internal" and kind is not Kind.ANONYMOUS):
        may |= {"pull", "list"}
    if shared == "whole" or (shared == "app" and repository == APP):
        may |= {"pull", "list"}
    if administrator and kind is not Kind.ROBOT:
        may |= {"describe", "operate", "administer"}
    if verb == "list" and ceiling == "catalog":
        return "list" in may
    wanted = "pull" if verb == "list" else verb
    reaches = {
        None: True,
        "all of demo": True,
        "all of app": verb in REPOSITORY_VERBS and repository == APP,
        "pull app": repository == APP and wanted == "pull",
    }
    return verb in may and reaches.get(ceiling, False) and generation in (None, "this")


def facts(role, visibility, shared, administrator):
    return Access(
        Standing(administrator=administrator),
        TENANT,
        visibility,
        {} if role is None else {"user:someone": role},
        {None: frozenset(), "app": frozenset({APP}), "whole": frozenset({WHOLE})}[shared],
    )


@pytest.mark.parametrize("verb", VERBS)
def test_the_record_of_a_credential_limits_a_token_that_was_made_from_it(verb):
    """The same answers whether a ceiling is the token's own or that of the secret behind it."""
    project = verb in PROJECT_VERBS
    for outer, inner, repository in itertools.product(CEILINGS, CEILINGS, (APP, OTHER)):
        action = Action(verb, project="demo") if project else Action(verb, repository)
        access = replace(
            facts(Role.OWNER, Visibility.PRIVATE, None, administrator=False),
            standing=Standing(ceiling=CEILINGS[inner]),
        )
        who = identity(Kind.USER, outer, None)
        given = (Kind.USER, Role.OWNER, Visibility.PRIVATE, None, False)
        expected = all(allowed(*given, each, None, verb, repository) for each in (outer, inner))
        decision = judge(who, action, access, NOW)
        assert isinstance(decision, Allow) == expected, (outer, inner, verb, repository)


FACTS = list(itertools.product([None, *Role], Visibility, [None, "app", "whole"], [False, True]))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("verb", VERBS)
def test_every_combination_of_facts(kind, verb):
    for (
        role,
        visibility,
        shared,
        administrator,
    ), ceiling, generation, repository in itertools.product(
        FACTS, CEILINGS, GENERATIONS, (APP, OTHER)
    ):
        access = facts(role, visibility, shared, administrator)
        who = identity(kind, ceiling, generation)
        given = (kind, role, visibility, shared, administrator, ceiling, generation)
        if verb in REPOSITORY_VERBS:
            action = Action(verb, repository)
        else:
            action = Action(verb, project="demo")
        decision = judge(who, action, access, NOW)
        expected = allowed(*given, verb, repository)
        assert isinstance(decision, Allow) == expected, (given, verb, repository)
        assert explain(who, action, access, NOW).decision == decision
        if isinstance(decision, Deny):
            sees = [v for v in ("pull", "describe") if allowed(*given, v, repository)]
            if verb in REPOSITORY_VERBS or "describe" in sees:
                assert decision.visible == bool(sees), (given, verb, repository)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", Kind)
def test_a_project_that_nothing_connects_with_gives_nothing(kind, verb):
    decision = judge(identity(kind, None, None), Action(verb, APP), Access(), NOW)
    assert decision == Deny("there is no such project, or it is none of yours", Why.UNRELATED)
    administrator = Access(Standing(administrator=True))
    assert judge(identity(kind, None, None), Action(verb, APP), administrator, NOW) == decision


def test_the_place_is_the_id_with_the_rest_of_the_name():
    access = facts(Role.OWNER, Visibility.PRIVATE, None, administrator=False)
    who = identity(Kind.USER, None, None)
    assert judge(who, Action(Verb.PULL, APP), access, NOW) == Allow(f"{TENANT.id}/app", TENANT)
    assert judge(who, Action(Verb.PULL, ROOT), access, NOW) == Allow(TENANT.id, TENANT)
    action = Action(Verb.OPERATE, project="demo")
    assert judge(who, action, access, NOW) == Allow(TENANT.id, TENANT)


STANDINGS = [
    (Standing(blocked=True), Why.BLOCKED),
    (Standing(revoked=True), Why.REVOKED),
    (Standing(expires=NOW), Why.EXPIRED),
    (Standing(networks=(ip_network("10.0.0.0/8"),)), Why.ADDRESS),
]


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize(("standing", "why"), STANDINGS, ids=str)
def test_a_caller_that_no_longer_stands_may_do_nothing(verb, standing, why):
    """Not even what a public project or an administrator's record would give."""
    standing = Standing(
        administrator=True,
        blocked=standing.blocked,
        revoked=standing.revoked,
        expires=standing.expires,
        networks=standing.networks,
    )
    access = Access(standing, TENANT, Visibility.PUBLIC, {"user:someone": Role.OWNER})
    action = Action(verb, APP, subject="user:someone", address="192.0.2.1")
    decision = judge(identity(Kind.USER, None, None), action, access, NOW, users_create=True)
    assert isinstance(decision, Deny)
    assert (decision.why, decision.visible) == (why, False)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("11.0.0.1", False),
        ("fe80::1", False),
        ("", False),
        ("10.1.2.3.4", False),
        ("unix:", False),
    ],
)
def test_addresses(address, inside):
    standing = Standing(networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert standing.admits(address) == inside


def test_the_account_expires_at_its_second_and_not_before():
    access = Access(Standing(expires=NOW), TENANT, roles={"robot:demo/ci": Role.GUEST})
    who = identity(Kind.ROBOT, None, None)
    assert isinstance(judge(who, Action(Verb.PULL, APP), access, NOW - 0.001), Allow)
    assert isinstance(judge(who, Action(Verb.PULL, APP), access, NOW), Deny)


REGISTRY_VERBS = [
    *(Verb.ENTER, Verb.CATALOG, Verb.CREATE, Verb.ACCOUNT, Verb.PROVISION, Verb.GOVERN),
]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("verb", REGISTRY_VERBS)
def test_what_concerns_no_project(kind, verb):
    cases = itertools.product((False, True), (False, True), (False, True), CEILINGS)
    for administrator, own, users_create, ceiling in cases:
        who = identity(kind, ceiling, None)
        subject = who.name if own else "user:other"
        access = Access(Standing(administrator=administrator))
        action = Action(verb, subject=subject)
        provisioner = who.name if own else "user:platform"
        decision = judge(
            who, action, access, NOW, users_create=users_create, provisioner=provisioner
        )
        user = kind is Kind.USER
        expected = {
            Verb.ENTER: kind is not Kind.ANONYMOUS,
            Verb.CATALOG: kind in (Kind.USER, Kind.ROBOT, Kind.WORKLOAD)
            and ceiling in (None, "catalog"),
            Verb.CREATE: (administrator or (user and users_create)) and ceiling is None,
            Verb.ACCOUNT: (administrator or (user and own)) and ceiling is None,
            Verb.PROVISION: (administrator or own) and ceiling is None,
            Verb.GOVERN: administrator and ceiling is None,
        }[verb]
        assert isinstance(decision, Allow) == expected, (administrator, own, users_create, ceiling)


def test_a_token_of_nobody_is_a_login_too():
    who = replace(ANONYMOUS, scheme=Scheme.BEARER, ceiling=Scopes.parse(""), projects={})
    assert isinstance(judge(who, Action(Verb.ENTER), Access(), NOW), Allow)
    assert isinstance(judge(ANONYMOUS, Action(Verb.ENTER), Access(), NOW), Deny)


def test_purging_is_for_no_caller():
    access = facts(Role.OWNER, Visibility.PUBLIC, "whole", administrator=True)
    for kind in Kind:
        action = Action(Verb.PURGE, project="demo")
        assert isinstance(judge(identity(kind, None, None), action, access, NOW), Deny)


def test_anonymous_pulls_what_is_public():
    access = facts(None, Visibility.PUBLIC, None, administrator=False)
    assert isinstance(judge(ANONYMOUS, Action(Verb.PULL, APP), access, NOW), Allow)
    denied = judge(ANONYMOUS, Action(Verb.PUSH, APP), access, NOW)
    assert isinstance(denied, Deny)
    assert denied.visible


def test_the_highest_of_several_roles_counts():
    roles = {"user:a": Role.GUEST, "group:x": Role.MAINTAINER, "group:y": Role.DEVELOPER}
    assert Access(roles=roles).role is Role.MAINTAINER
    assert Access().role is None


def test_each_role_has_all_rights_of_the_lower_ones():
    for lower, higher in itertools.pairwise(Role):
        assert RIGHTS[lower] < RIGHTS[higher]
        assert lower.rank < higher.rank


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Data owner", Role.OWNER),
        ("data scientist", Role.DEVELOPER),
        ("Observer", Role.GUEST),
        ("Feature store restricted", Role.GUEST),
        (" Owner ", Role.OWNER),
        ("guest", Role.GUEST),
    ],
)
def test_roles_by_their_names_and_those_of_the_platform(text, role):
    assert Role.parse(text) is role


@pytest.mark.parametrize("text", ["", "Under removal", "admin", "owner\n x", "dev", "*"])
def test_other_texts_are_no_roles(text):
    with pytest.raises(ValueError, match="is no role: use guest, developer, maintainer, owner"):
        Role.parse(text)


def test_a_refusal_tells_what_to_do():
    access = facts(Role.GUEST, Visibility.PRIVATE, None, administrator=False)
    who = identity(Kind.USER, None, None)
    denied = judge(who, Action(Verb.PUSH, APP), access, NOW)
    assert denied == Deny(
        "your role is guest in this project; to push takes the role developer: "
        "ask one of its owners",
        Why.ROLE,
        visible=True,
        tenant=TENANT,
    )


def test_an_explanation_names_every_fact():
    access = Access(
        Standing(administrator=True),
        TENANT,
        Visibility.INTERNAL,
        {"group:eng": Role.GUEST, "user:someone": Role.DEVELOPER},
        frozenset({APP}),
    )
    who = identity(Kind.USER, "pull app", None)
    told = explain(who, Action(Verb.PUSH, APP), access, NOW)
    assert told.decision.why is Why.CEILING
    assert told.findings == (
        "group:eng has the role guest",
        "user:someone has the role developer",
        "the project is internal",
        "demo/app is shared with a project of user:someone",
        "user:someone is an administrator of the registry",
        "together these give: administer, describe, list, operate, pull, push",
        "the credential is not good for it, whatever its owner may do",
    )
