"""Callers of every sort, and projects of every sort: who the matrices of routes are tried with."""

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from auth.access import Tenant
from auth.roles import Role, Visibility
from registry.config import TLSConfig
from registry.service.projects.accounts import AccountTerms
from registry.service.projects.robots import RobotTerms
from tests.auth.certificates import Party, files_of
from tests.auth.idp import Issuer
from tests.auth.keys import key_set, signing_key
from tests.auth.requests import CONFIG, LAYER, MANIFEST
from tests.auth.tenants import (
    PASSWORD,
    ROOT,
    TenantRegistry,
    basic,
    bearer,
    quick_passwords,
    tenants,
)
from tests.fixtures.programs import find_program, require_program
from tests.fixtures.slapd import PASSWORD as DIRECTORY_PASSWORD
from tests.fixtures.slapd import running_slapd
from tests.hopsworks.platform import Platform, running_apart
from tests.oracle.content import image, push_blob, put_manifest

Shown = str | ssl.SSLContext | None
"""What a caller shows: the value of `Authorization`, or a certificate."""

REPOSITORIES = {
    # sort of project: its repository that has an image. Foreign and absent are of one length.
    "own": "own/app",
    "shared": "lender/app",
    "beside": "lender/bpp",  # of the project that shares, but not shared
    "internal": "inside/app",
    "public": "public/app",
    "foreign": "foreign/app",
    "absent": "absent1/app",
}

PROJECTS = {name: each.partition("/")[0] for name, each in REPOSITORIES.items() if name != "beside"}

SHARED = "common/app"
"""The repository that all projects of the platform are shown in."""

LONG = 2 * 3600
"""Seconds for which the callers' tokens are good: longer than the suite runs."""

SETTINGS = """
[auth.token]
seconds = {seconds}

[auth.workload.ci]
issuer = "https://ci.test"
audiences = ["moorage"]
jwks_file = "{keys}"
rules = [{{ match = {{ sub = "repo:*" }}, name = "{{sub}}" }}]

[auth.oidc.corp]
issuer = "https://corp.test"
audiences = ["moorage"]
jwks_file = "{keys}"

[auth.kubernetes.prod]
issuer = "https://cluster.test"
audiences = ["moorage"]
jwks_file = "{keys}"

[auth.hopsworks]
url = "{platform}"

[platform]
shared_repository = "{shared}"

{ldap}

[tls]
certificate = "{certificate}"
key = "{key}"
client_ca = "{client_ca}"

[[auth.certificates.rules]]
match = {{ cn = "*", dns = "*.people.test" }}
name = "{{cn}}"
kind = "user"
"""

THEIRS = b"a layer that the foreign project alone has"

EVERYTHING = [
    *(f"repository:{name}:pull,push,delete" for name in (*REPOSITORIES.values(), SHARED)),
    *(f"project:{name}:manage" for name in PROJECTS.values()),
]
"""What a token is asked for: all repositories and projects of the matrices. Not the catalog."""


@contextmanager
def furnished(directory: Path) -> Iterator[tuple[TenantRegistry, Mapping[str, Shown]]]:
    """Run a registry; give what each sort of caller shows."""
    clients = Party(directory, "clients")
    files = files_of(directory, clients)
    keys, settings = directory / "keys.json", directory / "settings.toml"
    keys.write_bytes(key_set().jwks())
    with contextlib.ExitStack() as stack:
        platform = stack.enter_context(running_apart())
        slapd = stack.enter_context(running_slapd()) if find_program("slapd") else None
        ldap = f"[auth.ldap]\n{slapd.toml()}" if slapd else ""
        settings.write_text(
            SETTINGS.format(
                keys=keys, seconds=LONG, platform=platform.url, shared=SHARED, ldap=ldap, **files
            )
        )
        with quick_passwords():
            registry = stack.enter_context(tenants(files=[settings], tls=TLSConfig(**files)))
            shown = _furnish(registry, clients, platform)
            of_directory = _of_directory(registry) if slapd else dict.fromkeys(OF_DIRECTORY)
        yield registry, Callers(shown | of_directory)


