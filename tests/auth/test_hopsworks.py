"""Users of a Hopsworks platform: who they are, what is kept of it, and what when it is silent."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from auth import vouching
from auth.authenticators.hopsworks import PlatformUsers
from auth.chain import AuthenticatorUnavailable
from auth.credentials import ApiKey, Basic, Bearer, InvalidCredentials
from auth.jose import unverified
from auth.platform import Bearer as Known
from auth.platform import Platform
from auth.roles import Role
from registry.config import ConfigError, load
from tests.auth.served import World, served
from tests.hopsworks.platform import SCOPES, running

TAGS = "/v2/demo/env/tags/list"
PULL = "repository:demo/env:pull"
PUSH = "repository:demo/env:pull,push"


@pytest.fixture
async def platform():
    async with running() as platform:
        yield platform


@asynccontextmanager
async def registry(platform, world=None, **settings):
    """The token service, which asks the platform; its projects' roles are members of demo."""
    world = world or World()
    flags = {"auth.hopsworks.url": platform.url, "auth.hopsworks.timeout_seconds": 1.0}
    async with served(flags | settings, world=world) as service:
        yield service


def in_demo(platform, **roles):
    """A world in which a project of the platform and its roles have their part in demo."""
    world, number = World(), platform.project("demo", **roles)
    for slug, role in (
        ("data-owner", Role.OWNER),
        ("data-scientist", Role.DEVELOPER),
        ("observer", Role.GUEST),
    ):
        world.roles["demo"][f"group:hopsworks/{number}/{slug}"] = role
    return world, number


async def every_way(service, credential):
    """The ways in which a key or a token comes; what each is taken for."""
    scheme = "ApiKey" if credential.count(".") == 1 else "Bearer"
    yield await service.get(TAGS, headers={"Authorization": f"{scheme} {credential}"})
    yield await service.get(TAGS, auth=("whoever", credential))
    for answer in (
        await service.get(params={"scope": PULL}, auth=("demo__meb10000", credential)),
        await service.post(
            {"grant_type": "password", "username": "x", "password": credential, "scope": PULL}
        ),
    ):
        assert answer.status == 200, answer.fields
        own = {"Authorization": f"Bearer {answer.fields['token']}"}
        yield await service.get(TAGS, headers=own)


@pytest.mark.parametrize("kind", ["api_key", "token"])
async def test_a_member_comes_by_key_and_by_token(platform, kind):
    world, number = in_demo(platform, meb10000="Data scientist")
    platform.project("other", meb10000="Under removal")
    credential = getattr(platform, kind)("meb10000")
    async with registry(platform, world) as service:
        async for answer in every_way(service, credential):
            found = answer.fields
            assert (found["name"], found["allowed"]) == ("user:hopsworks/meb10000", True)
            assert found["groups"] == [f"hopsworks/{number}/data-scientist"]
            name = "hopsworks:" + credential[:16] if kind == "api_key" else "hopsworks"
            assert found["credential"] == name


@pytest.mark.parametrize(
    ("role", "verbs"),
    [
        ("Data owner", {"GET", "PUT", "DELETE"}),
        ("Data scientist", {"GET", "PUT"}),
        ("Observer", {"GET"}),
        ("Under removal", set()),
        ("Some new role", set()),
    ],
)
async def test_roles_of_the_platform_decide(platform, role, verbs):
    world, _ = in_demo(platform, meb10000=role)
    key = platform.api_key("meb10000")
    async with registry(platform, world) as service:
        for method in ("GET", "PUT", "DELETE"):
            answer = await service.request(method, "/v2/demo/env/manifests/v1", auth=("x", key))
            assert answer.fields["allowed"] == (method in verbs), method


async def test_a_key_without_the_scope_for_libraries_only_reads(platform):
    world, _ = in_demo(platform, meb10000="Data owner")
    key = platform.api_key("meb10000", {"PROJECT"})
    async with registry(platform, world) as service:
        for method in ("GET", "PUT", "DELETE"):
            answer = await service.request(method, "/v2/demo/env/manifests/v1", auth=("x", key))
            assert answer.fields["allowed"] == (method == "GET"), method
        answer = await service.get(params={"scope": PUSH}, auth=("x", key))
        assert unverified(answer.fields["token"])["access"] == [
            {"type": "repository", "name": "demo/env", "actions": ["pull"]}
        ]


