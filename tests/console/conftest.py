"""A registry with a console, and people who look at it."""

from collections.abc import Iterator

import pytest

from auth.roles import Visibility
from tests.auth.tenants import TenantRegistry, basic, tenants
from tests.console.browser import Browser
from tests.console.content import push


@pytest.fixture(scope="module")
def registry() -> Iterator[TenantRegistry]:
    """Projects of several sorts, with a few images in them."""
    with tenants(settings={"environments.bases": ["base/ml"]}) as registry:
        registry.user("adm", administrator=True)
        for name in ("ann", "max", "guy", "eve"):
            registry.user(name)
        registry.project("base", Visibility.PUBLIC, eve="owner")
        demo = registry.project("demo", ann="owner", max="maintainer", guy="guest")
        registry.project("other", eve="owner")
        registry.robot(demo, "ci", "developer", scopes="repository:demo/*:pull")
        with registry.caller(basic("eve")) as eve:
            push(eve, "base/ml", "3.11", b"os" * 400, b"python" * 300)
            push(eve, "other/app", "v1", b"secret of others")
        with registry.caller(basic("ann")) as ann:
            push(ann, "demo/env", "1", b"os" * 400, b"python" * 300, b"libraries")
            push(ann, "demo/env", "2", b"os" * 400, b"python" * 300, b"libraries", b"more")
            push(ann, "demo/app", "v1", b"an app")
        yield registry


@pytest.fixture
def browser(registry: TenantRegistry) -> Iterator[Browser]:
    """A browser of nobody in particular."""
    browser = Browser(registry.address)
    yield browser
    browser.close()


@pytest.fixture
def visitor(registry: TenantRegistry):
    """Make a browser in which somebody has logged in."""
    made = []

    def make(name: str) -> Browser:
        browser = Browser(registry.address)
        made.append(browser)
        browser.log_in(name).expect(303)
        assert browser.session
        return browser

    yield make
    for browser in made:
        browser.close()
