"""Take the pictures of the console that the documentation shows, in a registry with a little in it.

    python -m tests.console.screenshots DIRECTORY [all]

With `all`, every page in the light, in the dark and on a narrow screen: to look at, not to keep.
"""

import base64
import sys
from pathlib import Path

from auth.roles import Role, Visibility
from registry.spec.quota import Limits
from tests.auth.tenants import ROOT, TenantRegistry, basic, tenants
from tests.console.chromium import Window, chromium
from tests.console.content import attach, push, push_index
from tests.oracle.content import random_bytes

MEGABYTE = 1_000_000

PICTURES = {
    "console-project": ("/projects/churn", "light", 1100),
    "console-repository": ("/repositories/churn:env", "light", 1100),
    "console-image": ("/repositories/churn:env/tags/2026.11-3", "dark", 1100),
    "console-why": ("/why?verb=push&where=fraud/env", "light", 1100),
}

EVERY = (
    *("/login", "/projects", "/projects/churn", "/projects/churn/people", "/repositories"),
    *("/projects/churn/webhooks", "/projects/churn/audit?period=all", "/nothing"),
    *(
        "/repositories/churn:env",
        "/repositories/churn:env?by=name",
        "/why?verb=push&where=fraud/env",
    ),
    *("/repositories/churn:env/tags/2026.11-3", "/repositories/churn:serving/tags/v2"),
    "/projects/churn/why?principal=user:kim&verb=delete&where=churn/env",
)


def furnish(registry: TenantRegistry) -> None:
    """Make projects as a platform has them."""
    for name in ("ada", "kim", "lin"):
        registry.user(name)
    registry.project("base", Visibility.INTERNAL, lin="owner")
    churn = registry.project("churn", ada="owner", kim="developer", lin="guest")
    registry.project("fraud", kim="owner", ada="guest")
    registry.member(churn, "group:ml-platform", "maintainer")
    registry.run(registry.tenancy.quotas.set(churn, Limits(120 * MEGABYTE, 10, 50, 90), ROOT))
    registry.robot(churn, "serving", "guest", scopes="repository:churn/serving:pull")
    registry.robot(churn, "ci", Role.DEVELOPER.value)
    os, python = (random_bytes(name, size * MEGABYTE) for name, size in (("os", 9), ("py", 14)))
    with registry.caller(basic("lin")) as lin:
        push(lin, "base/python", "3.11", os, python)
        push(lin, "base/python", "3.13", os, random_bytes("py3.13", 15 * MEGABYTE))
    with registry.caller(basic("kim")) as kim:
        push(kim, "fraud/env", "1", os, python)
        push(kim, "churn/notebook", "1", os, python, random_bytes("jupyter", MEGABYTE))
    with registry.caller(basic("ada")) as ada:
        libraries = random_bytes("libraries", 5 * MEGABYTE)
        for number, size in (("1", 900), ("2", 1400), ("3", 350)):
            config = {
                "Entrypoint": ["/bin/bash", "-l"],
                "Cmd": ["python", "-m", "churn.train"],
                "WorkingDir": "/srv/churn",
                "User": "10001",
                "Env": ["PATH=/opt/conda/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
                "Labels": {"org.opencontainers.image.title": "churn environment"},
            }
            layers = (os, python, libraries, random_bytes(number, size * 1000))
            subject = push(ada, "churn/env", f"2026.11-{number}", *layers, config=config)
            push(ada, "churn/env", "latest", *layers, config=config)
        attach(ada, "churn/env", subject, "application/spdx+json", b'{"spdxVersion": "SPDX-2.3"}')
        attach(ada, "churn/env", subject, "application/vnd.dev.sigstore.bundle.v0.3+json", b"{}")
        children = {
            name: push(
                ada, "churn/serving", name, random_bytes(name, 4 * MEGABYTE), architecture=name
            )
            for name in ("amd64", "arm64")
        }
        push_index(ada, "churn/serving", "v2", children)
    registry.run(registry.services.quotas.count(churn.id))
    registry.run(registry.journal.flush())


def picture(window: Window, path: str, scheme: str, width: int, most: int = 1600) -> bytes:
    """Take a picture of a page, as far down as it goes, but no further than `most`."""
    window.look(scheme, width, 300)
    window.open(path)
    height = min(
        int(window.evaluate("document.querySelector('main').getBoundingClientRect().bottom")), most
    )
    window.look(scheme, width, height)
    return base64.b64decode(window.tell("Page.captureScreenshot", format="png")["data"])


def main(directory: Path, *, every: bool) -> None:
    """Take them all."""
    with tenants(settings={"environments.bases": ["base/python"]}) as registry:
        furnish(registry)
        with chromium() as driver:
            window = Window(driver, registry.address)
            window.log_in("ada")
            for name, (path, scheme, width) in PICTURES.items():
                image = picture(window, path, scheme, width, 960)
                (directory / f"{name}.png").write_bytes(image)
            if not every:
                return
            for number, path in enumerate(EVERY):
                if path == "/login":
                    continue
                for scheme, width in (("light", 1200), ("dark", 360)):
                    file = directory / f"{number:02}-{scheme}.png"
                    file.write_bytes(picture(window, path, scheme, width))
            window.tell("Network.clearBrowserCookies")
            (directory / "login.png").write_bytes(picture(window, "/login", "light", 800))


if __name__ == "__main__":
    main(Path(sys.argv[1]), every="all" in sys.argv[2:])
