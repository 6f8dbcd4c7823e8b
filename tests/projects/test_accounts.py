"""Accounts, passwords, access tokens, offline tokens, and the first administrator."""

import asyncio
import time

import pytest

from auth.credentials import InvalidCredentials
from auth.identity import SECRET, Identity
from auth.policy import Action, Allow, Verb
from auth.roles import Role
from registry.service.projects.access_tokens import MAX_TOKENS
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.offline import MAX_OFFLINE
from registry.service.projects.secrets import SecretKind, mint, presented
from registry.spec.problems import (
    AccountExists,
    AccountUnknown,
    BootstrapRefused,
    Changed,
    Invalid,
    TokenUnknown,
    TooMany,
)
from storage import keys
from tests.projects.conftest import SECRET as BOOTSTRAP
from tests.projects.world import ROOT, user

PASSWORD = "a password of ten or more"


@pytest.fixture
async def accounts(world):
    await world.tenancy.accounts.create("alice", PASSWORD, AccountTerms(("eng",)), ROOT)
    return world.tenancy.accounts


async def check(world, name, secret):
    return await world.tenancy.credentials.check(name, secret, "192.0.2.1")


async def decides(world, identity, verb, **more):
    return isinstance(await world.tenancy.policy.decide(identity, Action(verb, **more)), Allow)


async def test_a_login_by_password(world, accounts):
    identity = await check(world, "alice", PASSWORD)
    assert identity.name == "user:alice"
    assert identity.ceiling is None
    assert await check(world, "Alice", PASSWORD) == identity
    for name, secret in [
        ("alice", PASSWORD + " "),
        ("alice", ""),
        ("bob", PASSWORD),
        ("", PASSWORD),
        ("user:alice", PASSWORD),
        ("al\u0131ce", PASSWORD),
        ("alice\0", PASSWORD),
        ("alice", "\ud800"),
        ("alice", "x" * 5000),
    ]:
        assert await check(world, name, secret) is None, (name, secret)


async def test_what_is_kept_is_an_argon2id_hash(world, accounts):
    kept = (await world.store.get(keys.account("user:alice"))).data.decode()
    assert "$argon2id$" in kept
    assert PASSWORD not in kept
    assert "password" not in repr(await accounts.get("alice"))


async def test_groups_of_a_local_account_count_as_they_are_now(world, accounts):
    tenant = await world.project("demo")
    await world.tenancy.members.put(tenant, "group:eng", Role.DEVELOPER, ROOT)
    identity = await check(world, "alice", PASSWORD)
    assert "push" in await world.may(identity, "demo/a")
    await accounts.put("alice", AccountTerms(("sales",)), ROOT)
    assert await world.may(identity, "demo/a") == set()
    # What a token says of a local account's groups is not believed.
    assert await world.may(user("alice", "eng"), "demo/a") == set()


async def test_a_blocked_account_can_do_nothing(world, accounts):
    tenant = await world.project("demo", alice="owner")
    identity = await check(world, "alice", PASSWORD)
    assert await world.may(identity, "demo/a")
    await accounts.put("alice", AccountTerms((), blocked=True), ROOT)
    assert await world.may(identity, "demo/a") == set()
    assert await check(world, "alice", PASSWORD) is None
    assert not await decides(world, identity, Verb.ENTER)
    await accounts.put("alice", AccountTerms(()), ROOT)
    assert await check(world, "alice", PASSWORD) == identity
    assert await world.may(identity, "demo/a")
    assert tenant


async def test_a_user_from_elsewhere_is_blocked_too(world):
    await world.project("demo")
    tenant = await world.tenancy.directory.tenant("demo")
    await world.tenancy.members.put(tenant, "user:corp/Bob", Role.OWNER, ROOT)
    bob = user("corp/Bob", "eng")
    assert await world.may(bob, "demo/a")
    account = await world.tenancy.accounts.put("corp/Bob", AccountTerms(None, blocked=True), ROOT)
    assert (account.local, account.blocked) == (False, True)
    assert await world.may(bob, "demo/a") == set()


