"""Each kind of credentials, from a configuration file, over the wire."""

import asyncio
import ssl

import aiohttp
import bcrypt
import pytest

from auth.authenticators.htpasswd import HtpasswdError
from auth.chain import AuthenticatorUnavailable, Chain, Unlimited
from auth.credentials import Basic, Bearer, InvalidCredentials
from auth.jose import unverified
from auth.keys import KeyUnusable
from auth.roles import Role
from tests.auth.certificates import Party, files_of
from tests.auth.idp import issuing
from tests.auth.keys import key_set, signing_key
from tests.auth.served import PASSWORD, World, served

PULL = "repository:demo/env:pull"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}


@pytest.fixture
async def idp():
    async with issuing() as issuer:
        yield issuer


def config(tmp_path, text):
    path = tmp_path / "registry.toml"
    path.write_text(text)
    return [path]


def corp(idp, more=""):
    return f'[auth.oidc.corp]\nissuer = "{idp.url}"\naudiences = ["moorage"]\n{more}'


async def every_way(service, token, scope=PULL):
    """The same token as a bearer token, as a password, and exchanged; what each is taken for."""
    headers = {"Authorization": f"Bearer {token}"}
    yield (await service.get("/v2/demo/env/tags/list", headers=headers))
    yield (await service.get("/v2/demo/env/tags/list", auth=("anything", token)))
    for answer in (
        await service.get(params={"scope": scope}, headers=headers),
        await service.get(params={"scope": scope}, auth=("", token)),
        await service.post(
            {"grant_type": "password", "username": "x", "password": token, "scope": scope}
        ),
        await service.post(EXCHANGE | {"subject_token": token, "scope": scope}),
    ):
        if answer.status != 200:
            yield answer
            continue
        own = {"Authorization": f"Bearer {answer.fields['token']}"}
        yield await service.get("/v2/demo/env/tags/list", headers=own)


async def test_a_user_of_an_identity_provider(idp, tmp_path):
    """Under a name of its own, whichever way the token comes."""
    world = World()
    world.roles["demo"]["group:corp/ml"] = Role.GUEST
    async with served(files=config(tmp_path, corp(idp)), world=world) as service:
        token = idp.token(sub="alice", groups=["ml", "x"])
        async for answer in every_way(service, token):
            found = answer.fields
            assert (found["name"], found["allowed"]) == ("user:corp/alice", True)
            assert found["groups"] == ["corp/ml", "corp/x"]
            assert found["credential"] == "issuer:oidc/corp"


async def test_an_identity_provider_makes_no_name_of_the_registrys_own(idp, tmp_path):
    async with served(files=config(tmp_path, corp(idp))) as service:
        async for answer in every_way(service, idp.token(sub="alice")):
            assert answer.status == 401 or answer.fields["name"] == "user:corp/alice"
            assert not (answer.fields or {}).get("allowed")


async def test_without_a_prefix_names_are_shared_on_purpose(idp, tmp_path):
    async with served(files=config(tmp_path, corp(idp, 'prefix = ""\n'))) as service:
        token = idp.token(sub="alice")
        answer = await service.get("/v2/demo/env/tags/list", auth=("x", token))
        assert (answer.fields["name"], answer.fields["allowed"]) == ("user:alice", True)


async def test_cve_2025_23208_groups_are_those_of_this_token_and_no_others(idp, tmp_path):
    world = World()
    world.roles["demo"]["group:corp/ml"] = Role.GUEST
    async with served(files=config(tmp_path, corp(idp)), world=world) as service:
        path = "/v2/demo/env/tags/list"
        first = await service.get(path, auth=("x", idp.token(groups=["ml"])))
        second = await service.get(path, auth=("x", idp.token(groups=[])))
        third = await service.get(params={"scope": PULL}, auth=("x", idp.token()))
        assert (first.fields["allowed"], second.fields["allowed"]) == (True, False)
        assert unverified(third.fields["token"])["access"] == []
        assert "groups" not in unverified(third.fields["token"])