def _furnish(registry: TenantRegistry, clients: Party, platform: Platform) -> Mapping[str, Shown]:
    for name in ("ann", "max", "dev", "guy", "sue", "rem", "blo", "cha", "filler"):
        registry.user(name)
    registry.user("gru", "eng")
    registry.user("adm", administrator=True)
    earlier = registry.project("own", ann="owner")
    old = registry.token(basic("ann"), *EVERYTHING)
    registry.run(registry.tenancy.projects.remove(earlier, ROOT))
    own = registry.project(
        "own", ann="owner", max="maintainer", dev="developer", guy="guest",
        rem="owner", blo="owner", cha="owner", filler="owner",
    )  # fmt: skip
    number = platform.project("own", meb="Data scientist", kim="Under removal")
    for principal, role in (
        ("group:eng", "developer"),
        ("group:corp/ml", "guest"),
        ("workload:ci/repo:a", "developer"),
        ("group:prod/serving", "guest"),
        ("user:certificate/dora", "maintainer"),
        (f"group:hopsworks/{number}/data-scientist", "developer"),
        ("group:ldap/engineers", "developer"),
    ):
        registry.member(own, principal, role)
    for name, visibility in (
        ("lender", Visibility.PRIVATE),
        ("inside", Visibility.INTERNAL),
        ("public", Visibility.PUBLIC),
        ("foreign", Visibility.PRIVATE),
        (SHARED.partition("/")[0], Visibility.INTERNAL),
    ):
        registry.project(name, visibility, filler="owner")
    with registry.caller(basic("filler")) as filler:
        for repository in (*REPOSITORIES.values(), "own/other", "foreign/other", SHARED):
            if not repository.startswith("absent"):
                push_blob(filler, repository, CONFIG)
                push_blob(filler, repository, LAYER)
                put_manifest(filler, repository, "v1", MANIFEST).expect(201)
        for project in ("own", "lender", "inside", "public", "foreign"):
            put_manifest(filler, SHARED, f"{project}__v1", MANIFEST).expect(201)
        push_blob(filler, "foreign/app", THEIRS)
        put_manifest(filler, SHARED, "foreign__theirs", image(CONFIG, [THEIRS])).expect(201)
    lender = registry.run(registry.tenancy.projects.named("lender")).tenant
    registry.run(registry.tenancy.shares.put(lender, own.id, "lender/app", ROOT))
    return _callers(registry, own, clients, old) | _of_platform(registry, platform)


def _of_platform(registry: TenantRegistry, platform: Platform) -> Mapping[str, Shown]:
    key, token = platform.api_key("meb"), platform.token("meb")
    reads = platform.api_key("meb", {"PROJECT"})
    gone = platform.api_key("meb")
    platform.revoke(gone)
    return {
        "platform's user by a key": f"ApiKey {key}",
        "platform's user by a key, as docker sends it": basic("own__meb", key),
        "platform's user with a token of such": bearer(
            registry.token(basic("x", key), *EVERYTHING)
        ),
        "platform's user by its token": bearer(token),
        "platform's user by a key that only reads": basic("x", reads),
        "platform's user under removal": basic("x", platform.api_key("kim")),
        "platform's user by a revoked key": basic("x", gone),
    }


OF_DIRECTORY = (
    "directory's user",
    "directory's user with a token",
    "directory's user by a wrong password",
)


class Callers(dict[str, Shown]):
    """What each sort of caller shows. Tests of those whom a directory knows are skipped without."""

    def __getitem__(self, name: str) -> Shown:
        if name in OF_DIRECTORY:
            require_program("slapd")
        return super().__getitem__(name)


def _of_directory(registry: TenantRegistry) -> Mapping[str, Shown]:
    ada = basic("ada", DIRECTORY_PASSWORD)
    shown = (ada, bearer(registry.token(ada, *EVERYTHING)), basic("ada", "not the password"))
    return dict(zip(OF_DIRECTORY, shown, strict=True))