async def test_a_changed_password_ends_what_the_old_one_gave(world, accounts):
    await world.project("demo", alice="owner")
    identity = await check(world, "alice", PASSWORD)
    offline = await world.tenancy.offline.issue(identity, "docker")
    with pytest.raises(Invalid):
        await accounts.set_password("alice", "another password", ROOT, current="wrong")
    with pytest.raises(Invalid):
        await accounts.set_password("alice", "short", ROOT)
    await accounts.set_password("alice", "another password", ROOT, current=PASSWORD)
    assert await check(world, "alice", PASSWORD) is None
    assert await world.may(identity, "demo/a") == set()
    with pytest.raises(InvalidCredentials):
        await world.tenancy.offline.redeem(offline)
    assert await world.may(await check(world, "alice", "another password"), "demo/a")
    with pytest.raises(AccountUnknown):
        await accounts.set_password("never", "another password", ROOT)


async def test_of_two_changes_of_a_password_at_once_one_counts(world, accounts):
    async def change(number):
        try:
            await accounts.set_password("alice", f"new password {number}", ROOT, current=PASSWORD)
        except Invalid:
            return None
        return number

    done = [each for each in await asyncio.gather(*map(change, range(4))) if each is not None]
    good = [n for n in range(4) if await check(world, "alice", f"new password {n}")]
    assert done == good
    assert len(good) == 1


async def test_a_removed_account_leaves_nothing_for_the_next_of_that_name(world, accounts):
    for name in ("a", "b"):
        await world.project(name, alice="owner")
    identity = await check(world, "alice", PASSWORD)
    await world.tenancy.access_tokens.create("user:alice", "x", ROOT)
    await world.tenancy.offline.issue(identity, "docker")
    await accounts.remove("alice", ROOT)
    assert await world.keys("accounts/") == []
    assert [key for key in await world.keys("principals/") if "alice" in key] == []
    assert [key for key in await world.keys("tenants/") if "alice" in key] == []
    assert await world.may(identity, "a/x") == set()
    await accounts.create("alice", "another password", AccountTerms(), ROOT)
    again = await check(world, "alice", "another password")
    assert await world.may(again, "a/x") == set()
    assert await world.may(identity, "a/x") == set()
    with pytest.raises(AccountUnknown):
        await accounts.remove("never", ROOT)


@pytest.mark.parametrize(
    ("name", "password", "groups"),
    [
        *[
            (name, PASSWORD, ())
            for name in ("", "a+b", "a/b", "-a", "a:", "x" * 129, "\xe4", "a\n")
        ],
        *[("new", secret, ()) for secret in ("", "123456789", "x" * 1025, "\ud800" * 20)],
        *[("new", PASSWORD, groups) for groups in (("a b",), ("",), ("x" * 129,))],
        ("new", PASSWORD, tuple(map(str, range(257)))),
    ],
)
async def test_accounts_that_can_not_be(world, name, password, groups):
    with pytest.raises(Invalid):
        await world.tenancy.accounts.create(name, password, AccountTerms(groups), ROOT)
    assert await world.keys("accounts/") == []


async def test_accounts_one_by_one_and_in_pages(world, accounts):
    with pytest.raises(AccountExists):
        await accounts.create("ALICE", PASSWORD, AccountTerms(), ROOT)
    for name in ("bob", "carol"):
        await accounts.put(name, AccountTerms(None), ROOT)
    leaf = await accounts.page("", 2)
    assert ([each.name for each in leaf.items], leaf.more) == (["alice", "bob"], True)
    assert [each.name for each in (await accounts.page("bob", 2)).items] == ["carol"]
    seen = await accounts.get("alice")
    assert (seen.local, seen.groups, seen.principal) == (True, ("eng",), "user:alice")
    await accounts.put("alice", AccountTerms(("eng",), administrator=True), ROOT, seen.version)
    with pytest.raises(Changed):
        await accounts.put("alice", AccountTerms(), ROOT, seen.version)
    with pytest.raises(AccountUnknown):
        await accounts.get("never")


