"""Logging in and out: who gets a session, what it is good for, and when it ends."""

import json
import re
import time

import pytest

from auth.roles import Visibility
from registry.service.projects.accounts import AccountTerms
from tests.auth.tenants import PASSWORD, ROOT, basic, bearer, tenants
from tests.console.browser import FORM, Browser, links, shown, text

PROJECTS = "/console/projects"


def cookie(reply, ending):
    """The one cookie that an answer sets whose name ends so: its name, and its attributes."""
    (found,) = [line for line in reply.all("Set-Cookie") if re.match(rf"[\w-]*{ending}=", line)]
    name, _, rest = found.partition("=")
    return name, rest.split("; ")


def last_login(registry):
    """What the audit log was told last of logins; refusals of other tests are told of later."""
    registry.run(registry.journal.flush())
    events = map(json.loads, registry.audit_lines)
    return [event for event in events if event["action"].startswith("login.")][-1]


def test_a_password_begins_a_session(browser):
    reply = browser.log_in("ann").expect(303)
    assert reply["Location"] == PROJECTS
    name, (value, *attributes) = cookie(reply, "session")
    assert name == "moorage-session"
    assert value.count(".") == 2
    assert attributes == ["Path=/console", "Max-Age=3600", "HttpOnly", "SameSite=Strict"]
    page = browser.get(PROJECTS).expect(200)
    assert "Log out" in shown(page)
    assert "demo" in shown(page)


def test_an_access_token_does_too_and_bounds_what_is_seen(registry, browser):
    secret = registry.access_token("ann", "repository:demo/app:pull")
    browser.log_in("ann", secret).expect(303)
    browser.get("/console/repositories/demo:app").expect(200)
    browser.get("/console/repositories/demo:env").expect(404)


def test_a_robot_may_log_in(registry, browser):
    demo = registry.run(registry.tenancy.projects.named("demo"))
    secret = registry.robot(demo.tenant, "looker", "guest")
    browser.log_in("demo+looker", secret).expect(303)
    browser.get("/console/repositories/demo:app").expect(200)


@pytest.mark.parametrize(
    ("name", "secret"), [("ann", "not the password"), ("nobody-here", PASSWORD), ("", "")]
)
def test_wrong_credentials_begin_none(registry, browser, name, secret):
    reply = browser.log_in(name, secret)
    assert reply.status == 403
    assert reply.all("WWW-Authenticate") == []
    assert "the user name or the password is wrong" in shown(reply).lower()
    assert not browser.session
    assert secret not in text(reply) or not secret


def test_logins_have_their_events(registry, browser):
    registry.user("joe")
    browser.log_in("joe", "not the password").expect(403)
    event = last_login(registry)
    assert (event["action"], event["principal"]) == ("login.failed", "user:joe")
    browser.log_in("joe").expect(303)
    event = last_login(registry)
    assert (event["action"], event["principal"]) == ("login.succeeded", "user:joe")


def test_who_guesses_has_to_wait():
    with tenants(settings={"rates.enabled": "on"}) as registry:
        registry.user("ann")
        browser = Browser(registry.address)
        for _ in range(20):
            reply = browser.log_in("ann", "not the password")
            if reply.status == 429:
                break
        assert reply.status == 429
        assert int(reply["Retry-After"]) >= 1
        assert "Too many requests" in shown(reply)
        # The same account waits wherever it is tried.
        with registry.caller(basic("ann")) as caller:
            assert caller.get("/token?service=moorage").status == 429
        browser.close()


def test_a_form_that_was_not_fetched_here_logs_nobody_in(browser):
    wanted = {"username": "ann", "password": PASSWORD}
    for fields in ({}, {"form": ""}, {"form": "guessed"}):
        browser.post("/console/login", {**wanted, **fields}).expect(403)
    fields = browser.form()
    browser.cookies.clear()
    browser.post("/console/login", {**wanted, **fields}).expect(403)
    other = browser.form()
    assert other["form"] != fields["form"]
    browser.post("/console/login", {**wanted, **fields}).expect(403)
    assert not browser.session


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "x"])
def test_no_other_site_sends_forms(browser, visitor, site):
    fields = {**browser.form(), "username": "ann", "password": PASSWORD}
    headers = [FORM, ("Sec-Fetch-Site", site)]
    body = "&".join(f"{key}={value}" for key, value in fields.items()).encode()
    browser.request("POST", "/console/login", headers, body).expect(403)
    assert not browser.session
    ann = visitor("ann")
    ann.request("POST", "/console/logout", headers, b"").expect(403)
    ann.get(PROJECTS).expect(200)


def test_a_browser_that_says_nothing_of_sites_logs_in(browser):
    fields = {**browser.form(), "username": "ann", "password": PASSWORD.replace(" ", "+")}
    body = "&".join(f"{key}={value}" for key, value in fields.items()).encode()
    browser.request("POST", "/console/login", [FORM], body).expect(303)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", ""])
def test_a_login_is_a_form(browser, kind):
    browser.form()
    browser.request("POST", "/console/login", [("Content-Type", kind)], b"x=1").expect(400)