@pytest.mark.parametrize(
    ("setting", "claims", "expected"),
    [
        ('username_claim = "preferred_username"', {"preferred_username": "al"}, "user:corp/al"),
        ('username_claim = "email"', {"email": "a@b", "email_verified": True}, "user:corp/a@b"),
        ('username_claim = "email"', {"email": "a@b", "email_verified": False}, None),
        ('username_claim = "email"', {"email": "a@b", "email_verified": "true"}, None),
        ('username_claim = "email"', {"email": "a@b"}, None),
        ('username_claim = "nickname"', {}, None),
        ('username_claim = "x"', {"x": ["a", "b"]}, None),
        ("", {"sub": ""}, None),
        ("", {"sub": "a b"}, None),
        ("", {"sub": "alicé"}, None),
        ("", {"sub": "a" * 250}, None),
        ("", {"sub": None}, None),
        ("", {"groups": ["a b"]}, None),
        ("", {"groups": [f"g{n}" for n in range(257)]}, None),
        ('groups = ["team-*"]', {"groups": [f"g{n}" for n in range(999)]}, "user:corp/alice"),
        ('groups_claim = "realm.roles"', {"realm": {"roles": ["r"]}}, "user:corp/alice"),
        ("", {"groups": [""]}, None),
    ],
)  # fmt: skip
async def test_what_is_a_name(idp, tmp_path, setting, claims, expected):
    async with served(files=config(tmp_path, corp(idp, setting + "\n"))) as service:
        answer = await service.get("/v2/", auth=("x", idp.token(**claims)))
        assert (answer.fields.get("name") if answer.status == 200 else None) == expected
        if "realm" in setting:
            assert answer.fields["groups"] == ["corp/r"]


async def test_the_groups_that_count_can_be_chosen(idp, tmp_path):
    text = corp(idp, 'groups = ["team-*", "admins"]\n')
    async with served(files=config(tmp_path, text)) as service:
        token = idp.token(groups=["team-a", "xteam-a", "admins", "administrators", "team-a/b"])
        answer = await service.get("/v2/", auth=("x", token))
        assert answer.fields["groups"] == ["corp/admins", "corp/team-a"]


@pytest.mark.parametrize(
    "claims",
    [{"aud": "other"}, {"exp": 1}, {"iss": "https://evil.example"}, {"exp": None}],
    ids=str,
)
async def test_tokens_that_are_not_good_are_refused_every_way(idp, tmp_path, claims):
    async with served(files=config(tmp_path, corp(idp))) as service:
        async for answer in every_way(service, idp.token(**claims)):
            assert answer.status == 401
        async for answer in every_way(service, idp.token(signing_key("EdDSA"))):
            assert answer.status == 401


async def test_an_issuer_that_is_away_is_503_and_not_401(idp, tmp_path):
    """containerd takes 401 for final."""
    idp.status = 500
    async with served(files=config(tmp_path, corp(idp))) as service:
        async for answer in every_way(service, idp.token()):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await service.get("/v2/", auth=("alice", PASSWORD))).status == 200


async def test_who_logs_in_elsewhere_gets_no_refresh_token(idp, tmp_path):
    """The registry could not tell whether the account and its groups are still there."""
    async with served(files=config(tmp_path, corp(idp))) as service:
        service.world.issue = lambda *_: _none()
        query = {"offline_token": "true", "scope": PULL}
        answer = await service.get(params=query, auth=("x", idp.token()))
        assert "refresh_token" not in answer.fields


async def _none():
    return None


def github(idp, rules):
    return f'[auth.workload.github]\nissuer = "{idp.url}"\naudiences = ["moorage"]\n{rules}'


RULE = """[[auth.workload.github.rules]]
match = { repository = "acme/*", ref = "refs/heads/main" }
name = "{repository}"
groups = ["publishers"]
scopes = "repository:demo/*:pull"
"""
JOB = {"sub": "repo:acme/app:ref:refs/heads/main", "repository": "acme/app",
       "ref": "refs/heads/main"}  # fmt: skip


async def test_a_job_of_a_ci_system(idp, tmp_path):
    world = World()
    world.roles["demo"]["group:github/publishers"] = Role.DEVELOPER
    async with served(files=config(tmp_path, github(idp, RULE)), world=world) as service:
        async for answer in every_way(service, idp.token(**JOB), f"{PULL},push"):
            found = answer.fields
            assert (found["name"], found["kind"]) == ("workload:github/acme/app", "workload")
            assert found["allowed"] is True
        push = await service.request(
            "PUT", "/v2/demo/env/manifests/a", auth=("x", idp.token(**JOB))
        )
        assert push.fields["allowed"] is False, "the rule's scopes are the most that it may do"


