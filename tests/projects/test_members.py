"""Members: users, groups and workloads; and that a decision sees every change at once."""

import asyncio
import re
from dataclasses import replace

import pytest

from auth.identity import Identity, Kind
from auth.policy import Action, Verb
from auth.roles import Role
from auth.scopes import Scopes
from registry.service.projects.members import MAX_MEMBERS
from registry.service.projects.stamps import project_stamp
from registry.spec.names import RepositoryName
from registry.spec.problems import (
    Changed,
    LastOwner,
    MemberUnknown,
    PrincipalInvalid,
    ProjectUnknown,
    TooMany,
)
from storage import keys
from tests.projects.world import ROOT, bearer, user

PRINCIPALS = [
    "user:alice",
    "user:alice@example.org",
    "user:corp/alice+test",
    "user:a!=%*",
    "group:ml eng".replace(" ", "_"),
    "group:corp/a.b",
    "workload:ci/repo:octo/x:ref:refs/heads/main",
]


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_whatever_a_principal_is_called(world, principal):
    tenant = await world.project("demo")
    member, new = await world.tenancy.members.put(tenant, principal, Role.GUEST, ROOT)
    assert new
    assert member.principal == principal
    assert await world.tenancy.members.get(tenant, principal) == member
    kind, _, name = principal.partition(":")
    caller = user("whoever", name) if kind == "group" else Identity(principal, Kind(kind))
    assert await world.may(caller, "demo/app") == {"pull", "list"}
    await world.tenancy.members.remove(tenant, principal, ROOT)
    assert await world.may(caller, "demo/app") == set()
    assert await world.keys(f"principals/{keys.principal_segment(principal)}!/") == []


@pytest.mark.parametrize(
    "text",
    [
        *["", "alice", "user:", "robot:demo/ci", "admin:root", "system:purger", "anonymous"],
        *["user:a b", "user:a\n", "user:\xe9", "everyone", "users", "user:" + "x" * 201, "USER:a"],
        "user:" + "/" * 100,
    ],
)
async def test_what_can_be_no_member(world, text):
    tenant = await world.project("demo")
    with pytest.raises(PrincipalInvalid):
        await world.tenancy.members.put(tenant, text, Role.GUEST, ROOT)
    with pytest.raises((PrincipalInvalid, MemberUnknown)):
        await world.tenancy.members.get(tenant, text)


async def test_a_role_that_changes_counts_at_once_for_a_token_too(world, alice):
    tenant = await world.project("demo", alice="maintainer")
    scopes = Scopes.parse("repository:demo/app:pull,push,delete")
    token = bearer(alice, scopes, demo=tenant.id)
    for role, verbs in [
        ("maintainer", {"pull", "push", "delete", "list"}),
        ("guest", {"pull", "list"}),
        ("owner", {"pull", "push", "delete", "list"}),
        ("developer", {"pull", "push", "list"}),
    ]:
        await world.tenancy.members.put(tenant, "user:alice", Role(role), ROOT)
        assert await world.may(alice, "demo/app") == verbs
        assert await world.may(token, "demo/app") == verbs
    await world.tenancy.members.remove(tenant, "user:alice", ROOT)
    assert await world.may(alice, "demo/app") == set()
    assert await world.may(token, "demo/app") == set()


async def test_the_highest_of_own_and_groups_roles(world):
    tenant = await world.project("demo", carol="guest")
    await world.tenancy.members.put(tenant, "group:eng", Role.DEVELOPER, ROOT)
    await world.tenancy.members.put(tenant, "group:ops", Role.MAINTAINER, ROOT)
    assert await world.may(user("carol"), "demo/a") == {"pull", "list"}
    assert await world.may(user("carol", "eng"), "demo/a") == {"pull", "push", "list"}
    everything = {"pull", "push", "delete", "list"}
    assert await world.may(user("carol", "eng", "ops"), "demo/a") == everything
    await world.tenancy.members.remove(tenant, "group:ops", ROOT)
    assert await world.may(user("carol", "eng", "ops"), "demo/a") == {"pull", "push", "list"}


