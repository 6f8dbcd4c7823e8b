"""Shares: read-only, revocable, and nothing else crosses the line between two projects."""

import pytest

from auth.identity import Identity, Kind
from auth.roles import Role, Visibility
from registry.service.projects.robots import RobotTerms
from registry.service.projects.shares import cursor
from registry.spec.problems import Invalid, ProjectNameInvalid, ShareUnknown
from storage import keys
from tests.projects.world import ROOT, user

READ = {"pull", "list"}


@pytest.fixture
async def lender(world):
    return await world.project("lender", lena="owner")


@pytest.fixture
async def taker(world):
    return await world.project("taker", tom="owner", tim="guest")


async def test_a_shared_repository_can_be_pulled_by_members_of_the_other_project(
    world, lender, taker
):
    share, new = await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    assert new
    assert (share.target, share.target_id, share.repository) == ("taker", taker.id, "lender/base")
    for name in ("tom", "tim"):
        assert await world.may(user(name), "lender/base") == READ
        for other in ("lender", "lender/other", "lender/base/below", "lender/bas"):
            assert await world.may(user(name), other) == set()
    assert await world.may(user("stranger"), "lender/base") == set()
    # It goes one way.
    assert await world.may(user("lena"), "taker/app") == set()
    await world.tenancy.shares.remove(lender, "taker", "lender/base", ROOT)
    assert await world.may(user("tom"), "lender/base") == set()
    assert await world.keys("shared/") == []


async def test_a_whole_project_is_shared(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, None, ROOT)
    for name in ("lender", "lender/a", "lender/b/c"):
        assert await world.may(user("tim"), name) == READ
    assert await world.may(user("tim"), "lender2/a") == set()
    await world.tenancy.shares.remove(lender, "taker", None, ROOT)
    assert await world.may(user("tim"), "lender/a") == set()