@pytest.mark.parametrize(
    "claims",
    [{"repository": "acme-evil/app"}, {"repository": "evil/acme/app"}, {"repository": None},
     {"ref": "refs/heads/main2"}, {"ref": "refs/heads/x/refs/heads/main"}, {"ref": None},
     {"repository": "acme/a/b"}, {"repository": "acme/a b"}],
    ids=str,
)  # fmt: skip
async def test_another_job_is_refused_every_way(idp, tmp_path, claims):
    async with served(files=config(tmp_path, github(idp, RULE))) as service:
        async for answer in every_way(service, idp.token(**JOB | claims)):
            assert answer.status == 401


def cluster(idp, rules="", name="prod"):
    return (
        f'[auth.kubernetes.{name}]\nissuer = "{idp.url}"\naudiences = ["moorage"]\n'
        f'jwks_url = "{idp.url}/openid/v1/jwks"\nca_file = ""\ntoken_file = ""\n{rules}'
    )


async def test_a_service_account_of_a_cluster(idp, tmp_path):
    """As kubelet sends it: a password, with any user name (KEP-4412)."""
    world = World()
    world.roles["demo"]["group:prod/demo-ns"] = Role.GUEST
    async with served(files=config(tmp_path, cluster(idp)), world=world) as service:
        token = idp.token(sub="system:serviceaccount:demo-ns:default")
        async for answer in every_way(service, token):
            found = answer.fields
            assert found["name"] == "workload:prod/demo-ns/default"
            assert (found["groups"], found["allowed"]) == (["prod/demo-ns"], True)
        assert set(idp.asked) == {"/openid/v1/jwks"}


@pytest.mark.parametrize(
    "subject",
    ["alice", "system:serviceaccount:demo", "system:serviceaccount:demo:a:b", "", None,
     "system:serviceaccount::x", "system:serviceaccount:demo:", "system:node:x",
     "xsystem:serviceaccount:demo:x", "system:serviceaccount:de/mo:x",
     "system:serviceaccount:demo:x\n", "system:serviceaccount:Demo:x"],
    ids=str,
)  # fmt: skip
async def test_another_subject_of_a_cluster_is_refused(idp, tmp_path, subject):
    async with served(files=config(tmp_path, cluster(idp))) as service:
        async for answer in every_way(service, idp.token(sub=subject)):
            assert answer.status == 401


async def test_rules_choose_among_service_accounts(idp, tmp_path):
    rules = """[[auth.kubernetes.prod.rules]]
match = { namespace = "demo-*", serviceaccount = "serving" }
name = "{namespace}"
"""
    async with served(files=config(tmp_path, cluster(idp, rules))) as service:
        good = idp.token(sub="system:serviceaccount:demo-1:serving", namespace="forged")
        answer = await service.get("/v2/", auth=("x", good))
        assert answer.fields["name"] == "workload:prod/demo-1"
        bad = idp.token(sub="system:serviceaccount:other:serving", namespace="demo-1")
        assert (await service.get("/v2/", auth=("x", bad))).status == 401


async def test_a_cluster_that_can_not_be_asked(tmp_path, idp):
    (tmp_path / "jwks.json").write_bytes(key_set("RS256").jwks())
    text = cluster(idp) + f'jwks_file = "{tmp_path}/jwks.json"\n'
    async with served({"auth.token.reload_seconds": 0.1}, files=config(tmp_path, text)) as service:
        token = idp.token(signing_key("RS256"), sub="system:serviceaccount:a:b")
        assert (await service.get("/v2/", auth=("x", token))).status == 200
        assert idp.asked == []
        (tmp_path / "jwks.json").write_bytes(key_set("EdDSA").jwks())
        async with asyncio.timeout(5):
            while (await service.get("/v2/", auth=("x", token))).status != 401:
                await asyncio.sleep(0.05)
    (tmp_path / "jwks.json").write_bytes(b"")
    with pytest.raises(KeyUnusable, match=r"jwks\.json"):
        async with served(files=config(tmp_path, text)):
            pass


async def test_one_issuer_may_be_trusted_in_several_ways(idp, tmp_path):
    second = cluster(idp, name="other").replace('["moorage"]', '["elsewhere"]')
    async with served(files=config(tmp_path, cluster(idp) + second)) as service:
        for audience, name in (("moorage", "prod"), ("elsewhere", "other")):
            token = idp.token(sub="system:serviceaccount:a:b", aud=audience)
            answer = await service.get("/v2/", auth=("x", token))
            assert answer.fields["name"] == f"workload:{name}/a/b"