async def test_keys_and_tokens_that_the_platform_refuses(platform):
    world, _ = in_demo(platform, meb10000="Data owner")
    good = platform.api_key("meb10000")
    wrong = good[:17] + "0" * 64
    scopeless = platform.api_key("meb10000", SCOPES - {"PROJECT"})
    ended = platform.token("meb10000")
    platform.log_out(ended)
    async with registry(platform, world) as service:
        for credential, told in (
            (wrong, "does not know"),
            ("0" * 16 + good[16:], "does not know"),
            (scopeless, "scope PROJECT"),
            (ended, "does not know"),
            (platform.token("meb10000", exp=1), "does not know"),
        ):
            answer = await service.get(TAGS, auth=("x", credential))
            assert (answer.status, told in answer.fields["errors"][0]["message"]) == (401, True)
        forged = platform.token("meb10000")[:-4] + "AAAA"
        assert (await service.get(TAGS, auth=("x", forged))).status == 401


async def test_of_another_issuers_token_and_of_other_passwords_the_platform_learns_nothing(
    platform,
):
    async with registry(platform) as service:
        for auth in (
            ("alice", "correct horse battery"),
            ("x", platform.token("a", iss="someone")),
            ("x", "a" * 16 + "." + "b" * 31),
            ("x", "a" * 16 + ".b c" + "b" * 64),
        ):
            await service.get(TAGS, auth=auth)
        answer = await service.get(TAGS, headers={"Authorization": "ApiKey a.b"})
        assert answer.status == 401
    assert platform.asked == []


async def test_an_account_without_projects_is_let_in_to_nothing(platform):
    key, token = platform.api_key("new"), platform.token("new")
    async with registry(platform) as service:
        for credential in (key, token):
            answer = await service.get(TAGS, auth=("x", credential))
            assert (answer.status, answer.fields["allowed"]) == (200, False)
            assert answer.fields["name"].startswith("user:hopsworks/unknown.")


async def test_a_name_of_the_platform_is_none_of_the_registrys(platform):
    platform.project("demo", alice="Data owner")
    async with registry(platform) as service:
        answer = await service.get(TAGS, auth=("alice", platform.api_key("alice")))
        assert (answer.fields["name"], answer.fields["allowed"]) == ("user:hopsworks/alice", False)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 302, 404])
async def test_a_platform_that_does_not_say_is_a_503_and_never_a_401(platform, status):
    platform.status = status
    async with registry(platform) as service:
        for answer in (
            await service.get(TAGS, auth=("x", platform.api_key("a"))),
            await service.get(params={"scope": PULL}, auth=("x", platform.token("a"))),
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
    assert len(platform.asked) == 1, "it is left alone for a moment"


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b"<html>", b"[" * 3000])
async def test_an_answer_that_makes_no_sense_is_none(platform, body):
    platform.body = body
    async with registry(platform) as service:
        assert (await service.get(TAGS, auth=("x", platform.api_key("a")))).status == 503


async def test_a_platform_that_is_not_there_or_slow(platform):
    key = platform.api_key("a")
    async with served({"auth.hopsworks.url": "http://127.0.0.1:9/api"}) as service:
        assert (await service.get(TAGS, auth=("x", key))).status == 503
    platform.delay = 5
    async with registry(platform, **{"auth.hopsworks.timeout_seconds": 0.2}) as service:
        assert (await service.get(TAGS, auth=("x", key))).status == 503