async def test_robots_of_the_other_project_are_served_too(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    await world.tenancy.robots.put(taker, "node", RobotTerms(Role.GUEST), ROOT)
    robot = Identity("robot:taker/node", Kind.ROBOT)
    assert await world.may(robot, "lender/base") == READ
    await world.tenancy.robots.remove(taker, "node", ROOT)
    assert await world.may(robot, "lender/base") == set()


async def test_it_ends_for_who_leaves_the_other_project(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    assert await world.may(user("tim"), "lender/base") == READ
    await world.tenancy.members.remove(taker, "user:tim", ROOT)
    assert await world.may(user("tim"), "lender/base") == set()
    await world.tenancy.members.put(taker, "group:eng", Role.GUEST, ROOT)
    assert await world.may(user("tim", "eng"), "lender/base") == READ
    await world.tenancy.members.remove(taker, "group:eng", ROOT)
    assert await world.may(user("tim", "eng"), "lender/base") == set()


async def test_it_is_not_for_those_who_may_only_pull_from_the_other_project(world, lender, taker):
    """A share is no chain: neither publicity nor another share passes it on."""
    third = await world.project("third", tess="owner")
    await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    await world.tenancy.projects.change(taker, Visibility.PUBLIC, ROOT)
    await world.tenancy.shares.put(taker, third.id, None, ROOT)
    assert await world.may(user("tess"), "taker/app") == READ
    assert await world.may(user("tess"), "lender/base") == set()


async def test_it_is_not_for_one_who_is_half_a_member_of_the_other_project(world, lender, taker):
    """A crash after the index entry, before the record."""
    await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    await world.store.put(keys.part("user:mallory", "taker"), b"")
    assert await world.may(user("mallory"), "lender/base") == set()


async def test_projects_that_share_with_each_other(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, None, ROOT)
    await world.tenancy.shares.put(taker, lender.id, None, ROOT)
    assert await world.may(user("lena"), "taker/x") == READ
    assert await world.may(user("tim"), "lender/x") == READ


async def test_a_later_project_of_that_name_has_no_part_in_it(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, "lender/base", ROOT)
    await world.tenancy.projects.remove(taker, ROOT)
    assert await world.may(user("tom"), "lender/base") == set()
    await world.project("taker", mallory="owner", tom="guest")
    assert await world.may(user("mallory"), "lender/base") == set()
    assert await world.may(user("tom"), "lender/base") == set()
    # It is still listed, and can be revoked by the name that it was given to.
    (share,) = (await world.tenancy.shares.page(lender, "", 10)).items
    assert share.target_id == taker.id
    await world.tenancy.shares.remove(lender, "taker", "lender/base", ROOT)
    assert (await world.tenancy.shares.page(lender, "", 10)).items == []


async def test_a_lender_that_is_made_anew_shares_nothing(world, lender, taker):
    await world.tenancy.shares.put(lender, taker.id, None, ROOT)
    await world.tenancy.projects.remove(lender, ROOT)
    assert await world.may(user("tim"), "lender/base") == set()
    await world.project("lender")
    assert await world.may(user("tim"), "lender/base") == set()
    await world.tenancy.removals.purge_due()
    assert await world.may(user("tim"), "lender/base") == set()


async def test_by_name_for_whoever_has_a_part_in_the_other_project(world, lender, taker):
    lena = user("lena")
    for target in ("taker", "absent1", "0" * 32, lender.id, "lender"):
        with pytest.raises(Invalid) as refused:
            await world.tenancy.shares.put(lender, target, None, lena)
        # What is foreign and what is absent is told in the same words.
        assert refused.value.message.replace(target, "X").startswith(
            "there is no other project 'X' that you have a part in"
        )
    await world.tenancy.members.put(taker, "user:lena", Role.GUEST, ROOT)
    share, _ = await world.tenancy.shares.put(lender, "Taker", None, lena)
    assert share.target_id == taker.id


async def test_shares_that_make_no_sense(world, lender, taker):
    for repository in ("other/x", "lenderx/a", "lender/", "LENDER/x", "", "lender/../x"):
        with pytest.raises(Invalid):
            await world.tenancy.shares.put(lender, taker.id, repository, ROOT)
    with pytest.raises(ProjectNameInvalid):
        await world.tenancy.shares.put(lender, "a/b", None, ROOT)
    with pytest.raises(ShareUnknown):
        await world.tenancy.shares.remove(lender, "taker", None, ROOT)


async def test_sharing_twice_changes_nothing_and_one_revoked_leaves_the_other(world, lender, taker):
    shares = world.tenancy.shares
    first, _ = await shares.put(lender, taker.id, "lender/a", ROOT)
    assert await shares.put(lender, taker.id, "lender/a", ROOT) == (first, False)
    await shares.put(lender, taker.id, "lender/b", ROOT)
    await shares.remove(lender, "taker", "lender/a", ROOT)
    assert await world.may(user("tim"), "lender/a") == set()
    assert await world.may(user("tim"), "lender/b") == READ


async def test_pages(world, lender, taker):
    third = await world.project("third")
    for target in (taker, third):
        for repository in (None, "lender/a", "lender/b/c"):
            await world.tenancy.shares.put(lender, target.id, repository, ROOT)
    found, after = [], ""
    while True:
        leaf = await world.tenancy.shares.page(lender, after, 2)
        found += [(share.target, share.repository) for share in leaf.items]
        if not leaf.more:
            break
        after = cursor(leaf.items[-1])
    assert sorted(found, key=str) == sorted(
        [(name, r) for name in ("taker", "third") for r in (None, "lender/a", "lender/b/c")],
        key=str,
    )


async def test_the_events_tell_of_it(world, lender, taker):
    world.told.clear()
    await world.tenancy.shares.put(lender, taker.id, None, ROOT)
    await world.tenancy.shares.put(lender, taker.id, "lender/a", ROOT)
    await world.tenancy.shares.remove(lender, "taker", None, ROOT)
    assert [(e.kind, e.subject, dict(e.details)) for e in world.told] == [
        ("share.put", "lender", {"target": "taker", "whole": "yes"}),
        ("share.put", "lender/a", {"target": "taker"}),
        ("share.removed", "lender", {"target": "taker", "whole": "yes"}),
    ]
