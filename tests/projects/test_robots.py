"""Robot accounts: terms, secrets that rotate, and an end that counts at once."""

import time
from dataclasses import replace

import pytest

from auth.identity import SECRET, Identity, Kind, Scheme
from auth.roles import Role, Visibility
from auth.scopes import Scopes
from registry.service.projects.robots import MAX_OVERLAP, MAX_ROBOTS, MAX_SECRETS, RobotTerms
from registry.spec.problems import Changed, Invalid, ProjectUnknown, RobotUnknown, TooMany
from storage import keys
from tests.projects.world import ROOT, bearer


@pytest.fixture
async def demo(world):
    return await world.project("demo")


async def put(world, tenant, name="ci", role=Role.DEVELOPER, **terms):
    return await world.tenancy.robots.put(tenant, name, RobotTerms(role, **terms), ROOT)


async def check(world, secret, login="demo+ci", address="192.0.2.1"):
    return await world.tenancy.credentials.check(login, secret, address)


async def test_a_robot_and_its_secret(world, demo):
    issued = await put(world, demo)
    robot = issued.robot
    assert (robot.login, robot.role, robot.scopes, robot.networks) == (
        "demo+ci",
        Role.DEVELOPER,
        None,
        (),
    )
    identity = await check(world, issued.secret)
    assert identity == Identity(
        "robot:demo/ci",
        Kind.ROBOT,
        scheme=Scheme.BASIC,
        credential=SECRET + robot.secrets[0][0],
    )
    assert await world.may(identity, "demo/app") == {"pull", "push", "list"}
    # It is shown once, and kept as a hash only.
    assert issued.secret not in repr(issued)
    kept = (await world.store.get(keys.robot(demo.id, "ci"))).data.decode()
    assert issued.secret not in kept
    assert issued.secret.rpartition("_")[2] not in kept
    assert await world.tenancy.robots.get(demo, "ci") == robot


@pytest.mark.parametrize(
    ("role", "verbs"),
    [
        (Role.GUEST, {"pull", "list"}),
        (Role.DEVELOPER, {"pull", "push", "list"}),
        (Role.MAINTAINER, {"pull", "push", "delete", "list"}),
    ],
)
async def test_roles(world, demo, role, verbs):
    identity = await check(world, (await put(world, demo, role=role)).secret)
    assert await world.may(identity, "demo/app") == verbs
    await world.project("other")
    assert await world.may(identity, "other/app") == set()


async def test_terms_that_change_count_at_once(world, demo):
    secret = (await put(world, demo)).secret
    identity = await check(world, secret)
    changed = await put(world, demo, role=Role.GUEST)
    assert changed.secret is None
    assert await world.may(identity, "demo/app") == {"pull", "list"}
    assert await check(world, secret) is not None


async def test_scopes_narrow_it(world, demo):
    secret = (await put(world, demo, scopes="repository:demo/app:pull,push")).secret
    identity = await check(world, secret)
    assert await world.may(identity, "demo/app") == {"pull", "push", "list"}
    assert await world.may(identity, "demo/other") == set()
    # A new limit needs no new secret, and counts for tokens that were made before.
    token = bearer(identity, Scopes.parse("repository:demo/app:pull,push"), demo=demo.id)
    await put(world, demo, scopes="repository:demo/*:pull")
    assert await world.may(token, "demo/app") == {"pull", "list"}
    identity = await check(world, secret)
    assert await world.may(identity, "demo/other") == {"pull", "list"}


async def test_networks(world, demo):
    secret = (await put(world, demo, networks=["10.0.0.0/8", "fd00::/8"])).secret
    assert await check(world, secret, address="192.0.2.1") is None
    assert await check(world, secret, address="") is None
    identity = await check(world, secret, address="10.9.9.9")
    assert await world.may(identity, "demo/app", address="10.9.9.9")
    # A token that it took elsewhere is worth nothing there.
    assert await world.may(identity, "demo/app", address="192.0.2.1") == set()
    assert await world.may(identity, "demo/app") == set()