def test_a_login_form_has_an_end(browser):
    browser.form()
    browser.post("/console/login", {"password": "x" * 70_000}).expect(413)


def test_fields_are_given_once(browser):
    token = browser.form()["form"]
    body = f"form={token}&username=ann&username=eve&password=x".encode()
    browser.request("POST", "/console/login", [FORM], body).expect(400)


LEADS = [
    ("/console/projects/demo", "/console/projects/demo"),
    ("/projects/demo", "/console/projects/demo"),
    ("/console/repositories/demo:app/tags/v1", "/console/repositories/demo:app/tags/v1"),
    ("https://evil.test/console/projects", PROJECTS),
    ("//evil.test/projects", PROJECTS),
    ("/console//evil.test", PROJECTS),
    ("/\\evil.test", PROJECTS),
    ("/console/../../evil", PROJECTS),
    ("javascript:alert(1)", PROJECTS),
    ("/console/projects/%0d%0aSet-Cookie:x=y", PROJECTS),
    ("/console/projects/a%2F..%2Fb", "/console/projects/a%2F..%2Fb"),
    ("/v2/demo/app/blobs/x", PROJECTS),
    ("/console/logout", PROJECTS),
    ("x" * 1000, PROJECTS),
]


@pytest.mark.parametrize(("wanted", "led"), LEADS)
def test_a_login_leads_to_a_page_of_the_console_and_nowhere_else(browser, wanted, led):
    assert browser.log_in("ann", to=wanted).expect(303)["Location"] == led
    # Nor does the form for who has logged in already.
    again = browser.request("GET", f"/console/login?next={wanted.replace('%', '%25')}")
    assert again.expect(303)["Location"].startswith("/console/")


def test_who_is_nobody_is_led_to_the_login_and_back(browser):
    for path in ("/console/repositories", "/console/why", "/console/projects", "/console/audit"):
        to = browser.get(path).expect(303)["Location"]
        assert to == f"/console/login?next={path.removeprefix('/console')}"
        assert browser.log_in("adm", to=path).expect(303)["Location"] == path
        browser.cookies.clear()


def test_logging_out_ends_it(visitor):
    ann = visitor("ann")
    reply = ann.post("/console/logout", {}).expect(303)
    assert reply["Location"] == "/console/login"
    assert not ann.session
    ann.get(PROJECTS).expect(303)


def test_logging_out_nobody_changes_nothing(browser):
    """A page of another site can send a browser here, without its cookies: they stay."""
    reply = browser.post("/console/logout", {}).expect(303)
    assert reply.all("Set-Cookie") == []


def test_a_session_is_good_for_the_console_only(registry, visitor):
    session = visitor("ann").session
    for path in ("/v2/", "/v2/demo/app/tags/list", "/api/v1/projects", "/token?service=moorage"):
        with registry.caller(bearer(session)) as caller:
            assert caller.get(path).status == 401, path
        with registry.caller(None) as caller:
            reply = caller.get(path, ("Cookie", f"moorage-session={session}"))
            assert reply.status == 401, path
    with registry.caller(basic("ann", session)) as caller:
        assert caller.get("/api/v1/projects").status == 401


def test_only_a_session_is_one(registry, visitor, browser):
    token = registry.token(basic("ann"), "repository:demo/app:pull")
    good = visitor("ann").session
    head, payload, signature = good.split(".")
    for bad in (
        token,
        "x",
        "",
        "a.b.c",
        f"{head}.{payload}.",
        f"{head}.{payload[:-2]}AA.{signature}",
    ):
        browser.cookies["moorage-session"] = bad
        browser.get(PROJECTS).expect(303)
    browser.cookies["moorage-session"] = good
    browser.get(PROJECTS).expect(200)
    # Of two, nobody can tell whose it is.
    reply = browser.client.get(
        PROJECTS, ("Cookie", f"moorage-session={good}; moorage-session={good}")
    )
    assert reply.status == 303


def test_other_credentials_count_for_nothing(registry):
    """What a browser adds by itself, as remembered passwords, is no session."""
    for shown_now in (basic("ann"), bearer(registry.token(basic("ann"), "project:demo:manage"))):
        with registry.caller(shown_now) as caller:
            assert caller.get(PROJECTS).status == 303
            assert caller.get("/console/projects/demo").status == 404


def test_a_session_ends_with_what_it_rests_on(registry):
    demo = registry.run(registry.tenancy.projects.named("demo")).tenant
    tenancy = registry.tenancy
    registry.user("bob")
    registry.user("kim")
    for name in ("bob", "kim"):
        registry.member(demo, f"user:{name}", "guest")
    token = registry.access_token("kim")
    ends = {
        "bob": lambda: tenancy.accounts.set_password("bob", PASSWORD + "!", ROOT),
        "kim": lambda: tenancy.access_tokens.remove("user:kim", token.split("_")[2], ROOT),
    }
    for name, end in ends.items():
        browser = Browser(registry.address)
        browser.log_in(name, token if name == "kim" else PASSWORD).expect(303)
        browser.get("/console/projects/demo").expect(200)
        registry.run(end())
        reply = browser.get("/console/projects/demo")
        assert reply.status == 404, name
        assert "Log in" in shown(reply)
        assert not browser.session  # it is taken away, so that nobody wonders
        browser.close()
    browser = Browser(registry.address)
    browser.log_in("kim").expect(303)
    registry.run(tenancy.members.remove(demo, "user:kim", ROOT))
    assert browser.get("/console/projects/demo").status == 404
    registry.run(tenancy.accounts.put("kim", AccountTerms((), blocked=True), ROOT))
    browser.get(PROJECTS).expect(303)
    assert browser.log_in("kim").status == 403
    browser.close()