def htpasswd(tmp_path, **users):
    path = tmp_path / "htpasswd"
    lines = [
        f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()}"
        for name, password in users.items()
    ]
    path.write_text("# users\n\n" + "\n".join(lines) + "\n")
    return path


async def test_users_of_an_htpasswd_file_beside_the_registrys_own(tmp_path):
    path = htpasswd(tmp_path, carol="carol's", bob="another")
    async with served({"auth.htpasswd": str(path)}) as service:
        for name, password, status in (
            ("carol", "carol's", 200), ("carol", "wrong", 401), ("alice", PASSWORD, 200),
            ("bob", PASSWORD, 200), ("bob", "another", 200), ("bob", "x", 401), ("dave", "x", 401),
            ("Carol", "carol's", 401), ("", "x", 401),
        ):  # fmt: skip
            answer = await service.get("/v2/", auth=(name, password))
            assert answer.status == status, (name, password)
            if status == 200:
                assert answer.fields["name"] == f"user:{name}"


async def test_a_changed_htpasswd_file_counts_and_a_bad_one_does_not(tmp_path, caplog):
    path = htpasswd(tmp_path, carol="one")
    settings = {"auth.htpasswd": str(path), "auth.token.reload_seconds": 0.05}
    async with served(settings) as service:
        assert (await service.get("/v2/", auth=("carol", "one"))).status == 200
        htpasswd(tmp_path, carol="two")
        async with asyncio.timeout(5):
            while (await service.get("/v2/", auth=("carol", "two"))).status != 200:
                await asyncio.sleep(0.02)
        assert (await service.get("/v2/", auth=("carol", "one"))).status == 401
        path.write_text("carol:plain\n")
        async with asyncio.timeout(5):
            while "is not used" not in caplog.text:
                await asyncio.sleep(0.02)
        assert (await service.get("/v2/", auth=("carol", "two"))).status == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [("carol:secret\n", "line 1: no bcrypt hash"), ("carol\n", "line 1: no bcrypt"),
     ("\n\ncarol:$apr1$abc$def\n", "line 3: no bcrypt hash"), (":x\n", "line 1: use letters"),
     ("a b:x\n", "user names"), ("carol:$2y$20$" + "a" * 53 + "\n", "too long"),
     ("carol:{SHA}abc\n", "htpasswd -B"), ("\udcff", "not UTF-8")],
)  # fmt: skip
async def test_an_htpasswd_file_that_can_not_be_used_is_named(tmp_path, text, message):
    path = tmp_path / "htpasswd"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(HtpasswdError, match=message) as caught:
        async with served({"auth.htpasswd": str(path)}):
            pass
    assert "secret" not in str(caught.value)
    with pytest.raises(HtpasswdError, match="can't be read"):
        async with served({"auth.htpasswd": str(tmp_path / "none")}):
            pass


async def test_an_unknown_user_takes_the_time_of_a_wrong_password_with_a_file_too(
    tmp_path, monkeypatch
):
    """Both are hashed as often, and at the same cost."""
    path = tmp_path / "htpasswd"
    path.write_text(f"carol:{bcrypt.hashpw(b'one', bcrypt.gensalt(8)).decode()}\n")
    costs = []
    check = bcrypt.checkpw

    def checkpw(password, hashed):
        costs.append(hashed[:7])
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    took = {}
    async with served({"auth.htpasswd": str(path)}) as service:
        for name in ("carol", "nobody"):
            costs.clear()
            assert (await service.get("/v2/", auth=(name, "wrong"))).status == 401
            took[name] = list(costs)
    assert took["carol"] == took["nobody"] == [b"$2b$08$"]


RULES = """[[auth.certificates.rules]]
match = { uri = "spiffe://cluster/ns/*/sa/*" }
name = "{uri}"
groups = ["mesh"]

[[auth.certificates.rules]]
match = { cn = "*", dns = "*.people.example" }
name = "{cn}"
kind = "user"
"""


@pytest.fixture
def mutual(tmp_path):
    """Settings of a server that asks for certificates, and the authority of its clients."""
    clients = Party(tmp_path, "clients")
    return {f"tls.{name}": value for name, value in files_of(tmp_path, clients).items()}, clients