async def test_while_it_is_silent_those_that_it_knew_may_pull_and_a_push_waits(platform):
    world, _ = in_demo(platform, meb10000="Data owner")
    key = platform.api_key("meb10000")
    async with registry(platform, world, **{"auth.hopsworks.cache_seconds": 0.0}) as service:
        assert (await service.get(TAGS, auth=("x", key))).status == 200
        platform.status = 503
        for _ in range(3):
            answer = await service.get(TAGS, auth=("x", key))
            assert (answer.status, answer.fields["allowed"]) == (200, True)
        token = await service.get(params={"scope": PULL}, auth=("x", key))
        own = {"Authorization": f"Bearer {token.fields['token']}"}
        assert (await service.get(TAGS, headers=own)).fields["allowed"]
        for answer in (
            await service.request("PUT", "/v2/demo/env/manifests/v1", auth=("x", key)),
            await service.request("DELETE", "/v2/demo/env/manifests/v1", auth=("x", key)),
            await service.get(params={"scope": PUSH}, auth=("x", key)),
            await service.get(params={"scope": "repository:demo/env:delete"}, auth=("x", key)),
            await service.get(TAGS, auth=("x", platform.api_key("meb10000"))),
        ):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
        assert len(platform.asked) == 3, "it is left alone for a moment"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Said:
    """Says what it is told to, and counts how often it is asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0
        self.gate = None

    async def bearer(self, credential):
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


KEY = ApiKey("a" * 16 + "." + "b" * 64)
ALICE = Known("alice", {7: "Data owner"})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return Said(ALICE)


@pytest.fixture
def users(said, clock):
    return PlatformUsers(said, issuer="it", prefix="h/", fresh=60.0, grace=900.0, pace=clock)


async def test_it_is_asked_once_in_a_while(users, said, clock):
    for _ in range(3):
        assert (await users.authenticate(KEY, "")).confirmed
    assert said.asked == 1
    clock.now += 60
    said.answer = Known("alice", {})
    assert (await users.authenticate(KEY, "")).groups == frozenset()
    assert said.asked == 2


async def test_a_key_that_was_revoked_ends_with_the_next_look(users, said, clock):
    await users.authenticate(KEY, "")
    said.answer = InvalidCredentials("gone")
    await users.authenticate(KEY, "")
    clock.now += 60
    for _ in range(3):
        with pytest.raises(InvalidCredentials, match="gone"):
            await users.authenticate(KEY, "")
    assert said.asked == 2, "a refusal is kept for a moment"
    said.answer = AuthenticatorUnavailable("away")
    clock.now += 10
    with pytest.raises(AuthenticatorUnavailable):
        await users.authenticate(KEY, "")


async def test_the_grace_ends(users, said, clock):
    await users.authenticate(KEY, "")
    said.answer = AuthenticatorUnavailable("away")
    clock.now += 899
    assert not (await users.authenticate(KEY, "")).confirmed
    clock.now += 2
    with pytest.raises(AuthenticatorUnavailable):
        await users.authenticate(KEY, "")
    said.answer = ALICE
    clock.now += vouching.RETRY
    assert (await users.authenticate(KEY, "")).confirmed


async def test_all_who_wait_for_the_same_share_one_question_and_may_leave(users, said):
    said.gate = asyncio.Event()
    waiting = [asyncio.create_task(users.authenticate(KEY, "")) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.pop(0).cancel()
    said.gate.set()
    assert {each.name for each in await asyncio.gather(*waiting)} == {"user:h/alice"}
    assert said.asked == 1


async def test_no_more_wait_than_there_is_room_for(users, said, monkeypatch):
    monkeypatch.setattr(vouching, "WAITING", 3)
    said.gate = asyncio.Event()
    keys = [ApiKey(f"{number:016}." + "b" * 64) for number in range(4)]
    waiting = [asyncio.create_task(users.authenticate(key, "")) for key in keys[:3]]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(AuthenticatorUnavailable, match="too many"):
        await users.authenticate(keys[3], "")
    said.gate.set()
    await asyncio.gather(*waiting)


async def test_guesses_do_not_push_out_what_is_known(users, said, monkeypatch):
    monkeypatch.setattr(vouching, "MOST", 2)
    await users.authenticate(KEY, "")
    said.answer = InvalidCredentials("no")
    for number in range(5):
        with pytest.raises(InvalidCredentials):
            await users.authenticate(ApiKey(f"{number:016}." + "b" * 64), "")
    asked = said.asked
    assert (await users.authenticate(KEY, "")).name == "user:h/alice"
    assert said.asked == asked
    assert len(users._vouching._refused) == 2


@pytest.mark.parametrize(
    "known",
    [Known("a b", {}), Known("alicé", {}), Known("a" * 250, {}),
     Known("a", dict.fromkeys(range(300), "Data owner"))],
)  # fmt: skip
async def test_what_can_be_no_name_is_refused(users, said, known):
    said.answer = known
    with pytest.raises(InvalidCredentials):
        await users.authenticate(KEY, "")


@pytest.mark.parametrize("shown", [Basic("a", "b"), Bearer("ey.a.b"), Bearer("x")])
async def test_what_is_none_of_the_platforms_is_left_to_others(users, said, shown):
    assert await users.authenticate(shown, "") is None
    assert said.asked == 0


async def test_the_platform_is_asked_only_where_it_is(platform):
    """No credential chooses an address."""
    key = platform.api_key("meb10000")
    number = platform.project("demo", meb10000="Data owner")

    async def ask(url, headers):
        addresses.append(url)
        raise AuthenticatorUnavailable("seen")

    addresses: list[str] = []
    with pytest.raises(AuthenticatorUnavailable):
        await Platform("https://hops.test/api/", ask).bearer(ApiKey(key))
    assert addresses == ["https://hops.test/api/project"]
    assert number


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"auth.hopsworks.url": "http://hops.test/api"}, "without TLS"),
        ({"auth.hopsworks.url": "hops.test"}, "auth.hopsworks.url"),
        ({"auth.hopsworks.url": "https://h.test", "auth.mode": "open"}, "auth.mode"),
    ],
)
def test_settings_that_do_not_fit(settings, told):
    with pytest.raises(ConfigError, match=told):
        load((), {}, {"auth.mode": "projects"} | settings)