async def test_expiry(world, demo):
    secret = (await put(world, demo, expires=time.time() + 100)).secret
    identity = await check(world, secret)
    assert await world.may(identity, "demo/app")
    late = lambda: time.time() + 101  # noqa: E731
    world.tenancy.policy._clock = late
    world.tenancy.credentials._clock = late
    assert await world.may(identity, "demo/app") == set()
    assert await check(world, secret) is None


async def test_rotation(world, demo):
    old = (await put(world, demo)).secret
    identity = await check(world, old)
    new = (await world.tenancy.robots.rotate(demo, "ci", ROOT)).secret
    assert new != old
    assert await check(world, old) is None
    assert await world.may(identity, "demo/app") == set()  # a token of the old secret
    assert await world.may(await check(world, new), "demo/app")


async def test_rotation_with_an_overlap(world, demo):
    first = (await put(world, demo)).secret
    identity = await check(world, first)
    issued = await world.tenancy.robots.rotate(demo, "ci", ROOT, overlap=100)
    assert [end is None for _, end in issued.robot.secrets] == [True, False]
    assert await check(world, first) is not None
    assert await world.may(identity, "demo/app")
    # A third one leaves both: whoever did not get the second one uses the first.
    third = await world.tenancy.robots.rotate(demo, "ci", ROOT, overlap=1000)
    for secret in (first, issued.secret, third.secret):
        assert await check(world, secret) is not None
    # But no longer than it was to last.
    ends = [end for _, end in third.robot.secrets]
    assert ends[0] is None
    assert ends[2] == issued.robot.secrets[1][1] < ends[1]
    world.tenancy.policy._clock = lambda: time.time() + 1001
    world.tenancy.credentials._clock = world.tenancy.policy._clock
    assert await check(world, third.secret) is not None
    assert await check(world, issued.secret) is None


async def test_only_so_many_secrets_are_good_at_once(world, demo):
    secrets = [(await put(world, demo)).secret]
    for _ in range(MAX_SECRETS):
        rotated = await world.tenancy.robots.rotate(demo, "ci", ROOT, overlap=100)
        secrets.append(rotated.secret)
    good = [await check(world, secret) is not None for secret in secrets]
    assert good == [False, *[True] * MAX_SECRETS]
    # Without an overlap all others end.
    last = (await world.tenancy.robots.rotate(demo, "ci", ROOT)).secret
    good = [await check(world, secret) is not None for secret in [*secrets, last]]
    assert good == [*[False] * (MAX_SECRETS + 1), True]


async def test_its_end_counts_at_once(world, demo):
    secret = (await put(world, demo)).secret
    identity = await check(world, secret)
    await world.tenancy.robots.remove(demo, "ci", ROOT)
    assert await check(world, secret) is None
    assert await world.may(identity, "demo/app") == set()
    with pytest.raises(RobotUnknown):
        await world.tenancy.robots.remove(demo, "ci", ROOT)
    # Another one of that name is another one.
    await put(world, demo)
    assert await check(world, secret) is None
    assert await world.may(identity, "demo/app") == set()


async def test_it_ends_with_its_project(world, demo):
    secret = (await put(world, demo)).secret
    identity = await check(world, secret)
    public = await world.project("inside")
    await world.tenancy.projects.change(public, Visibility.INTERNAL, ROOT)
    assert await world.may(identity, "inside/x") == {"pull", "list"}
    await world.tenancy.projects.remove(demo, ROOT)
    assert await check(world, secret) is None
    assert await world.may(identity, "demo/app") == set()
    # Not even what is open to whoever logs in.
    assert await world.may(identity, "inside/x") == set()
    await world.project("demo")
    assert await check(world, secret) is None


@pytest.mark.parametrize(
    "login",
    ["demo+other", "other+ci", "ci", "demo/ci", "robot:demo/ci", "demo+ci+ci", "+ci", "demo+", "+"],
)
async def test_its_secret_is_good_for_its_own_name_only(world, demo, login):
    await put(world, demo, "other")
    secret = (await put(world, demo)).secret
    assert await check(world, secret, login) is None