async def test_a_group_that_a_token_no_longer_names_counts_no_more(world):
    """CVE-2025-23208: what an earlier credential said is not joined to what this one says."""
    tenant = await world.project("demo")
    await world.tenancy.members.put(tenant, "group:eng", Role.OWNER, ROOT)
    assert await world.may(user("carol", "eng"), "demo/a")
    assert await world.may(user("carol"), "demo/a") == set()
    assert await world.may(user("carol", "sales"), "demo/a") == set()


async def test_a_users_name_is_no_groups_name(world):
    tenant = await world.project("demo")
    await world.tenancy.members.put(tenant, "user:eng", Role.OWNER, ROOT)
    assert await world.may(user("carol", "eng"), "demo/a") == set()
    await world.tenancy.members.put(tenant, "group:carol", Role.OWNER, ROOT)
    assert await world.may(user("carol"), "demo/a") == set()


async def test_putting_a_member_twice_changes_nothing(world):
    tenant = await world.project("demo")
    first, _ = await world.tenancy.members.put(tenant, "user:x", Role.GUEST, ROOT)
    told = len(world.told)
    again, new = await world.tenancy.members.put(tenant, "user:x", Role.GUEST, ROOT)
    assert (again, new) == (first, False)
    assert len(world.told) == told


async def test_changes_by_version(world):
    tenant = await world.project("demo")
    members = world.tenancy.members
    member, _ = await members.put(tenant, "user:x", Role.GUEST, ROOT, "")
    with pytest.raises(Changed):
        await members.put(tenant, "user:x", Role.OWNER, ROOT, "")
    changed, _ = await members.put(tenant, "user:x", Role.OWNER, ROOT, member.version)
    with pytest.raises(Changed):
        await members.put(tenant, "user:x", Role.GUEST, ROOT, member.version)
    with pytest.raises(Changed):
        await members.remove(tenant, "user:x", ROOT, member.version)
    await members.remove(tenant, "user:x", ROOT, changed.version)


async def test_the_only_owner_stays(world):
    tenant = await world.project("demo")
    members = world.tenancy.members
    with pytest.raises(LastOwner):
        await members.remove(tenant, "user:owner-of-all", ROOT)
    with pytest.raises(LastOwner):
        await members.put(tenant, "user:owner-of-all", Role.GUEST, ROOT)
    await members.put(tenant, "user:zoe", Role.OWNER, ROOT)
    await members.put(tenant, "user:owner-of-all", Role.GUEST, ROOT)
    with pytest.raises(LastOwner):
        await members.remove(tenant, "user:zoe", ROOT)


async def test_unknown_members_and_projects(world):
    tenant = await world.project("demo")
    members = world.tenancy.members
    with pytest.raises(MemberUnknown):
        await members.get(tenant, "user:never")
    with pytest.raises(MemberUnknown):
        await members.remove(tenant, "user:never", ROOT)
    await members.put(tenant, "user:x", Role.GUEST, ROOT)
    await members.remove(tenant, "user:x", ROOT)
    with pytest.raises(MemberUnknown):
        await members.get(tenant, "user:x")
    gone = replace(tenant, id="0" * 32)
    with pytest.raises(ProjectUnknown):
        await members.put(gone, "user:x", Role.GUEST, ROOT)


async def test_pages(world):
    tenant = await world.project("demo", **dict.fromkeys("edcba", "guest"))
    found, after = [], ""
    while True:
        leaf = await world.tenancy.members.page(tenant, after, 2)
        found += [member.principal for member in leaf.items]
        if not leaf.more:
            break
        after = found[-1]
    assert found == [*(f"user:{name}" for name in "abcde"), "user:owner-of-all"]


async def test_there_are_only_so_many(world):
    tenant = await world.project("demo")
    for number in range(MAX_MEMBERS - 1):
        await world.store.put(keys.member(tenant.id, f"user:x{number}"), b"{}")
    with pytest.raises(TooMany):
        await world.tenancy.members.put(tenant, "user:one-more", Role.GUEST, ROOT)
    # Who is there already may change.
    await world.tenancy.members.put(tenant, "user:owner-of-all", Role.OWNER, ROOT)