# --- administrators -------------------------------------------------------------------------


async def test_the_first_administrator(world):
    accounts = world.tenancy.accounts
    for secret in ("", "wrong", BOOTSTRAP + "x", "\ud800"):
        with pytest.raises(BootstrapRefused):
            await accounts.bootstrap(secret, "root", PASSWORD)
    with pytest.raises(Invalid):
        await accounts.bootstrap(BOOTSTRAP, "root", "short")
    account = await accounts.bootstrap(BOOTSTRAP, "root", PASSWORD)
    assert account.administrator
    for name in ("root", "other"):
        with pytest.raises(BootstrapRefused):
            await accounts.bootstrap(BOOTSTRAP, name, PASSWORD)
    root = await check(world, "root", PASSWORD)
    for verb in (Verb.GOVERN, Verb.CREATE):
        assert await decides(world, root, verb)
    assert [event.by for event in world.told] == ["system:bootstrap"]


async def test_it_stays_refused_when_that_account_is_removed(world):
    await world.tenancy.accounts.bootstrap(BOOTSTRAP, "root", PASSWORD)
    await world.tenancy.accounts.remove("root", ROOT)
    with pytest.raises(BootstrapRefused):
        await world.tenancy.accounts.bootstrap(BOOTSTRAP, "other", PASSWORD)


async def test_of_many_at_once_one_becomes_the_first_administrator(world):
    async def attempt(number):
        try:
            await world.tenancy.accounts.bootstrap(BOOTSTRAP, f"root{number}", PASSWORD)
        except BootstrapRefused:
            return False
        return True

    assert sum(await asyncio.gather(*map(attempt, range(6)))) == 1
    assert len(await world.keys("accounts/")) == 1


async def test_without_a_secret_there_is_no_way(world):
    world.tenancy.accounts._bootstrap = ""
    with pytest.raises(BootstrapRefused):
        await world.tenancy.accounts.bootstrap("", "root", PASSWORD)


async def test_administrators_run_every_project_and_read_none(world):
    tenant = await world.project("demo")
    await world.tenancy.accounts.create("adm", PASSWORD, AccountTerms(administrator=True), ROOT)
    adm = await check(world, "adm", PASSWORD)
    assert await world.may(adm, "demo/app") == set()
    for verb in (Verb.DESCRIBE, Verb.OPERATE, Verb.ADMINISTER):
        assert await decides(world, adm, verb, project="demo")
        assert not await decides(world, adm, verb, project="absent")
    await world.tenancy.members.put(tenant, "user:adm", Role.GUEST, adm)
    assert await world.may(adm, "demo/app") == {"pull", "list"}
    await world.tenancy.accounts.put("adm", AccountTerms(()), ROOT)
    assert not await decides(world, adm, Verb.OPERATE, project="demo")


# --- access tokens --------------------------------------------------------------------------


async def test_an_access_token_does_what_its_owner_may(world, accounts):
    await world.project("demo", alice="maintainer")
    issued = await world.tenancy.access_tokens.create("user:alice", "laptop", ROOT)
    identity = await check(world, "alice", issued.secret)
    assert (identity.name, identity.ceiling) == ("user:alice", None)
    assert identity.credential == SECRET + issued.token.id
    assert await world.may(identity, "demo/a") == {"pull", "push", "delete", "list"}
    assert issued.secret not in repr(issued)
    for name in ("bob", "", "demo+alice", "user:alice"):
        assert await check(world, name, issued.secret) is None