async def test_the_projects_name_may_be_written_as_people_write_it(world, demo):
    secret = (await put(world, demo)).secret
    assert await check(world, secret, "Demo+ci") is not None


async def test_a_name_that_sounds_important_gives_nothing(world, demo):
    """harbor#23675: privilege never follows from a prefix."""
    for name in ("admin", "system", "scanner-x", "owner", "root"):
        secret = (await put(world, demo, name, Role.GUEST)).secret
        identity = await check(world, secret, f"demo+{name}")
        assert await world.may(identity, "demo/app") == {"pull", "list"}
        assert not (await world.tenancy.directory.standing(identity)).administrator


async def test_a_robot_with_the_kind_of_a_user_is_nobody(world, demo):
    await put(world, demo)
    forged = Identity("robot:demo/ci", Kind.USER)
    assert await world.may(forged, "demo/app") == set()
    user = Identity("user:demo/ci", Kind.ROBOT)
    assert await world.may(replace(user, name="robot:demo/never"), "demo/app") == set()


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("CI", RobotTerms(Role.GUEST)),
        ("", RobotTerms(Role.GUEST)),
        ("a/b", RobotTerms(Role.GUEST)),
        ("a+b", RobotTerms(Role.GUEST)),
        ("x" * 64, RobotTerms(Role.GUEST)),
        ("ci", RobotTerms(Role.OWNER)),
        ("ci", RobotTerms(Role.GUEST, expires=1.0)),
        ("ci", RobotTerms(Role.GUEST, networks=["10.0.0.1/8"])),
        ("ci", RobotTerms(Role.GUEST, networks=["everywhere"])),
        ("ci", RobotTerms(Role.GUEST, networks=["10.0.0.0/8"] * 33)),
        ("ci", RobotTerms(Role.GUEST, scopes="repository:demo/app:fly")),
        ("ci", RobotTerms(Role.GUEST, scopes="repository:demo/app:pull,fly")),
        ("ci", RobotTerms(Role.GUEST, scopes="repository:DEMO:pull")),
        ("ci", RobotTerms(Role.GUEST, scopes="all")),
    ],
)
async def test_terms_that_make_no_sense(world, demo, name, terms):
    with pytest.raises(Invalid):
        await world.tenancy.robots.put(demo, name, terms, ROOT)


async def test_scopes_are_kept_in_their_usual_spelling(world, demo):
    issued = await put(world, demo, scopes="  repository:demo/b:push,pull   repository:demo/a:* ")
    assert issued.robot.scopes == str(
        Scopes.parse_ceiling("repository:demo/a:* repository:demo/b:pull,push")
    )


async def test_overlaps_that_make_no_sense(world, demo):
    await put(world, demo)
    for overlap in (-1, MAX_OVERLAP + 1, float("nan"), float("inf")):
        with pytest.raises(Invalid):
            await world.tenancy.robots.rotate(demo, "ci", ROOT, overlap)
    with pytest.raises(RobotUnknown):
        await world.tenancy.robots.rotate(demo, "never", ROOT)


async def test_versions_pages_and_limits(world, demo):
    robots = world.tenancy.robots
    first = (await put(world, demo, "a")).robot
    with pytest.raises(Changed):
        await robots.put(demo, "a", RobotTerms(Role.GUEST), ROOT, "")
    await robots.put(demo, "a", RobotTerms(Role.GUEST), ROOT, first.version)
    with pytest.raises(Changed):
        await robots.remove(demo, "a", ROOT, first.version)
    await put(world, demo, "b")
    leaf = await robots.page(demo, "", 1)
    assert ([each.name for each in leaf.items], leaf.more) == (["a"], True)
    assert [each.name for each in (await robots.page(demo, "a", 5)).items] == ["b"]
    for number in range(MAX_ROBOTS - 2):
        await world.store.put(keys.robot(demo.id, f"x{number}"), b"{}")
    with pytest.raises(TooMany):
        await put(world, demo, "one-more")
    await world.tenancy.projects.remove(demo, ROOT)
    with pytest.raises(ProjectUnknown):
        await put(world, demo, "late")
