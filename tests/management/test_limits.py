"""Rate limits and login back-off: over the wire, and their rules by themselves."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.chain import TooManyAttempts
from registry.config import ConfigError, ServerConfig, load
from registry.http.forwarded import Proxies
from registry.service.attempts import LoginAttempts
from registry.spec.backoff import FREE, LONGEST, wait_after
from storage.rates import LocalRates
from tests.auth.tenants import PASSWORD, basic, tenants
from tests.management.api import Api, problem
from tests.oracle.content import digest_of, push_image

SLOW = 0.001
ON = {"rates.enabled": "on", "rates.address_per_second": 0, "rates.principal_per_second": 0,
      "rates.management_per_second": 0, "rates.logins": False}  # fmt: skip


def limited(**rates):
    named = {f"rates.{name}": value for name, value in rates.items()}
    return tenants(settings=ON | named)


def test_an_address_that_asks_too_much_is_told_when_to_come_again():
    with limited(address_per_second=SLOW, address_burst=3) as registry:
        with registry.caller(None) as caller:
            for _ in range(3):
                caller.get("/v2/").expect(401)
            refused = caller.get("/v2/").refused(429, "TOOMANYREQUESTS")
            assert 900 < int(refused["Retry-After"]) <= 1000
            caller.get("/token?service=moorage&scope=x").refused(429, "TOOMANYREQUESTS")
        assert problem(Api(registry, None).get("/whoami"), 429) == "too-many-requests"


def test_a_caller_is_limited_whatever_its_credential():
    with limited(principal_per_second=SLOW, principal_burst=2) as registry:
        registry.user("ann")
        registry.user("bob")
        token = registry.token(basic("ann"))
        for authorization in (basic("ann"), f"Bearer {token}"):
            with registry.caller(authorization) as caller:
                caller.get("/v2/").expect(200)
        with registry.caller(basic("ann", registry.access_token("ann"))) as caller:
            caller.get("/v2/").refused(429, "TOOMANYREQUESTS")
        with registry.caller(basic("bob")) as caller:
            caller.get("/v2/").expect(200)


def test_management_calls_have_a_limit_of_their_own():
    with limited(management_per_second=SLOW, management_burst=2) as registry:
        registry.user("ann")
        ann = Api(registry, basic("ann"))
        ann.get("/whoami").expect(200)
        ann.get("/projects").expect(200)
        refused = ann.get("/whoami")
        assert problem(refused, 429) == "too-many-requests"
        assert int(refused["Retry-After"]) > 900
        with registry.caller(basic("ann")) as caller:
            caller.get("/v2/").expect(200)


def test_an_upload_that_was_begun_is_never_limited():
    data = b"x" * 1000
    with limited(principal_per_second=SLOW, principal_burst=1, address_per_second=SLOW,
                 address_burst=1) as registry:  # fmt: skip
        registry.project("demo", ann="owner")
        registry.user("ann")
        with registry.caller(basic("ann")) as caller:
            begun = caller.post("/v2/demo/blobs/uploads/").expect(202)
            caller.post("/v2/demo/blobs/uploads/").refused(429, "TOOMANYREQUESTS")
            kind = ("Content-Type", "application/octet-stream")
            sent = caller.patch(begun["Location"], kind, body=data).expect(202)
            caller.get(sent["Location"]).expect(204)
            caller.put(f"{sent['Location']}?digest={digest_of(data)}").expect(201)


@pytest.mark.parametrize("name", ["x/blobs/uploads/y", "blobs/uploads/y", "x/manifests/y"])
def test_what_a_repository_is_called_spares_nobody_a_limit(name):
    """A name may hold what the paths of uploads and manifests hold."""
    with (
        limited(address_per_second=SLOW, address_burst=1) as registry,
        registry.caller(None) as caller,
    ):
        caller.get(f"/v2/{name}/tags/list").expect(401)
        caller.get(f"/v2/{name}/tags/list").refused(429, "TOOMANYREQUESTS")


def test_manifests_are_cheap_and_wait_rather_than_fail():
    with limited(principal_per_second=20, principal_burst=12) as registry:
        registry.project("demo", ann="owner")
        registry.user("ann")
        with registry.caller(basic("ann")) as caller:
            push_image(caller, "demo/app", 1, "v1")  # some of the burst
            began = time.monotonic()
            for _ in range(60):  # more than the burst has left
                caller.head("/v2/demo/app/manifests/v1").expect(200)
            assert time.monotonic() - began > 0.1


def test_failed_logins_have_to_wait_longer_and_longer():
    with limited(logins=True) as registry:
        registry.user("ann")
        registry.user("bob")
        wrong, right = basic("ann", "not the password"), basic("ann")
        answers = []
        for _ in range(FREE + 2):
            with registry.caller(wrong) as caller:
                answers.append(caller.get("/v2/").status)
        assert answers == [401] * (FREE + 1) + [429]
        with registry.caller(right) as caller:
            refused = caller.get("/token?service=moorage").expect(429)
            assert refused["Retry-After"] == "1"
            caller.get("/v2/").refused(429, "TOOMANYREQUESTS")
        with registry.caller(basic("bob")) as caller:
            caller.get("/v2/").expect(200)
        time.sleep(1.1)
        with registry.caller(right) as caller:
            caller.get("/v2/").expect(200)


def test_a_secret_that_was_replaced_does_not_keep_the_new_one_waiting():
    with limited(logins=True) as registry:
        registry.user("ann")
        old, new = registry.access_token("ann"), registry.access_token("ann")
        stale = basic("ann", old[:-1] + ("A" if old[-1] != "A" else "B"))
        answers = []
        for _ in range(FREE + 2):
            with registry.caller(stale) as caller:
                answers.append(caller.get("/token?service=moorage").status)
        assert answers == [401] * (FREE + 1) + [429]
        for good in (new, PASSWORD):
            with registry.caller(basic("ann", good)) as caller:
                caller.get("/token?service=moorage").expect(200)


def test_guesses_at_a_password_or_the_bootstrap_secret_have_to_wait_too():
    with limited(logins=True) as registry:
        registry.user("ann")
        ann, nobody = Api(registry, basic("ann")), Api(registry, None)
        change = {"password": "another good password", "current": "a guess"}
        first = {"secret": "a guess", "name": "root", "password": PASSWORD}
        for api, method, path, body, wrong in (
            (nobody, "POST", "/bootstrap", first, 403),
            (ann, "PUT", "/password", change, 400),
        ):
            answers = [api.ask(method, path, body).status for _ in range(FREE + 2)]
            assert answers == [wrong] * (FREE + 1) + [429]


def test_limits_are_off_in_open_mode_and_on_with_projects():
    assert load().rates.enabled == "auto"
    settings = {
        "rates.enabled": "auto",
        "rates.address_burst": 2,
        "rates.address_per_second": SLOW,
    }
    with tenants(settings=settings) as registry, registry.caller(None) as caller:
        assert [caller.get("/v2/").status for _ in range(3)] == [401, 401, 429]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_waits_double_up_to_a_bound_and_never_shrink():
    waits = [wait_after(count) for count in range(200)]
    assert waits[: FREE + 4] == [0] * (FREE + 1) + [1, 2, 4]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST


async def _fail(attempts, address, account, times=1):
    for _ in range(times):
        await attempts.failed(address, account)


async def test_back_off_is_for_an_account_from_an_address():
    clock = Clock()
    attempts = LoginAttempts(LocalRates(clock=clock), clock=clock)
    await _fail(attempts, "192.0.2.1", "ann", FREE + 3)
    with pytest.raises(TooManyAttempts) as refused:
        await attempts.admit("192.0.2.1", "ann")
    assert refused.value.retry_after == 4
    await attempts.admit("192.0.2.2", "ann")
    await attempts.admit("192.0.2.1", "bob")
    clock.now += 4.1
    await attempts.admit("192.0.2.1", "ann")
    await attempts.succeeded("192.0.2.1", "ann")
    await _fail(attempts, "192.0.2.1", "ann")
    await attempts.admit("192.0.2.1", "ann")


async def test_an_address_that_tries_many_accounts_is_stopped():
    clock = Clock()
    attempts = LoginAttempts(LocalRates(clock=clock), clock=clock, most=50)
    for number in range(200):
        await attempts.admit("192.0.2.1", f"user{number}")
        await attempts.failed("192.0.2.1", f"user{number}")
    with pytest.raises(TooManyAttempts):
        await attempts.admit("192.0.2.1", "another")
    await attempts.admit("192.0.2.2", "another")
    assert len(attempts._failures) == 50


async def test_what_nobody_can_tell_makes_the_account_wait_and_leaves_the_address_alone():
    clock = Clock()
    attempts = LoginAttempts(LocalRates(clock=clock), clock=clock)
    for _ in range(300):
        await attempts.undecided("192.0.2.1", "ann")
    with pytest.raises(TooManyAttempts):
        await attempts.admit("192.0.2.1", "ann")
    await attempts.admit("192.0.2.1", "bob")


PROXIES = Proxies(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # not believed
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),  # the left is the client's own tale
        ("10.0.0.1", ["1.2.3.4", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("2001:db8::5", ["2001:db9::1"], "2001:db9::1"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_whom_a_proxy_speaks_for(peer, forwarded, client):
    assert PROXIES.client(peer, forwarded) == client


@given(st.lists(st.text(max_size=60), max_size=5))
def test_what_clients_write_makes_them_nobody_else(lines):
    """Whatever stands before it, the hop that the proxy added is the one that counts."""
    assert PROXIES.client("10.0.0.1", [*lines, "203.0.113.9"]) == "203.0.113.9"
    assert Proxies([]).client("10.0.0.1", lines) == "10.0.0.1"


def test_the_client_behind_a_proxy_is_the_one_that_is_limited():
    config = ServerConfig(trusted_proxies=("127.0.0.0/8",))
    settings = ON | {"rates.address_per_second": SLOW, "rates.address_burst": 1}
    with tenants(settings=settings, config=config) as registry, registry.caller(None) as caller:
        for client, status in [("192.0.2.1", 401), ("192.0.2.1", 429), ("192.0.2.2", 401)]:
            got = caller.get("/v2/", ("X-Forwarded-For", f"9.9.9.9, {client}"))
            assert got.status == status, client
    assert {record.remote for record in registry.observed.records} == {"192.0.2.1", "192.0.2.2"}


def test_a_header_that_nobody_vouches_for_changes_nothing():
    settings = ON | {"rates.address_per_second": SLOW, "rates.address_burst": 1}
    with tenants(settings=settings) as registry, registry.caller(None) as caller:
        assert caller.get("/v2/", ("X-Forwarded-For", "192.0.2.1")).status == 401
        assert caller.get("/v2/", ("X-Forwarded-For", "192.0.2.2")).status == 429


def test_proxies_are_networks():
    with pytest.raises(ConfigError, match="trusted_proxies"):
        load([], {"MOORAGE__SERVER__TRUSTED_PROXIES": "10.0.0.1/8"})
    config = load([], {"MOORAGE__SERVER__TRUSTED_PROXIES": "10.0.0.0/8,::1/128"})
    assert config.server.trusted_proxies == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("peer", "lines", "secure"),
    [
        ("10.0.0.1", ["https"], True),
        ("10.0.0.1", ["HTTPS "], True),
        ("10.0.0.1", ["http, https"], True),
        ("10.0.0.1", ["https, http"], False),
        ("10.0.0.1", ["https", "http"], False),
        ("10.0.0.1", ["httpsx"], False),
        ("10.0.0.1", [], False),
        ("192.0.2.1", ["https"], False),
        ("", ["https"], False),
    ],
)
def test_whether_a_proxy_was_asked_by_tls_is_for_it_to_say(peer, lines, secure):
    assert PROXIES.secure(peer, lines) is secure
    assert Proxies([]).secure(peer, lines) is False