async def test_a_member_half_made_has_no_access(world):
    """A crash after the index entry, before the record."""
    await world.project("demo")
    await world.store.put(keys.part("user:mallory", "demo"), b"")
    assert await world.may(user("mallory"), "demo/a") == set()


async def test_members_are_not_put_while_the_project_changes(world):
    """Whoever removes the project meanwhile is waited for, and then there is none."""
    tenant = await world.project("demo")
    async with world.coordinator.change(project_stamp("demo")):
        putting = asyncio.ensure_future(
            world.tenancy.members.put(tenant, "user:late", Role.OWNER, ROOT)
        )
        await asyncio.sleep(0.05)
        assert not putting.done()
        assert await world.keys(keys.parts("user:late")) == []
        await world.store.delete(keys.project("demo"))
    with pytest.raises(ProjectUnknown):
        await putting
    assert await world.keys(keys.parts("user:late")) == []


async def test_decisions_made_while_members_change_are_of_before_or_after(world, alice):
    tenant = await world.project("demo", alice="guest")
    action = Action(Verb.PUSH, RepositoryName("demo/a"))
    stop = False
    seen = []

    async def ask():
        while not stop:
            decision = await world.tenancy.policy.decide(alice, action)
            seen.append(type(decision).__name__)
            await asyncio.sleep(0)

    asking = [asyncio.ensure_future(ask()) for _ in range(4)]
    for _ in range(50):
        await world.tenancy.members.put(tenant, "user:alice", Role.OWNER, ROOT)
        assert "push" in await world.may(alice, "demo/a")
        await world.tenancy.members.put(tenant, "user:alice", Role.GUEST, ROOT)
        assert "push" not in await world.may(alice, "demo/a")
    stop = True
    await asyncio.gather(*asking)
    assert len(seen) > 50


async def test_what_is_decided_again_is_not_read_again(world, alice):
    await world.project("demo", alice="guest")
    await world.may(alice, "demo/a")
    reads = []
    inner = world.store.get

    async def counting(key):
        reads.append(key)
        return await inner(key)

    world.store.get = counting
    for _ in range(10):
        await world.may(alice, "demo/a")
    assert reads == []
    assert world.tenancy.directory.known.hits > 30


async def test_a_foreign_project_and_an_absent_one_take_the_same_reads(world, monkeypatch):
    """Whether the caller's own index was never read, has changed since it was, or is known."""
    await world.project("foreign")
    await world.may(user("first"), "absent/a")  # what is open to all is known from now on
    reads = []

    def note(method):
        inner = getattr(world.store, method)

        async def noted(key, *args, **more):
            reads.append((method, re.sub("foreign|absent|alice|bobby", "", key)))
            return await inner(key, *args, **more)

        monkeypatch.setattr(world.store, method, noted)

    for method in ("get", "stat", "list"):
        note(method)
    for number, standing in enumerate(["never read", "changed", "changed", "known"]):
        if standing == "changed":
            await world.project(f"own-{number}", alice="guest", bobby="guest")
        found = []
        for who, name in (("alice", "foreign"), ("bobby", "absent")):
            reads.clear()
            assert await world.may(user(who), f"{name}/a") == set()
            found.append(list(reads))
        assert found[0] == found[1], standing
        assert ("list" in dict(found[0])) == (standing != "known")


async def test_the_events_tell_who_did_what(world, alice):
    tenant = await world.project("demo")
    world.told.clear()
    await world.tenancy.members.put(tenant, "user:bob", Role.DEVELOPER, alice)
    await world.tenancy.members.remove(tenant, "user:bob", alice)
    assert [(e.kind, e.by, e.subject, e.project, e.tenant, e.details) for e in world.told] == [
        ("member.put", "user:alice", "user:bob", "demo", tenant.id, {"role": "developer"}),
        ("member.removed", "user:alice", "user:bob", "demo", tenant.id, {}),
    ]
