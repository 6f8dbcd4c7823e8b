"""Decisions are remembered for one caller and one state of the facts, and no longer."""

from ipaddress import ip_network

import pytest

from auth import policy
from auth.access import Access, Standing, Tenant
from auth.identity import Identity
from auth.policy import Action, Allow, Deny, ProjectPolicy, Verb
from auth.roles import Role
from auth.scopes import Scopes
from registry.spec.names import RepositoryName

DEMO = Tenant("0" * 32, "demo")
ENV = RepositoryName("demo/env")
PULL, PUSH = Action(Verb.PULL, ENV), Action(Verb.PUSH, ENV)


class Directory:
    """Facts that a test changes, with a proof that tells."""

    def __init__(self, **facts):
        self.facts = Access(tenant=DEMO, **facts)

    async def access(self, identity, project):
        return self.facts

    def proof(self, identity, project, access):
        async def holds():
            return self.facts is access

        return holds

    async def standing(self, identity):
        return self.facts.standing


@pytest.fixture
def judged(monkeypatch):
    """The actions that were judged, not remembered."""
    seen = []

    def judge(identity, action, *rest, **more):
        seen.append(action)
        return real(identity, action, *rest, **more)

    real = policy.judge
    monkeypatch.setattr(policy, "judge", judge)
    return seen


async def may(by, identity, action):
    return isinstance(await by.decide(identity, action), Allow)


async def test_the_same_caller_and_facts_are_judged_once(judged):
    by = ProjectPolicy(Directory(roles={"user:a": Role.GUEST}))
    alice = Identity("user:a")
    assert [await may(by, alice, PULL) for _ in range(3)] == [True] * 3
    assert [await may(by, alice, PUSH) for _ in range(3)] == [False] * 3
    assert judged == [PULL, PUSH]


async def test_changed_facts_are_judged_anew():
    facts = Directory(roles={"user:a": Role.OWNER})
    by = ProjectPolicy(facts)
    alice = Identity("user:a")
    assert await may(by, alice, PUSH)
    facts.facts = Access(tenant=DEMO, roles={"user:a": Role.GUEST})
    assert not await may(by, alice, PUSH)
    facts.facts = Access(Standing(blocked=True), DEMO, roles={"user:a": Role.OWNER})
    assert not await may(by, alice, PULL)


async def test_another_credential_of_the_same_caller_is_judged_by_itself():
    by = ProjectPolicy(Directory(roles={"user:a": Role.OWNER}))
    for actions, expected in (("pull,push", True), ("pull", False)):
        ceiling = Scopes.parse(f"repository:demo/env:{actions}")
        assert await may(by, Identity("user:a", ceiling=ceiling), PUSH) is expected
    assert await may(by, Identity("user:a"), PUSH)


async def test_where_time_or_address_matter_nothing_is_remembered(judged):
    now = [100.0]
    roles = {"user:a": Role.OWNER}
    by = ProjectPolicy(
        Directory(standing=Standing(expires=150.0), roles=roles), clock=lambda: now[0]
    )
    alice = Identity("user:a")
    assert await may(by, alice, PULL)
    now[0] = 151.0
    assert not await may(by, alice, PULL)
    networks = Standing(networks=(ip_network("10.0.0.0/8"),))
    by = ProjectPolicy(Directory(standing=networks, roles=roles))
    assert await may(by, alice, Action(Verb.PULL, ENV, address="10.1.2.3"))
    assert not await may(by, alice, Action(Verb.PULL, ENV, address="192.0.2.1"))
    assert len(judged) == 4


async def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(policy, "_JUDGED", 10)
    by = ProjectPolicy(Directory())
    alice = Identity("user:a")
    for number in range(50):
        action = Action(Verb.PULL, RepositoryName(f"demo/{number}"))
        assert isinstance(await by.decide(alice, action), Deny)
    assert len(by._judged) <= 11