def _callers(
    registry: TenantRegistry, own: Tenant, clients: Party, old: str
) -> Mapping[str, Shown]:
    def token(shown: Shown, *wanted: str) -> str:
        return bearer(registry.token(shown, *(wanted or EVERYTHING)))

    narrow = registry.access_token("ann", "repository:own/app:pull")
    gone = registry.access_token("ann")
    robots = {
        name: registry.robot(own, name, role, **terms)
        for name, role, terms in [
            ("ci", "developer", {}),
            ("main", "maintainer", {}),
            ("narrow", "maintainer", {"scopes": "repository:own/app:pull"}),
            ("gone", "maintainer", {}),
            ("late", "maintainer", {}),
            ("far", "maintainer", {"networks": ["192.0.2.0/24"]}),
        ]
    }
    service_account = issued("https://cluster.test", sub="system:serviceaccount:serving:default")
    dora = clients.context("dora.people.test", common_name="dora")
    with mock.patch("time.time", return_value=time.time() - 2 * LONG):
        expired = token(basic("ann"))
    members = {"owner": "ann", "maintainer": "max", "developer": "dev", "guest": "guy"}
    callers: dict[str, Shown] = {
        "anonymous": None,
        "anonymous with a token": token(None),
        **{role: basic(user) for role, user in members.items()},
        **{f"{role} with a token": token(basic(user)) for role, user in members.items()},
        "member by a group": basic("gru"),
        "member by a group with a token": token(basic("gru")),
        "owner with an access token": basic("ann", registry.access_token("ann")),
        "owner with a narrow access token": basic("ann", narrow),
        "owner with a token of a narrow access token": token(basic("ann", narrow)),
        "owner with a token for pull": token(basic("ann"), "repository:own/app:pull"),
        "owner with a token to manage": token(basic("ann"), "project:own:manage"),
        "owner with a token for the catalog": token(basic("ann"), "registry:catalog:*"),
        "robot": basic("own+ci", robots["ci"]),
        "robot with a token": token(basic("own+ci", robots["ci"])),
        "maintainer robot": basic("own+main", robots["main"]),
        "narrow robot": basic("own+narrow", robots["narrow"]),
        "workload": bearer(issued("https://ci.test", sub="repo:a")),
        "workload, by a password": basic("whoever", issued("https://ci.test", sub="repo:a")),
        "workload with a token": token(basic("x", issued("https://ci.test", sub="repo:a"))),
        "workload that no rule fits": bearer(issued("https://ci.test", sub="a")),
        "service account": bearer(service_account),
        "service account, as kubelet sends it": basic("kubelet", service_account),
        "service account with a token": token(basic("kubelet", service_account)),
        "user from elsewhere, by a group": basic("y", issued("https://corp.test", groups=["ml"])),
        "user from elsewhere, no longer in it": basic("y", issued("https://corp.test", groups=[])),
        "expired token of another issuer": bearer(issued("https://corp.test", exp=1, iat=0)),
        "certificate": dora,
        "certificate with a token": token(dora),
        "certificate that no rule fits": clients.context("dora.test", common_name="dora"),
        "stranger": basic("sue"),
        "stranger with a token": token(basic("sue")),
        "administrator": basic("adm"),
        "administrator with a token": token(basic("adm")),
        "member that was removed": basic("rem"),
        "member that was removed, with its token": token(basic("rem")),
        "owner of an earlier project of that name, with its token": bearer(old),
        "expired token": expired,
        "blocked": basic("blo"),
        "blocked, with its token": token(basic("blo")),
        "revoked access token": basic("ann", gone),
        "revoked access token, with its token": token(basic("ann", gone)),
        "robot that is gone": basic("own+gone", robots["gone"]),
        "robot that is gone, with its token": token(basic("own+gone", robots["gone"])),
        "expired robot": basic("own+late", robots["late"]),
        "expired robot, with its token": token(basic("own+late", robots["late"])),
        "changed password": basic("cha"),
        "changed password, with its token": token(basic("cha")),
        "wrong password": basic("ann", "not the password"),
        "no account": basic("nobody-of-that-name"),
        "robot from elsewhere": basic("own+far", robots["far"]),
        "no token": bearer("this.is.none"),
        "no scheme": "Negotiate abcdef",
    }
    _change(registry, own, gone)
    time.sleep(1.1)
    return callers


def issued(issuer: str, **claims: object) -> str:
    """A token of another issuer."""
    maker = Issuer()
    maker.url, maker.keys = issuer, [signing_key()]
    return str(maker.token(**{"exp": int(time.time()) + LONG} | claims))


def _change(registry: TenantRegistry, own: Tenant, gone: str) -> None:
    """What happens after the tokens were issued."""
    tenancy, root = registry.tenancy, ROOT
    registry.run(tenancy.members.put(own, "user:filler", Role.GUEST, root))
    registry.run(tenancy.members.remove(own, "user:rem", root))
    registry.run(tenancy.accounts.put("blo", AccountTerms((), blocked=True), root))
    registry.run(tenancy.robots.remove(own, "gone", root))
    terms = RobotTerms(Role.MAINTAINER, expires=time.time() + 1)
    registry.run(tenancy.robots.put(own, "late", terms, root))
    registry.run(tenancy.access_tokens.remove("user:ann", gone.split("_")[2], root))
    registry.run(tenancy.accounts.set_password("cha", PASSWORD + "!", root))
