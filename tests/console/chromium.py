"""A real browser: Debian's Chromium, without a window, driven through its own driver."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.auth.tenants import PASSWORD
from tests.fixtures.programs import TOOLS, require_program

WAIT = 30

AXE = TOOLS.parent / "npm" / "axe-core-4.14.1.js"

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Window:
    """One window at one registry."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, path: str) -> None:
        """Go to a page of the console, and wait until it is loaded."""
        self.driver.get(f"http://{self.address}/console{path}")

    def log_in(self, name: str, secret: str = PASSWORD) -> None:
        """Fill in the form, send it, and wait until it has let the visitor in.

        Where scripts are off, the driver itself does not wait for what a click leads to.
        """
        self.open("/login")
        self.driver.find_element(By.NAME, "username").send_keys(name)
        self.driver.find_element(By.NAME, "password").send_keys(secret)
        self.driver.find_element(By.CSS_SELECTOR, ".login button").click()
        self.wait_for(lambda url: urlsplit(url).path != "/console/login")

    def wait_for(self, expected: Callable[[str], bool]) -> None:
        """Wait until the address of the page is what was expected."""
        WebDriverWait(self.driver, WAIT).until(lambda driver: expected(driver.current_url))

    def tell(self, command: str, **parameters: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def bring_axe(self) -> None:
        """Let each page that is opened from now on have axe-core, as if it were its own."""
        self.tell("Page.addScriptToEvaluateOnNewDocument", source=AXE.read_text())

    def look(self, scheme: str = "light", width: int = 1200, height: int = 800) -> None:
        """Prefer a colour scheme, and be so wide."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.tell("Emulation.setEmulatedMedia", features=[feature])
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scripts(self, *, on: bool) -> None:
        """Let pages run scripts, or not."""
        self.tell("Emulation.setScriptExecutionDisabled", value=not on)

    def evaluate(self, expression: str) -> Any:
        """Give the value of an expression of the page."""
        return self.driver.execute_script(f"return {expression}")

    def complaints(self) -> list[str]:
        """What the browser has said of pages since it was asked last: errors, what it blocked."""
        return [each["message"] for each in self.driver.get_log("browser")]

    def violations(self, *rules: str) -> list[str]:
        """What axe-core finds serious or critical about the page, by all rules or these."""
        wanted = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
        found = self.driver.execute_async_script(
            """
            const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ["violations"], ...arguments[0]})
               .then(found => done(found.violations), error => done([{id: String(error)}]));
            """,
            wanted,
        )
        return [
            f"{each['id']}: {each.get('help')}: "
            f"{[node['html'][:200] for node in each.get('nodes', ())[:5]]}"
            for each in found
            if each.get("impact") in ("serious", "critical", None)
        ]


@contextlib.contextmanager
def chromium() -> Iterator[Chrome]:
    """Start Chromium with an empty profile of its own; skip, loudly, where there is none."""
    browser, driver = require_program("chromium"), require_program("chromedriver")
    if not AXE.exists():
        pytest.skip("not installed: axe-core")
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    options = ChromeOptions()
    options.binary_location = browser
    for each in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        started = Chrome(options=options, service=ChromeService(executable_path=driver))
        try:
            started.set_script_timeout(60)
            started.set_page_load_timeout(60)
            yield started
        finally:
            started.quit()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