async def test_scopes_narrow_an_access_token_however_it_is_shown(world, accounts):
    """artifact-keeper#3316: the same limits for Basic as for a token that was made from it."""
    await world.project("demo", alice="owner")
    issued = await world.tenancy.access_tokens.create(
        "user:alice", "ci", ROOT, scopes="repository:demo/app:push"
    )
    identity = await check(world, "alice", issued.secret)
    assert await world.may(identity, "demo/app") == {"push"}  # push only is not pull
    assert await world.may(identity, "demo/other") == set()
    for verb in (Verb.CATALOG, Verb.CREATE, Verb.GOVERN):
        assert not await decides(world, identity, verb)
    # It makes no further credentials for its owner.
    assert not await decides(world, identity, Verb.ACCOUNT, subject="user:alice")
    assert await decides(
        world, await check(world, "alice", PASSWORD), Verb.ACCOUNT, subject="user:alice"
    )


async def test_an_access_token_ends_at_its_time_and_when_it_is_revoked(world, accounts):
    await world.project("demo", alice="owner")
    tokens = world.tenancy.access_tokens
    brief = await tokens.create("user:alice", "brief", ROOT, expires=time.time() + 100)
    long = await tokens.create("user:alice", "long", ROOT)
    by_brief = await check(world, "alice", brief.secret)
    by_long = await check(world, "alice", long.secret)
    await tokens.remove("user:alice", long.token.id, ROOT)
    assert await check(world, "alice", long.secret) is None
    assert await world.may(by_long, "demo/a") == set()
    assert await world.may(by_brief, "demo/a")
    world.tenancy.policy._clock = world.tenancy.credentials._clock = lambda: time.time() + 101
    assert await world.may(by_brief, "demo/a") == set()
    assert await check(world, "alice", brief.secret) is None
    for number in ("never", "0" * 16, "../../x", long.token.id):
        with pytest.raises(TokenUnknown):
            await tokens.remove("user:alice", number, ROOT)


async def test_access_tokens_of_users_from_elsewhere(world):
    tenant = await world.project("demo")
    await world.tenancy.members.put(tenant, "user:corp/bob", Role.GUEST, ROOT)
    issued = await world.tenancy.access_tokens.create("user:corp/bob", "x", ROOT)
    identity = await check(world, "corp/bob", issued.secret)
    assert await world.may(identity, "demo/a") == {"pull", "list"}


async def test_access_tokens_in_pages_and_their_limits(world, accounts):
    tokens = world.tenancy.access_tokens
    made = [await tokens.create("user:alice", f"t{n}", ROOT) for n in range(3)]
    leaf = await tokens.page("user:alice", "", 2)
    assert leaf.more
    rest = await tokens.page("user:alice", leaf.items[-1].id, 2)
    assert {each.id for each in (*leaf.items, *rest.items)} == {each.token.id for each in made}
    for label in ("", "x" * 101, "a\nb", "\x1b[2J"):
        with pytest.raises(Invalid):
            await tokens.create("user:alice", label, ROOT)
    with pytest.raises(Invalid):
        await tokens.create("user:alice", "x", ROOT, expires=1.0)
    with pytest.raises(Invalid):
        await tokens.create("user:alice", "x", ROOT, scopes="everything")
    for number in range(MAX_TOKENS - 3):
        await world.store.put(keys.access_token("user:alice", f"{number:016x}"), b"{}")
    with pytest.raises(TooMany):
        await tokens.create("user:alice", "x", ROOT)


# --- secrets --------------------------------------------------------------------------------


def test_secrets_of_machines():
    text, record = mint(SecretKind.ROBOT)
    shown = presented(text)
    assert shown.matches(record)
    assert (shown.kind, shown.id) == (SecretKind.ROBOT, record.id)
    assert text not in repr(shown)
    other, _ = mint(SecretKind.ROBOT)
    assert not presented(other).matches(record)
    assert not presented(text[:-1] + ("A" if text[-1] != "A" else "B")).matches(record)
    ended, past = mint(SecretKind.ROBOT, expires=time.time() - 1)
    assert not presented(ended).matches(past)