async def test_a_client_certificate_is_a_login(mutual, tmp_path):
    settings, clients = mutual
    world = World()
    world.roles["demo"]["user:certificate/dora"] = Role.GUEST
    files = config(tmp_path, RULES)
    context = clients.context("dora.people.example", common_name="dora")
    async with served(settings, files=files, world=world, tls=context) as service:
        found = (await service.get("/v2/demo/env/tags/list")).fields
        assert (found["name"], found["scheme"]) == ("user:certificate/dora", "certificate")
        assert found["allowed"] is True
        token = (await service.get(params={"scope": PULL})).fields
        assert token["scope"] == PULL
        assert unverified(token["token"])["sub"] == "user:certificate/dora"
        # What the head says comes before what the connection says.
        assert (await service.get("/v2/", auth=("alice", PASSWORD))).fields["name"] == "user:alice"


async def test_certificates_that_no_rule_fits_are_refused(mutual, tmp_path):
    settings, clients = mutual
    context = clients.context("dora.people.example.evil.example", common_name="dora")
    async with served(settings, files=config(tmp_path, RULES), tls=context) as service:
        answer = await service.get("/v2/")
        assert answer.status == 401
        assert "certificate" in answer.fields["errors"][0]["message"]


async def test_without_a_certificate_other_logins_go_on(mutual, tmp_path):
    settings, clients = mutual
    context = clients.context()
    async with served(settings, files=config(tmp_path, RULES), tls=context) as service:
        answer = await service.get("/v2/")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="https://127.0.0.1:')
        assert (await service.get("/v2/", auth=("alice", PASSWORD))).status == 200


async def test_a_certificate_of_another_authority_ends_the_handshake(mutual, tmp_path):
    settings, _ = mutual
    stranger = Party(tmp_path, "stranger")
    context = stranger.context("dora.people.example", common_name="dora")
    async with served(settings, files=config(tmp_path, RULES), tls=context) as service:
        with pytest.raises((OSError, ssl.SSLError, aiohttp.ClientError)):
            await service.get("/v2/")


async def test_the_chain_asks_in_order_and_the_first_that_knows_decides():
    asked = []

    def knows(name, what):
        class One:
            async def authenticate(self, credentials, address):
                asked.append(name)
                if isinstance(what, Exception):
                    raise what
                return what

        return One()

    both = Basic("a", "b")
    assert await Chain([knows(1, None), knows(2, "x"), knows(3, "y")]).authenticate(both, "") == "x"
    assert asked == [1, 2]
    with pytest.raises(InvalidCredentials):
        await Chain([knows(1, None)]).authenticate(Bearer("x"), "")
    asked.clear()
    with pytest.raises(InvalidCredentials, match="no"):
        await Chain([knows(1, InvalidCredentials("no")), knows(2, "x")]).authenticate(both, "")
    assert asked == [1], "a later one must not take what an earlier one knows to be wrong"
    away, later = AuthenticatorUnavailable("away"), AuthenticatorUnavailable("away too")
    assert await Chain([knows(1, away), knows(2, "x")]).authenticate(both, "") == "x"
    for others in ([None], [None, later], [later]):
        chain = Chain([knows(1, away), *(knows(2, each) for each in others)])
        with pytest.raises(AuthenticatorUnavailable, match=r"away$"):
            await chain.authenticate(both, "")


@pytest.mark.parametrize(
    ("shown", "counted"),
    [
        (Basic("alice", "a guess"), 1),
        (Basic("x", "eyJ.eyJ.x"), 0),
        (Basic("x", "a" * 16 + "." + "b" * 64), 0),
        (Bearer("x"), 0),
    ],
)
async def test_what_nobody_can_tell_counts_as_a_guess_if_it_may_be_one(shown, counted):
    """Tokens and keys nobody guesses: a node that pulls while an issuer is away need not wait."""

    class Away:
        async def authenticate(self, credentials, address):
            raise AuthenticatorUnavailable("away")

    class Counted(Unlimited):
        failures = waits = 0

        async def failed(self, address, account):
            self.failures += 1

        async def undecided(self, address, account):
            self.waits += 1

    attempts = Counted()
    with pytest.raises(AuthenticatorUnavailable):
        await Chain([Away()], attempts).authenticate(shown, "")
    assert (attempts.failures, attempts.waits) == (0, counted)
