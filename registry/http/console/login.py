"""Logging in and out with a browser: the only requests of the console that are more than a look."""

import secrets
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.browser_sessions import BrowserSession, BrowserSessions
from auth.chain import Chain
from auth.credentials import checked
from auth.identity import ANONYMOUS, Identity
from auth.jose import InvalidToken
from auth.keyring import KeysUnavailable
from auth.standing import StandingOf, check_standing
from registry.http.body import whole
from registry.http.console import cookies
from registry.http.limits import Limits
from registry.http.login import NO_ANSWER, refusal
from registry.spec.errors import Unavailable
from registry.spec.problems import NotAllowed, RequestInvalid
from registry.spec.query import read_form, single
from registry.spec.token import MAX_FORM

FORM_SECONDS: Final = 3600
"""Time for which a login form that was fetched can be sent."""

_FORM: Final = "application/x-www-form-urlencoded"

_PASSED_ON: Final = (hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_PROTO, hdrs.FORWARDED, hdrs.VIA)
"""What proxies add (RFC 7239, RFC 9110 §7.6.3)."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Lets people in: by what the registry takes for a login anywhere, to a session.

    ``public_url`` is scheme, host and port that clients use, ``""`` if they are not known.
    """

    chain: Chain
    standing: StandingOf
    sessions: BrowserSessions
    public_url: str = ""

    def visitor(self, http: BaseRequest) -> Identity:
        """Return whose session the request shows; ``ANONYMOUS`` for none, or one that is over.

        ``Unavailable`` where the keys are not at hand.
        """
        shown = cookies.read(http, cookies.SESSION)
        if not shown:
            return ANONYMOUS
        try:
            return self.sessions.read(shown)
        except InvalidToken:
            return ANONYMOUS
        except KeysUnavailable as error:
            raise refusal(error) from error

    async def enter(
        self, username: str, secret: str, address: str
    ) -> tuple[Identity, BrowserSession]:
        """Begin a session for who shows these, from ``address``. As often as tokens are asked for.

        ``InvalidCredentials``; ``TooManyRequests``; ``Unavailable`` also where nobody can vouch for
        the caller now: a session must not outlast what it rests on.
        """
        try:
            identity = await self.chain.authenticate(checked(username, secret), address)
            await check_standing(self.standing, identity, address)
            if not identity.confirmed:
                raise Unavailable(5)
            return identity, self.sessions.begin(identity)
        except NO_ANSWER as error:
            raise refusal(error) from error

    def is_private(self, http: BaseRequest) -> bool:
        """Whether a password gets here unseen, or an operator has decided that it need not.

        By TLS, to here or to a proxy that is believed; from this machine itself; or under a public
        address that is without TLS by its own words. What a proxy passed on came from elsewhere,
        whatever machine the proxy is on.
        """
        if http.secure or self.public_url.startswith("http://"):
            return True
        if any(each in http.headers for each in _PASSED_ON):
            return False
        try:
            return ip_address((http.remote or "").partition("%")[0]).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class LoginForm:
    """What was typed into the login form, and where it leads."""

    username: str
    password: str
    next: str


def check_site(http: BaseRequest) -> None:
    """Refuse what a page of another site made the browser send (Fetch Metadata); ``NotAllowed``."""
    if http.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise NotAllowed("this form is not sent from other sites")


async def read_login(http: BaseRequest, limits: Limits) -> LoginForm:
    """Read the login form. ``RequestInvalid``; ``NotAllowed`` if it was not fetched here.

    Whoever makes a browser send a form of his own knows no value of a cookie that this host set, so
    nobody is logged in as somebody else unawares.
    """
    check_site(http)
    if http.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() != _FORM:
        raise RequestInvalid(f"send a form: {_FORM}")
    body = await whole(http, limits, MAX_FORM)
    fields = read_form(body.decode("latin-1"), RequestInvalid)

    def field(name: str) -> str:
        return single(fields, name, _twice) or ""

    expected, given = cookies.read(http, cookies.FORM), field("form")
    if not expected or not secrets.compare_digest(expected.encode(), given.encode()):
        raise NotAllowed(
            "the form is not from this browser, or too old: go back, load it again, and let the "
            "browser keep its cookie"
        )
    return LoginForm(field("username").strip(), field("password"), field("next"))


def _twice(name: str) -> RequestInvalid:
    return RequestInvalid(f"the field {name} is there more than once")