@pytest.mark.parametrize(
    "text", ["", "mrg_", "mrg_bot_0_x", "mrg_xyz_0123456789abcdef_" + "a" * 43, "x" * 70]
)
def test_texts_that_are_no_secrets(text):
    assert presented(text) is None
    good, _ = mint(SecretKind.ACCESS_TOKEN)
    for wrong in (good + "\n", " " + good, good.upper(), good + "a", good[:-1]):
        assert presented(wrong) is None


# --- offline tokens -------------------------------------------------------------------------


async def test_an_offline_token_is_for_whoever_logs_in_by_password(world, accounts):
    await world.project("demo", alice="guest")
    offline = world.tenancy.offline
    by_password = await check(world, "alice", PASSWORD)
    text = await offline.issue(by_password, "docker\x1b[1m")
    identity = await offline.redeem(text)
    assert identity.name == "user:alice"
    assert await world.may(identity, "demo/a") == {"pull", "list"}
    assert await offline.redeem(text) == identity  # again and again
    (listed,) = (await world.tenancy.access_tokens.page("user:alice", "", 10)).items
    assert (listed.label, listed.offline) == ("docker[1m", True)
    # It is no password.
    assert await check(world, "alice", text) is None
    assert await check(world, "alice", text.partition(".")[0]) is None


async def test_no_offline_token_for_others(world, accounts):
    offline = world.tenancy.offline
    issued = await world.tenancy.access_tokens.create("user:alice", "x", ROOT)
    by_token = await check(world, "alice", issued.secret)
    by_password = await check(world, "alice", PASSWORD)
    redeemed = await offline.redeem(await offline.issue(by_password, ""))
    for identity in (by_token, redeemed, user("corp/bob", "eng"), Identity("user:never")):
        assert await offline.issue(identity, "docker") is None


async def test_a_revoked_offline_token_ends_what_was_made_from_it(world, accounts):
    await world.project("demo", alice="guest")
    offline = world.tenancy.offline
    text = await offline.issue(await check(world, "alice", PASSWORD), "docker")
    identity = await offline.redeem(text)
    await offline.revoke(text)
    await offline.revoke(text)
    await offline.revoke("nonsense")
    with pytest.raises(InvalidCredentials):
        await offline.redeem(text)
    assert await world.may(identity, "demo/a") == set()


@pytest.mark.parametrize(
    "change", ["", "x", ".", "x.y", "{s}", "{s}.", "{s}.AAAA", "{s}.%", "{t}x"]
)
async def test_texts_that_are_no_offline_tokens(world, accounts, change):
    text = await world.tenancy.offline.issue(await check(world, "alice", PASSWORD), "docker")
    wrong = change.format(s=text.partition(".")[0], t=text)
    with pytest.raises(InvalidCredentials):
        await world.tenancy.offline.redeem(wrong)


async def test_an_offline_token_lives_as_long_as_it_is_used(world, accounts, monkeypatch):
    offline = world.tenancy.offline
    text = await offline.issue(await check(world, "alice", PASSWORD), "docker")
    real = time.time
    for days in (60, 120, 180):
        monkeypatch.setattr(time, "time", lambda days=days: real() + days * 86_400)
        assert (await offline.redeem(text)).name == "user:alice"
    monkeypatch.setattr(time, "time", lambda: real() + 275 * 86_400)
    with pytest.raises(InvalidCredentials):
        await offline.redeem(text)


async def test_there_are_only_so_many_offline_tokens(world, accounts):
    offline = world.tenancy.offline
    by_password = await check(world, "alice", PASSWORD)
    texts = [await offline.issue(by_password, f"c{n}") for n in range(MAX_OFFLINE + 2)]
    for text in texts[2:]:
        assert await offline.redeem(text)
    for text in texts[:2]:
        with pytest.raises(InvalidCredentials):
            await offline.redeem(text)
