"""Pull secrets: they pull and do nothing else, are made anew without a gap, and end at once."""

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.policy import Action, Allow, Verb
from auth.roles import Role, Visibility
from registry.service.projects.pull_secrets import PullSecrets, _namespace
from registry.service.projects.robots import MAX_OVERLAP, RobotTerms
from registry.spec.problems import (
    AddressUnknown,
    Changed,
    Invalid,
    ProjectUnknown,
    RobotUnknown,
)
from tests.projects.world import ROOT


@pytest.fixture
async def demo(world):
    return await world.project("demo")


async def issue(world, tenant, name="pull", **more):
    return await world.tenancy.pull_secrets.issue(tenant, name, ROOT, **({"overlap": 600} | more))


async def who(world, issued):
    shown = issued.secret
    return await world.tenancy.credentials.check(shown.login, shown.secret, "192.0.2.1")


async def test_it_pulls_from_its_project_and_does_nothing_else(world, demo):
    issued = await issue(world, demo)
    shown = issued.secret
    assert (shown.host, shown.login) == ("images.example.org", "demo+pull")
    assert (shown.namespace, shown.name) == ("demo", "moorage-pull")
    assert shown.secret not in repr(issued)
    identity = await who(world, issued)
    await world.project("other")
    assert await world.may(identity, "demo") == {"pull", "list"}
    assert await world.may(identity, "demo/env/app") == {"pull", "list"}
    assert await world.may(identity, "other/app") == set()
    for verb in (Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER):
        decision = await world.tenancy.policy.decide(identity, Action(verb, project="demo"))
        assert not isinstance(decision, Allow)


async def test_it_pulls_base_images_and_what_is_shared_with_its_project(world, demo):
    identity = await who(world, await issue(world, demo))
    await world.project("base", visibility=Visibility.INTERNAL)
    assert await world.may(identity, "base/python") == {"pull", "list"}
    models = await world.project("models")
    await world.tenancy.shares.put(models, demo.id, "models/one", ROOT)
    assert await world.may(identity, "models/one") == {"pull", "list"}
    assert await world.may(identity, "models/two") == set()


async def test_no_role_makes_it_push(world, demo):
    """Its ceiling is pulls, whatever somebody makes of the account later."""
    identity = await who(world, await issue(world, demo))
    terms = RobotTerms(Role.MAINTAINER, "repository:*:pull")
    await world.tenancy.robots.put(demo, "pull", terms, ROOT)
    assert await world.may(identity, "demo/app") == {"pull", "list"}


async def test_one_that_is_issued_again_is_another_and_both_work_for_a_while(world, demo):
    old = await issue(world, demo)
    new = await issue(world, demo, overlap=100)
    assert new.secret.secret != old.secret.secret
    for each in (old, new):
        assert await world.may(await who(world, each), "demo/app") == {"pull", "list"}
    identity = await who(world, old)
    world.tenancy.policy._clock = lambda: time.time() + 101
    world.tenancy.credentials._clock = world.tenancy.policy._clock
    assert await who(world, new) is not None
    assert await who(world, old) is None
    assert await world.may(identity, "demo/app") == set()


async def test_whoever_got_no_answer_asks_again_and_the_one_in_use_still_works(world, demo):
    used = await issue(world, demo)
    await issue(world, demo)
    last = await issue(world, demo)
    assert await who(world, used) is not None
    assert await who(world, last) is not None


async def test_it_ends_at_once(world, demo):
    issued = await issue(world, demo)
    other = await issue(world, demo, "batch")
    identity = await who(world, issued)
    await world.tenancy.pull_secrets.revoke(demo, "pull", ROOT)
    assert await who(world, issued) is None
    assert await world.may(identity, "demo/app") == set()
    assert await who(world, other) is not None
    with pytest.raises(RobotUnknown):
        await world.tenancy.pull_secrets.revoke(demo, "pull", ROOT)


async def test_without_an_overlap_the_one_before_ends_at_once(world, demo):
    issued = await issue(world, demo)
    await issue(world, demo, overlap=0)
    assert await who(world, issued) is None


async def test_a_robot_account_that_may_do_more_is_left_alone(world, demo):
    await world.tenancy.robots.put(demo, "ci", RobotTerms(Role.DEVELOPER), ROOT)
    before = await world.tenancy.robots.get(demo, "ci")
    for call in (issue(world, demo, "ci"), world.tenancy.pull_secrets.revoke(demo, "ci", ROOT)):
        with pytest.raises(Invalid, match="no pull secret"):
            await call
    assert await world.tenancy.robots.get(demo, "ci") == before


async def test_one_that_becomes_something_else_meanwhile_is_not_given_out(world, demo):
    """Between the look at it and its new secret."""
    await issue(world, demo)
    robots = world.tenancy.robots
    looked = robots.get

    async def late(tenant, name):
        found = await looked(tenant, name)
        await robots.put(demo, "pull", RobotTerms(Role.MAINTAINER), ROOT)
        return found

    robots.get = late
    with pytest.raises(Changed):
        await issue(world, demo)
    robots.get = looked
    assert len((await robots.get(demo, "pull")).secrets) == 1


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("Pull", {}),
        ("pull", {"overlap": -1}),
        ("pull", {"overlap": MAX_OVERLAP + 1}),
        ("pull", {"overlap": float("nan")}),
    ],
)
async def test_terms_that_make_no_sense(world, demo, name, more):
    await issue(world, demo)
    with pytest.raises(Invalid):
        await issue(world, demo, name, **more)


async def test_a_name_that_makes_no_namespace_needs_one_named(world):
    long = await world.project("x" * 80)
    with pytest.raises(Invalid, match="namespace"):
        await issue(world, long)
    assert (await issue(world, long, namespace="short")).secret.namespace == "short"
    dotted = await world.project("My_Pro.ject")
    assert (await issue(world, dotted)).secret.namespace == "my-pro-ject"
    assert (await issue(world, dotted, "a_b")).secret.name == "moorage-a-b"
    assert (await issue(world, dotted, kept_as="regcred")).secret.name == "regcred"


@given(st.text(max_size=80))
def test_whatever_is_taken_for_a_namespace_is_one(text):
    with suppress(Invalid):
        assert re.fullmatch("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", _namespace(text))


async def test_without_a_public_address_there_is_none(world, demo):
    lost = PullSecrets(world.tenancy.robots, "")
    with pytest.raises(AddressUnknown, match=r"server\.public_url"):
        await lost.issue(demo, "pull", ROOT, overlap=0)
    with pytest.raises(RobotUnknown):
        await world.tenancy.robots.get(demo, "pull")


async def test_it_ends_with_its_project(world, demo):
    issued = await issue(world, demo)
    await world.tenancy.projects.remove(demo, ROOT)
    assert await who(world, issued) is None
    with pytest.raises(ProjectUnknown):
        await issue(world, demo, "late")
    await world.project("demo")
    assert await who(world, issued) is None
