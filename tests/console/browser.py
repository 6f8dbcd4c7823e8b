"""A browser without a screen: keeps cookies, follows nothing by itself, and reads pages."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urlencode

from tests.auth.tenants import PASSWORD
from tests.oracle.wire import Client, Headers, Reply

FORM = ("Content-Type", "application/x-www-form-urlencoded")
SAME_SITE = ("Sec-Fetch-Site", "same-origin")


@dataclass
class Browser:
    """One person's browser at one registry. `sent` are headers that go with every request."""

    address: str
    sent: Headers = ()
    options: Mapping[str, object] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = Client(self.address, **self.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()

    def request(
        self, method: str, path: str, headers: Headers = (), body: bytes | None = None
    ) -> Reply:
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = [*headers, ("Cookie", pairs)]
        reply = self.client.request(method, path, [*self.sent, *headers], body)
        for line in reply.all("Set-Cookie"):
            name, _, rest = line.partition("=")
            value, _, attributes = rest.partition(";")
            self.cookies.pop(name, None)
            if "Max-Age=0" not in attributes:
                self.cookies[name] = value
        return reply

    def get(self, path: str, *headers: tuple[str, str]) -> Reply:
        return self.request("GET", path, headers)

    def post(self, path: str, fields: Mapping[str, str], *headers: tuple[str, str]) -> Reply:
        body = urlencode(fields).encode()
        return self.request("POST", path, [FORM, SAME_SITE, *headers], body)

    def form(self, to: str = "") -> dict[str, str]:
        """Fetch the login form; give its hidden fields."""
        page = self.get("/console/login" + (f"?next={quote(to, safe='')}" if to else ""))
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text(page)))

    def log_in(self, name: str, secret: str = PASSWORD, to: str = "") -> Reply:
        fields = self.form(to)
        return self.post("/console/login", {**fields, "username": name, "password": secret})

    @property
    def session(self) -> str:
        """The session that it holds, `""` for none."""
        return next((v for name, v in self.cookies.items() if name.endswith("-session")), "")


def text(page: Reply) -> str:
    """The page, decoded."""
    assert page["Content-Type"] == "text/html; charset=utf-8", page
    return page.body.decode()


def shown(page: Reply) -> str:
    """What a person reads of a page: its text, white space as one space."""
    bare = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text(page), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare))


def links(page: Reply) -> list[str]:
    """Where the links of a page lead."""
    return [html.unescape(each) for each in re.findall(r'<a\b[^>]*href="([^"]*)"', text(page))]