def test_a_failure_ends_no_session(visitor, monkeypatch):
    """What can't be found out now, or is not even looked for, says nothing of who visits."""
    from registry.http.console.login import Entrance  # noqa: PLC0415
    from registry.spec.errors import Unavailable  # noqa: PLC0415

    ann = visitor("ann")
    good = ann.session

    def away(*_):
        raise Unavailable(5)

    with monkeypatch.context() as broken:
        broken.setattr(Entrance, "visitor", away)
        assert ann.get(PROJECTS).expect(503).all("Set-Cookie") == []
    assert ann.get("/console/static/never.css").expect(404).all("Set-Cookie") == []
    reply = ann.post("/console/login", {})
    assert (reply.status, reply.all("Set-Cookie")) == (403, [])
    value = "a-form-of-its-own"
    ann.cookies["moorage-form"] = value
    typed = {"form": value, "username": "ann", "password": "not the password"}
    reply = ann.post("/console/login", typed).expect(403)
    assert [each.partition("=")[0] for each in reply.all("Set-Cookie")] == ["moorage-form"]
    assert ann.session == good
    ann.get(PROJECTS).expect(200)


def test_a_session_ends_after_its_time(registry, visitor, monkeypatch):
    ann = visitor("ann")
    real = time.time
    monkeypatch.setattr("auth.browser_sessions.time.time", lambda: real() + 3590)
    ann.get(PROJECTS).expect(200)
    monkeypatch.setattr("auth.browser_sessions.time.time", lambda: real() + 3602)
    ann.get(PROJECTS).expect(303)


def test_behind_a_proxy_that_speaks_tls(registry):
    """What the proxy says counts where the proxy is named, and only there."""
    from registry.config import ServerConfig  # noqa: PLC0415

    config = ServerConfig(trusted_proxies=("127.0.0.0/8",))
    away = ("X-Forwarded-For", "203.0.113.9")
    with tenants(config=config) as behind:
        behind.user("ann")
        behind.project("demo", Visibility.PRIVATE, ann="owner")
        plain = Browser(behind.address, [away])
        assert "without TLS" in shown(plain.get("/console/login"))
        assert 'type="password"' not in text(plain.get("/console/login"))
        assert plain.log_in("ann").status == 403
        assert "https" in shown(plain.log_in("ann"))
        secure = Browser(behind.address, [away, ("X-Forwarded-Proto", "https")])
        reply = secure.log_in("ann").expect(303)
        name, (_, *attributes) = cookie(reply, "session")
        assert name == "__Host-moorage-session"
        assert attributes == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Strict", "Secure"]
        secure.get("/console/projects/demo").expect(200)
        # Without TLS that cookie is none, nor is one over TLS that has the plain name.
        plain.cookies = dict(secure.cookies)
        plain.get("/console/projects/demo").expect(404)
        secure.cookies = {"moorage-session": secure.session}
        secure.get("/console/projects/demo").expect(404)
        plain.close()
        secure.close()


@pytest.mark.parametrize(
    "sent",
    [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=203.0.113.9;proto=https"),
        ("Via", "1.1 proxy"),
    ],
)
def test_a_proxy_on_this_machine_that_is_not_named_is_not_this_machine(registry, sent):
    with Browser(registry.address, [sent]) as passed_on:
        page = passed_on.get("/console/login")
        assert "server.trusted_proxies" in shown(page)
        assert 'type="password"' not in text(page)
        assert passed_on.log_in("ann").status == 403


def test_an_address_by_https_names_no_proxy():
    from registry.config import ServerConfig  # noqa: PLC0415

    with tenants(config=ServerConfig(public_url="https://images.example.org")) as registry:
        registry.user("ann")
        with Browser(registry.address, [("X-Forwarded-Proto", "https")]) as passed_on:
            reply = passed_on.log_in("ann").expect(403)
        assert "name it in server.trusted_proxies" in shown(reply)
        assert "public_url" not in shown(reply)


def test_a_console_can_be_left_out():
    for settings in ({"console.enabled": "off"}, {"console.enabled": "auto"}):
        with tenants(settings=settings) as registry:
            browser = Browser(registry.address)
            for path in ("/console", "/console/", "/console/login", "/console/static/console.css"):
                assert browser.get(path).status == 404
            browser.close()


def test_the_form_reads_well(browser):
    page = browser.get("/console/login").expect(200)
    body = text(page)
    assert 'autocomplete="current-password"' in body
    assert '<label for="username">' in body
    assert '<label for="password">' in body
    assert set(links(page)) == {"#main", "/console/projects"}
