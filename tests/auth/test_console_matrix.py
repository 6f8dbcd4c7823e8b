"""Every page of the console, for every sort of caller, in every sort of project.

What each is to see follows from the tables of the management API: a page is there for who may ask
one of the routes that it is made of. A page that is not placed here fails. Those whose credentials
are nothing that a form takes are nobody there, whatever they show.
"""

import base64
import contextlib
import ssl
from collections.abc import Iterator

import pytest

from auth.policy import Verb
from registry.http.console.table import PAGES
from tests.auth.everyone import PROJECTS
from tests.auth.requests import MANIFEST
from tests.auth.test_management_matrix import CALLERS, Sort
from tests.auth.test_matrix import CALLERS as OF_THE_API
from tests.console.browser import Browser, text
from tests.oracle.content import digest_of

# Path below the prefix, and what its visitor must be allowed: one of these, on this.
OF_A_PROJECT = {
    "console.project": ("/projects/{p}", [(Verb.DESCRIBE, "project"), (Verb.LIST, "root")]),
    "console.people": ("/projects/{p}/people", [(Verb.DESCRIBE, "project")]),
    "console.webhooks": ("/projects/{p}/webhooks", [(Verb.ADMINISTER, "project")]),
    "console.audit": ("/projects/{p}/audit?period=all", [(Verb.ADMINISTER, "project")]),
    "console.explain": (
        "/projects/{p}/why?principal=user:none&where={p}",
        [(Verb.OPERATE, "project")],
    ),
    "console.repository": ("/repositories/{p}:app", [(Verb.PULL, "app")]),
    "console.tag": ("/repositories/{p}:app/tags/v1", [(Verb.PULL, "app")]),
    "console.manifest": (
        f"/repositories/{{p}}:app/manifests/{digest_of(MANIFEST)}",
        [(Verb.PULL, "app")],
    ),
}
OF_NONE = {
    "console.projects": ("/projects", Verb.ENTER),
    "console.repositories": ("/repositories", Verb.CATALOG),
    "console.registry-audit": ("/audit?period=all", Verb.GOVERN),
    "console.why": ("/why?where=own/app", Verb.ENTER),
}
NOBODY = CALLERS["anonymous"]


def test_every_page_is_placed():
    assert {*OF_A_PROJECT, *OF_NONE} == {route.action for route in PAGES}


@contextlib.contextmanager
def entered(registry, name, shown) -> Iterator[tuple[Browser, Sort]]:
    """A browser of that caller, and what sort of visitor it is: with a session, or nobody."""
    sort = CALLERS[name]
    if isinstance(shown, ssl.SSLContext):
        with Browser(registry.secure_address, options={"context": shown}) as browser:
            yield browser, NOBODY
        return
    if not isinstance(shown, str) or not shown.startswith("Basic "):
        headers = [("Authorization", shown)] if isinstance(shown, str) else []
        with Browser(registry.address, headers) as browser:
            yield browser, NOBODY
        return
    user, _, secret = base64.b64decode(shown[len("Basic ") :]).decode().partition(":")
    with Browser(registry.address) as browser:
        reply = browser.log_in(user, secret)
        assert reply.status == (403 if sort.lapsed else 303), (name, reply)
        assert bool(browser.session) != sort.lapsed
        yield browser, NOBODY if sort.lapsed else sort


@pytest.mark.parametrize("name", CALLERS)
def test_matrix(registry, callers, name):
    with entered(registry, name, callers[name]) as (browser, sort):
        look(browser, sort, name)


def look(browser, sort, name):
    for path, verb in OF_NONE.values():
        page = browser.get(f"/console{path}")
        told = f"{name}: {path}: {page}"
        if not sort.login:
            assert page.status == 303, told
        elif verb is Verb.CATALOG:
            assert page.status == (200 if OF_THE_API[name].catalog else 403), told
        elif verb is Verb.ENTER or verb in sort.beyond:
            assert page.status == 200, told
        else:
            assert page.status == 403, told
        check_names(sort, page, told)
    for where, project in PROJECTS.items():
        if sort is NOBODY and where not in ("own", "public") and name != "anonymous":
            continue  # as nobody in particular, who is tried with all
        for action, (path, wanted) in OF_A_PROJECT.items():
            page = browser.get("/console" + path.replace("{p}", project))
            told = f"{name}: {action} in {where}: {page}"
            if any(sort.may(verb, where, target) for verb, target in wanted):
                assert page.status == 200, told
            elif sort.login and sort.sees(where, "app" if "/repositories/" in path else "project"):
                assert page.status in (403, 404) if action == "console.project" else (403,), told
            else:
                assert page.status == 404, told
            if where != "foreign":
                check_names(sort, page, told)


def check_names(sort, page, told):
    """No page has the name of a project that its visitor has no part in, or of what is in it."""
    body = page.body.decode()
    if not sort.governs:
        assert "foreign" not in body, told
        assert "lender/bpp" not in body, told


@pytest.mark.parametrize("name", [name for name in CALLERS if not CALLERS[name].governs])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    with entered(registry, name, callers[name]) as (browser, _):
        for path, _ in OF_A_PROJECT.values():
            answers = []
            for where in ("foreign", "absent"):
                page = browser.get("/console" + path.replace("{p}", PROJECTS[where]))
                headers = [pair for pair in page.headers if pair[0] not in ("Date", "X-Request-Id")]
                body = text(page).replace(PROJECTS[where], "PROJECT")
                answers.append((page.status, headers, body))
            assert answers[0] == answers[1], (name, path)
            assert answers[0][0] == 404


def test_over_tls_the_cookie_is_for_tls(registry, callers):
    context = callers["certificate that no rule fits"]
    with Browser(registry.secure_address, options={"context": context}) as browser:
        (session,) = [
            line
            for line in browser.log_in("ann").expect(303).all("Set-Cookie")
            if "session" in line
        ]
        assert session.startswith("__Host-moorage-session=")
        assert session.endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure")
        assert "docker pull" in text(browser.get("/console/repositories/own:app/tags/v1"))
        assert "--tls-verify=false" not in text(
            browser.get("/console/repositories/own:app/tags/v1")
        )


@pytest.mark.parametrize("name", ["owner", "guest", "stranger", "administrator"])
def test_repositories_are_those_of_the_catalog(registry, callers, name):
    with entered(registry, name, callers[name]) as (browser, _):
        page = text(browser.get("/console/repositories").expect(200))
    with registry.caller(callers[name]) as caller:
        listed = caller.get("/v2/_catalog").expect(200).json()["repositories"]
    assert [each for each in sorted(listed) if f">{each}</a>" not in page] == []
    assert page.count('<th scope="row">') == len(listed)
