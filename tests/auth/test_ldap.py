"""Users of a directory: against a real slapd, and what is remembered while it is silent."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.authenticators.ldap import DirectoryUsers
from auth.chain import AuthenticatorUnavailable
from auth.credentials import Basic, Bearer, InvalidCredentials
from auth.ldap import Directory, DirectoryTerms, Found
from auth.ldap_servers import Servers
from auth.ldap_text import dn_text, fill, filter_text
from auth.roles import Role
from auth.rules import pattern
from registry.config import ConfigError, load
from registry.service.attempts import LoginAttempts
from storage.rates import LocalRates
from tests.auth.served import PASSWORD as OWN
from tests.auth.served import World, served
from tests.fixtures.slapd import BASE, PASSWORD, PEOPLE, person

TAGS = "/v2/demo/env/tags/list"
PULL = "repository:demo/env:pull"
PUSH = "repository:demo/env:pull,push"
NOBODY = {"url": "ldaps://localhost:1"}
"""Where nobody listens."""

WAYS = ("ldaps", "StartTLS", "by name", "by name, as the user")


def terms(slapd, way="ldaps", **more):
    common = {
        "ca_file": slapd.ca_file,
        "bind_dn": f"cn=reader,{BASE}",
        "password_file": slapd.password_file,
        "base": f"ou=people,{BASE}",
        "user_filter": "(&(objectClass=person)(uid={username}))",
        "group_base": f"ou=groups,{BASE}",
        "group_filter": "(&(objectClass=groupOfNames)(member={dn}))",
        "seconds": 30,
    }
    common |= {
        "ldaps": {},
        "StartTLS": {"url": slapd.url, "start_tls": True},
        "by name": {"user_dn": f"uid={{username}},ou=people,{BASE}"},
        "by name, as the user": {
            "user_dn": f"uid={{username}},ou=people,{BASE}",
            "bind_dn": "",
            "password_file": None,
            "group_filter": "",
        },
    }[way]
    return DirectoryTerms(**({"url": slapd.secure_url} | common | more))


@contextlib.asynccontextmanager
async def asking(slapd, way="ldaps", **more):
    directory = Directory(terms(slapd, way, **more), threads=2)
    try:
        yield directory
    finally:
        directory.close()


@pytest.mark.parametrize("way", WAYS)
async def test_the_name_is_the_directorys_whatever_is_typed(slapd, way):
    groups = () if way == "by name, as the user" else ("engineers", "everybody")
    async with asking(slapd, way) as directory:
        for typed in ("ada", "ADA", " ada"):
            assert await directory.user(typed, PASSWORD) == Found("ada", groups)


@pytest.mark.parametrize("way", WAYS)
async def test_who_is_let_in_as_nobody(slapd, way):
    async with asking(slapd, way) as directory:
        for name, password in [
            ("ada", "not the password"),
            ("ada", PASSWORD + " "),
            ("ada", ""),
            ("", PASSWORD),
            ("", ""),
            # What ldap3 makes an empty password of, where it may.
            ("ada", "\u00ad"),
            ("nopassword", PASSWORD),
            ("nobody", PASSWORD),
            ("janus", PASSWORD),
            ("unseen", PASSWORD),
        ]:
            with pytest.raises(InvalidCredentials):
                await directory.user(name, password)


async def test_a_name_that_is_no_text_is_a_refusal(slapd):
    async with asking(slapd, name_attribute="audio") as directory:
        with pytest.raises(InvalidCredentials, match="UTF-8"):
            await directory.user("janus", PASSWORD)


async def test_of_two_entries_of_one_name_neither_is_let_in(slapd):
    async with asking(slapd, base=BASE) as directory:
        with pytest.raises(InvalidCredentials):
            await directory.user("twice", PASSWORD)


@pytest.mark.parametrize("way", WAYS)
async def test_no_name_is_read_as_a_filter_or_as_a_part_of_another(slapd, way):
    async with asking(slapd, way) as directory:
        for name in PEOPLE:
            assert (await directory.user(name, PASSWORD)).name == name
        for name in (
            "*",
            "a*",
            "ada)(uid=*",
            "*)(|(uid=*",
            "ada\0",
            "ada,ou=people",
            "o",
            "\\61da",
        ):
            with pytest.raises(InvalidCredentials):
                await directory.user(name, PASSWORD)


@given(st.text(max_size=12))
def test_a_value_in_a_filter_holds_nothing_that_ends_it(text):
    """RFC 4515: what is escaped reads as the same again."""
    written = filter_text(text)
    assert not set("*()\0") & set(written)
    assert unescaped(written) == text


@given(st.text(max_size=12))
def test_a_value_in_a_name_holds_nothing_that_ends_it(text):
    """RFC 4514."""
    written = dn_text(text)
    assert not set('"+,;<=>#\0\n') & set(written)
    assert written == written.strip(" ")
    assert unescaped(written) == text


def test_a_value_is_not_looked_through_for_braces():
    """Who is called `{dn}` is called so."""
    assert fill("(a={dn})(b={username})", dn="{username}", username="{dn}") == (
        "(a={username})(b={dn})"
    )
    assert fill("(a={dn})(b={cn})", username="x") == "(a={dn})(b={cn})"


def unescaped(text):
    head, *rest = text.split("\\")
    return head + "".join(chr(int(each[:2], 16)) + each[2:] for each in rest)


@pytest.mark.parametrize("way", ["ldaps", "StartTLS"])
async def test_a_directory_that_the_authority_does_not_vouch_for_sees_no_password(slapd, way):
    async with asking(slapd, way, ca_file=slapd.other_ca) as directory:
        with pytest.raises(AuthenticatorUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await directory.user("ada", PASSWORD)
    # Nor one under another name than the certificate's.
    url = {"ldaps": slapd.secure_url, "StartTLS": slapd.url}[way].replace("localhost", "127.0.0.1")
    async with asking(slapd, way, url=url) as directory:
        with pytest.raises(AuthenticatorUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await directory.user("ada", PASSWORD)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"base": f"ou=elsewhere,{BASE}"}, "referral"),
        ({"base": f"ou=never,{BASE}"}, "noSuchObject"),
        ({"bind_dn": f"cn=never,{BASE}"}, "auth.ldap.bind_dn: invalidCredentials"),
        ({"password_file": Path("/nowhere")}, "No such file"),
        ({"user_filter": "(uid={username}"}, "invalid filter"),
        (NOBODY, "refused"),
        ({"url": "ldaps://nowhere.invalid", "seconds": 1}, "nowhere.invalid"),
    ],
)
async def test_what_is_set_wrongly_or_refers_elsewhere_is_no_refusal(slapd, more, told):
    async with asking(slapd, **more) as directory:
        with pytest.raises(AuthenticatorUnavailable, match=told):
            await directory.user("ada", PASSWORD)


async def test_a_directory_that_says_nothing_is_waited_for_no_longer_than_is_set(slapd):
    async with asking(slapd, seconds=1) as directory, asking(slapd, seconds=1) as other:
        await answered(directory)
        slapd.pause()
        try:
            for each in (directory, other):  # with a connection, and without
                asked = asyncio.create_task(each.user("ada", PASSWORD))
                turns = 0
                while not asked.done():
                    await asyncio.sleep(0.01)
                    turns += 1
                assert turns > 10, "the loop was kept from others"
                with pytest.raises(AuthenticatorUnavailable):
                    await asked
        finally:
            slapd.go_on()
        assert (await answered(directory)).name == "ada"


async def answered(directory):
    """Ask until it says something in time."""
    while True:
        with contextlib.suppress(AuthenticatorUnavailable):
            return await directory.user("ada", PASSWORD)


async def test_one_that_is_started_anew_is_asked_by_a_new_connection(slapd):
    async with asking(slapd) as directory:
        await directory.user("ada", PASSWORD)
        slapd.kill()
        with pytest.raises(AuthenticatorUnavailable):
            await directory.user("ada", PASSWORD)
        slapd.start()
        for _ in range(4):
            assert (await directory.user("grace", PASSWORD)).name == "grace"


async def test_the_password_of_who_searches_is_read_when_it_is_needed(slapd, tmp_path):
    file = tmp_path / "reader"
    file.write_text("an old one")
    async with asking(slapd, password_file=file) as directory:
        with pytest.raises(AuthenticatorUnavailable):
            await directory.user("ada", PASSWORD)
        file.write_text(slapd.password_file.read_text())
        assert (await directory.user("ada", PASSWORD)).name == "ada"


def engineers():
    """A world in which they push to demo."""
    world = World()
    world.roles["demo"]["group:ldap/engineers"] = Role.DEVELOPER
    return world


async def test_a_user_logs_in_and_gets_what_its_groups_give(slapd):
    async with served(slapd.settings(), world=engineers()) as service:
        for auth, allowed in ((("ada", PASSWORD), True), (("grace", PASSWORD), False)):
            said = (await service.get(TAGS, auth=auth)).fields
            assert (said["name"], said["allowed"]) == (f"user:ldap/{auth[0]}", allowed)
            assert said["credential"] == "ldap"
        assert said["groups"] == ["ldap/everybody"], "one with a blank gives nothing"
        answer = await service.get(params={"scope": PUSH}, auth=("ada", PASSWORD))
        own = {"Authorization": f"Bearer {answer.fields['token']}"}
        assert (await service.request("PUT", "/v2/demo/env/manifests/v1", headers=own)).fields[
            "allowed"
        ]
        assert (await service.get(TAGS, auth=("ada", "wrong"))).status == 401
        assert (await service.get(TAGS, auth=("ada", ""))).status == 401
        # The registry's own accounts are asked after it, and theirs are other names.
        said = (await service.get(TAGS, auth=("alice", OWN))).fields
        assert said["name"] == "user:alice"


async def test_only_the_groups_that_are_chosen_count(slapd):
    async with served(slapd.settings(groups=["eng*"])) as service:
        assert (await service.get(TAGS, auth=("ada", PASSWORD))).fields["groups"] == [
            "ldap/engineers"
        ]


async def test_while_it_is_down_those_that_it_knew_may_pull_and_local_accounts_may_all(slapd):
    settings = slapd.settings(cache_seconds=0.0)
    async with served(settings, world=engineers()) as service:
        assert (await service.get(TAGS, auth=("ada", PASSWORD))).status == 200
        slapd.kill()
        try:
            said = await service.get(TAGS, auth=("ada", PASSWORD))
            assert (said.status, said.fields["allowed"]) == (200, True)
            for answer in (
                await service.request("PUT", "/v2/demo/env/manifests/v1", auth=("ada", PASSWORD)),
                await service.get(params={"scope": PUSH}, auth=("ada", PASSWORD)),
                await service.get(TAGS, auth=("ada", "not the password")),
                await service.get(TAGS, auth=("grace", PASSWORD)),
            ):
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0
            for method, path in (("GET", TAGS), ("PUT", "/v2/demo/env/manifests/v1")):
                said = await service.request(method, path, auth=("alice", OWN))
                assert (said.status, said.fields["allowed"]) == (200, True)
        finally:
            slapd.start()


@pytest.mark.parametrize(("more", "name", "first"), [({}, "ada", 401), (NOBODY, "alice", 503)])
async def test_who_guesses_has_to_wait_whether_the_directory_is_there_or_not(
    slapd, more, name, first
):
    now = [0.0]
    attempts = LoginAttempts(LocalRates(clock=lambda: now[0]), clock=lambda: now[0])
    async with served(slapd.settings(**more), attempts=attempts) as service:
        statuses = [(await service.get(TAGS, auth=(name, f"{n}"))).status for n in range(12)]
        assert statuses == [first] * 6 + [429] * 6
        right = PASSWORD if name == "ada" else OWN
        assert (await service.get(TAGS, auth=(name, right))).status == 429
        now[0] += 1.1
        assert (await service.get(TAGS, auth=(name, right))).status == 200


async def test_where_a_server_does_not_answer_another_one_is_asked(slapd):
    settings = slapd.settings(**NOBODY, others=[slapd.secure_url])
    async with served(settings) as service:
        assert (await service.get(TAGS, auth=("ada", PASSWORD))).status == 200
        assert (await service.get(TAGS, auth=("ada", "not the password"))).status == 401


async def test_which_server_is_asked():
    now, first, other = [100.0], Said(), Said()
    servers = Servers([first, other], pace=lambda: now[0])

    async def asked():
        first.asked.clear()
        other.asked.clear()
        try:
            await servers.user("ada", "x")
        finally:
            told = (len(first.asked), len(other.asked))
        return told

    assert await asked() == (1, 0)
    first.answer = AuthenticatorUnavailable("nobody is there")
    assert await asked() == (1, 1)
    assert await asked() == (0, 1), "it rests"
    other.answer = InvalidCredentials()
    with pytest.raises(InvalidCredentials):
        await asked()
    assert (len(first.asked), len(other.asked)) == (0, 1), "a guess counts once"
    other.answer = AuthenticatorUnavailable("nor there")
    with pytest.raises(AuthenticatorUnavailable, match="nobody is there"):
        await asked()
    assert (len(first.asked), len(other.asked)) == (1, 1), "who rests is asked last"
    now[0] += 31
    first.answer = Found("ada", ())
    assert await asked() == (1, 0)


class Said:
    """Says what it is told to, and counts how often it is asked."""

    def __init__(self):
        self.answer = Found("ada", ("a", "b c", "d"))
        self.asked = []

    async def user(self, username, password):
        self.asked.append((username, password))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def said():
    return Said()


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def users(said, clock):
    return DirectoryUsers(
        said, prefix="d/", fresh=60, grace=900, at_once=2, only=[pattern("*")],
        pace=lambda: clock[0],
    )  # fmt: skip


async def test_it_is_asked_once_in_a_while_for_each_name_and_password(users, said, clock):
    for _ in range(3):
        found = await users.authenticate(Basic("ada", "x"), "")
        assert (found.name, found.groups) == ("user:d/ada", {"d/a", "d/d"})
    await users.authenticate(Basic("ad", "ax"), "")  # no other pair is taken for it
    assert said.asked == [("ada", "x"), ("ad", "ax")]
    clock[0] += 61
    said.answer = InvalidCredentials()
    for _ in range(3):
        assert await users.authenticate(Basic("ada", "x"), "") is None
    assert len(said.asked) == 3
    said.answer = AuthenticatorUnavailable("away")
    clock[0] += 11
    with pytest.raises(AuthenticatorUnavailable):
        await users.authenticate(Basic("ada", "x"), "")


async def test_who_waits_for_a_turn_does_not_ask_one_that_has_become_silent(said):
    users = DirectoryUsers(said, prefix="d/", fresh=60, grace=900, at_once=1, only=[pattern("*")])
    said.answer = AuthenticatorUnavailable("away")
    found = await asyncio.gather(
        *(users.authenticate(Basic(f"u{n}", "x"), "") for n in range(20)), return_exceptions=True
    )
    assert all(isinstance(each, AuthenticatorUnavailable) for each in found)
    assert len(said.asked) == 1


async def test_the_grace_ends(users, said, clock):
    await users.authenticate(Basic("ada", "x"), "")
    said.answer = AuthenticatorUnavailable("away")
    clock[0] += 899
    assert not (await users.authenticate(Basic("ada", "x"), "")).confirmed
    clock[0] += 2
    with pytest.raises(AuthenticatorUnavailable):
        await users.authenticate(Basic("ada", "x"), "")


@pytest.mark.parametrize(
    "shown",
    [
        Basic("ada", ""),
        Basic("", "x"),
        Basic("ada", "x" * 1025),
        Basic("demo+ci", "mrg_bot_0123456789abcdef_" + "a" * 43),
        Basic("x", "eyJ.eyJ.x"),
        Basic("x", "a" * 16 + "." + "b" * 64),
        Bearer("x"),
    ],
)
async def test_what_is_no_password_is_shown_to_no_directory(users, said, shown):
    assert await users.authenticate(shown, "") is None
    assert said.asked == []


async def test_a_name_that_can_be_none_here_is_refused(users, said):
    for name in ("a b", "", "é", "x" * 300):
        said.answer = Found(name, ())
        assert await users.authenticate(Basic(name or "y", "x"), "") is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "ldap://ldap.test"}, "without TLS"),
        ({"url": "ldaps://ldap.test", "start_tls": True}, "start_tls"),
        ({"others": ["ldap://ldap.test"]}, r"others.* without TLS"),
        ({"others": ["ldap.test"]}, r"auth.ldap.others"),
        ({"url": "ldap.test"}, "auth.ldap.url"),
        ({"url": "ldaps://ldap.test/dc=x"}, "auth.ldap.url"),
        ({"bind_dn": "cn=x"}, "bind_password_file"),
        ({"base": ""}, "base"),
        ({"user_filter": "(uid=ada)"}, "everybody is the same"),
        ({"user_dn": "uid=ada"}, "everybody is the same"),
        ({"group_filter": "(cn=x)"}, "all are in all groups"),
        ({"name_attribute": "uid)(x"}, "name_attribute"),
    ],
)
def test_settings_that_do_not_fit(settings, told):
    good = {"url": "ldaps://ldap.test", "base": BASE}
    given = {f"auth.ldap.{name}": value for name, value in (good | settings).items()}
    with pytest.raises(ConfigError, match=told):
        load((), {}, {"auth.mode": "projects"} | given)
    load((), {}, {"auth.mode": "projects"} | {f"auth.ldap.{n}": v for n, v in good.items()})
    with pytest.raises(ConfigError, match=r"auth\.mode"):
        load((), {}, {"auth.mode": "open"} | {f"auth.ldap.{n}": v for n, v in good.items()})


def test_who_is_in_the_directory_is_written_as_it_has_to_be():
    """The fixture's own escaping is not the code's."""
    assert person("o,p+q") == f"uid=o\\,p\\+q,ou=people,{BASE}"
