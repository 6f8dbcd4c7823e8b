"""The console in a real browser: for everybody, on narrow screens, and against hostile names."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from registry.http.console.table import PAGES
from tests.auth.tenants import basic
from tests.console.chromium import WAIT, Window, chromium
from tests.console.content import attach, push
from tests.console.test_console_pages import HOSTILE

EXAMPLES = {
    "console.projects": "/projects?all=true",
    "console.project": "/projects/demo",
    "console.people": "/projects/demo/people",
    "console.webhooks": "/projects/demo/webhooks",
    "console.repositories": "/repositories",
    "console.repository": "/repositories/demo:env",
    "console.tag": "/repositories/demo:env/tags/2",
    "console.manifest": "/repositories/demo:env/manifests/{digest}",
    "console.audit": "/projects/demo/audit?period=all&action=project.*",
    "console.explain": "/projects/demo/why?principal=user:guy&verb=push&where=demo",
    "console.registry-audit": "/audit",
    "console.why": "/why?verb=push&where=demo/app",
}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def window(registry) -> Iterator[Window]:
    with chromium() as driver:
        yield Window(driver, registry.address)


@pytest.fixture(autouse=True)
def _quiet(window):
    """No page of the console makes the browser complain: of a script, of what the policy blocks."""
    window.scripts(on=True)
    window.look()
    window.tell("Network.clearBrowserCookies")
    window.complaints()
    yield
    told = [each for each in window.complaints() if "status of 40" not in each]
    assert told == []


def test_every_page_is_placed():
    assert set(EXAMPLES) == {route.action for route in PAGES}


@pytest.fixture(scope="module")
def pages(registry) -> dict[str, str]:
    """A path for each page, and for those of refusals."""
    with registry.caller(basic("ann")) as ann:
        digest = ann.get("/v2/demo/env/manifests/2").expect(200)["Docker-Content-Digest"]
    found = {name: path.replace("{digest}", digest) for name, path in EXAMPLES.items()}
    by_name = "/repositories/demo:env?by=name"
    return found | {"nothing": "/nothing", "by name": by_name, "login": "/login"}


def demo_of(registry):
    return registry.run(registry.tenancy.projects.named("demo")).tenant


def test_every_page_is_accessible_in_the_light_and_in_the_dark(registry, window, pages):
    registry.member(demo_of(registry), "user:adm", "owner")
    window.log_in("adm")
    window.bring_axe()
    for name, path in pages.items():
        window.look("light")
        if name == "login":
            window.tell("Network.clearBrowserCookies")
        window.open(path)
        assert window.violations() == [], name
        window.look("dark")
        ground = window.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground != "rgb(255, 255, 255)"
        assert window.violations("color-contrast") == [], name
        window.look(width=360)
        assert window.evaluate("document.documentElement.scrollWidth") <= 360, name
        assert window.violations("scrollable-region-focusable") == [], name


def test_a_person_logs_in_looks_and_logs_out(window):
    window.log_in("ann")
    assert window.driver.current_url.endswith("/console/projects")
    window.driver.find_element(By.LINK_TEXT, "demo").click()
    window.driver.find_element(By.LINK_TEXT, "demo/env").click()
    window.driver.find_element(By.LINK_TEXT, "2").click()
    assert window.driver.find_element(By.TAG_NAME, "h1").text == "demo/env:2"
    # Nothing comes from anywhere else.
    for url in window.evaluate("performance.getEntriesByType('resource').map(each => each.name)"):
        assert url.startswith(f"http://{window.address}/console/static/")
    window.driver.find_element(By.CSS_SELECTOR, ".who button").click()
    window.wait_for(lambda url: url.endswith("/console/login"))
    window.open("/projects")
    assert "/console/login" in window.driver.current_url
    # Back in history nothing is kept.
    window.driver.back()
    assert "demo" not in window.driver.find_element(By.TAG_NAME, "main").text


def test_a_keyboard_is_enough(window):
    window.log_in("ann")
    window.open("/projects")
    body = window.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    skip = window.driver.switch_to.active_element
    assert skip.text == "Skip to the content"
    assert skip.value_of_css_property("outline-style") == "solid"
    skip.send_keys(Keys.ENTER)
    assert window.driver.switch_to.active_element.get_attribute("id") == "main"
    window.driver.switch_to.active_element.send_keys(Keys.TAB)
    # A table can be moved sideways with the keys where it is too wide.
    assert window.driver.switch_to.active_element.get_attribute("role") == "region"
    window.driver.switch_to.active_element.send_keys(Keys.TAB)
    first = window.driver.switch_to.active_element
    assert first.text == "demo"
    first.send_keys(Keys.ENTER)
    window.wait_for(lambda url: url.endswith("/demo"))


def test_a_command_is_copied(window):
    window.log_in("ann")
    window.tell(
        "Browser.grantPermissions",
        origin=f"http://{window.address}",
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
    )
    window.open("/repositories/demo:env/tags/2")
    button = window.driver.find_element(By.CSS_SELECTOR, "button.copy")
    assert button.get_attribute("aria-label").startswith("Copy: docker pull ")
    button.click()
    told = window.driver.find_element(By.CSS_SELECTOR, ".told")
    WebDriverWait(window.driver, WAIT).until(lambda _: told.text)
    copied = window.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], error => arguments[0](String(error)))"
    )
    assert copied == f"docker pull {window.address}/demo/env:2"


def test_scripts_are_not_needed(window):
    window.scripts(on=False)
    window.log_in("ann")
    window.open("/repositories/demo:env/tags/2")
    main = window.driver.find_element(By.TAG_NAME, "main").text
    assert f"docker pull {window.address}/demo/env:2" in main
    assert window.driver.find_elements(By.CSS_SELECTOR, "button.copy") == []
    window.driver.find_element(By.CSS_SELECTOR, ".who button").click()
    window.wait_for(lambda url: url.endswith("/console/login"))


def test_hostile_names_run_nowhere(registry, window):
    with registry.caller(basic("ann")) as ann:
        subject = push(
            ann,
            "demo/evil",
            "v1",
            b"evil",
            config={"User": HOSTILE, "Cmd": [HOSTILE], "Labels": {HOSTILE: HOSTILE}},
            annotations={HOSTILE: HOSTILE, "org.opencontainers.image.base.name": HOSTILE},
        )
        attach(ann, "demo/evil", subject, "application/x", HOSTILE.encode())
    window.log_in("ann")
    asked = HOSTILE.replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
    for path in (
        "/repositories/demo:evil",
        "/repositories/demo:evil/tags/v1",
        f"/why?where={asked}",
        f"/projects/demo/audit?principal={asked}",
        f"/projects/demo/why?where=demo&principal={asked}",
    ):
        window.open(path)
        assert "owned" not in window.driver.title
        assert window.evaluate("document.querySelectorAll('main script, main img').length") == 0
        # Markup that got in all the same would run nothing.
        window.driver.execute_script(
            "const at = document.createElement('div');"
            "at.innerHTML = arguments[0]; document.body.append(at);",
            HOSTILE.replace("src=x", "src='data:image/gif;base64,x'"),
        )
        assert "owned" not in window.driver.title
    assert any("Content Security Policy" in each for each in window.complaints())


def test_what_was_pushed_is_no_page_of_the_registry(registry, window):
    """Else it could read the console with its visitor's session."""
    page = f"<html><body>{HOSTILE}</body></html>".encode()
    with registry.caller(basic("eve")) as eve:
        subject = push(eve, "base/evil", "v1", page)
        body = b'{"schemaVersion":2}'
        for kind in ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml"):
            reply = eve.put("/v2/base/evil/manifests/page", ("Content-Type", kind), body=body)
            assert reply.status == 400, kind
        manifest = eve.get(f"/v2/base/evil/manifests/{subject['digest']}").json()
    window.log_in("ann")
    blob = manifest["layers"][0]["digest"]
    window.driver.get(f"http://{window.address}/v2/base/evil/blobs/{blob}")
    assert "owned" not in window.driver.title
    window.driver.get(f"http://{window.address}/v2/base/evil/manifests/{subject['digest']}")
    assert "owned" not in window.driver.title


def test_another_site_neither_frames_it_nor_sends_its_forms(registry, window):
    window.log_in("ann")
    window.driver.get(
        f"data:text/html,<iframe src='http://{window.address}/console/projects'></iframe>"
        f"<form method=post action='http://{window.address}/console/logout'>"
        "<button>x</button></form>"
    )
    window.complaints()
    window.driver.find_element(By.TAG_NAME, "button").click()
    window.wait_for(lambda url: url.startswith("http://"))
    assert "Not allowed" in window.driver.find_element(By.TAG_NAME, "main").text
    window.open("/projects")
    assert window.driver.find_element(By.CSS_SELECTOR, ".who button").text == "Log out"
