"""The room of the console: find the page, find out who visits, let the page be made, answer."""

import secrets
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.challenge import BadHost, origin
from auth.credentials import InvalidCredentials
from auth.identity import ANONYMOUS, Identity, Scheme
from auth.policy import Action, Allow, Verb
from registry.http.answer import Answer
from registry.http.console import cookies
from registry.http.console.login import FORM_SECONDS, Entrance, LoginForm, check_site, read_login
from registry.http.console.render import Templates
from registry.http.console.static import StaticFiles
from registry.http.console.table import PAGES, find, home, way_back
from registry.http.console.visit import PREFIX, LoginNeeded, Page, Visit
from registry.http.failures import refused
from registry.http.limits import Limits
from registry.http.management import inputs
from registry.http.management.problems import title_of
from registry.http.management.route import Managed
from registry.http.observe import RequestRecord
from registry.http.throttle import Throttle
from registry.spec.errors import RegistryError, Unsupported
from registry.spec.problems import MethodUnknown, NotAllowed, Problem

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

SAFETY: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # What somebody sees is nobody else's, and not the next one's at this computer.
    ("Cache-Control", "no-store"),
)

_READS: Final = (hdrs.METH_GET, hdrs.METH_HEAD)
_LOGIN: Final = f"{PREFIX}/login"
_LOGOUT: Final = f"{PREFIX}/logout"


class Console:
    """Answers the paths below ``/console``."""

    def __init__(
        self,
        managed: Managed,
        entrance: Entrance | None,
        limits: Limits,
        throttle: Throttle | None = None,
        public_url: str = "",
    ) -> None:
        """Let people in by ``entrance``; ``None``: nobody is asked who they are.

        ``public_url`` is scheme, host and port that clients use, ``""``: those of each request.
        """
        self._public_url = public_url
        self._managed = managed
        self._entrance = entrance
        self._limits = limits
        self._throttle = throttle
        self._static, self._templates = _prepared()
        self._home = home(logins=entrance is not None)

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """See ``Room``. What goes wrong is told by a page too."""
        if record.path != PREFIX and not record.path.startswith(f"{PREFIX}/"):
            return None
        record.action = "console"
        visitor: Identity | None = None
        try:
            fixed = self._fixed(http, record)
            if fixed is not None:
                return fixed
            visitor = await self._visitor(http, record)
            return await self._answer(http, record, visitor)
        except LoginNeeded:
            return self._led(f"{_LOGIN}?next={quote(way_back(record.path), safe='/:')}")
        except Exception as error:
            found = error if isinstance(error, Problem) else refused(error, record.request_id)
            if found is None:
                raise
            return self._refusal(http, record, visitor, found)

    def _fixed(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """What is the same for everybody."""
        if http.method not in _READS:
            return None
        if record.path in (PREFIX, f"{PREFIX}/"):
            return self._led(self._home)
        found = self._static.answer(http, record.path, record.query)
        if found is not None:
            record.action = "console.static"
        return found

    async def _visitor(self, http: BaseRequest, record: RequestRecord) -> Identity:
        """Find out who it is. A session whose credential no longer stands is none."""
        if self._entrance is None:
            return ANONYMOUS
        identity = self._entrance.visitor(http)
        if identity.scheme is Scheme.NONE:
            return ANONYMOUS
        action = Action(Verb.ENTER, address=record.remote)
        decision = await self._managed.policy.decide(identity, action)
        if not isinstance(decision, Allow):
            self._managed.trail.denied(record, identity, action, decision)
            return ANONYMOUS
        record.principal = identity.name
        return identity

    async def _answer(self, http: BaseRequest, record: RequestRecord, visitor: Identity) -> Answer:
        if self._entrance is not None:
            if record.path == _LOGIN:
                record.action = "console.login"
                return await self._login(http, record, visitor, self._entrance)
            if record.path == _LOGOUT:
                record.action = "console.logout"
                return self._logout(http, visitor)
        route, path = find(record.path.removeprefix(PREFIX))
        record.action = route.action
        if http.method not in _READS:
            raise MethodUnknown(_READS)
        given = inputs.read(route.input, path, record.query.replace("+", "%20"))
        record.repository = str(getattr(given, "repository", None) or "")
        if self._throttle is not None:
            await self._throttle.management(visitor, record)
        public = self._public_url or _origin(http)
        scheme, _, host = public.partition("://")
        visit = Visit(http, record, given, visitor, self._managed, host, scheme == "https")
        page = await route.view(visit)
        return self._page(http, record, visitor, page, status=page.status)

    async def _login(
        self, http: BaseRequest, record: RequestRecord, visitor: Identity, entrance: Entrance
    ) -> Answer:
        if http.method in _READS:
            given = inputs.read(_Next, {}, record.query)
            if visitor.scheme is not Scheme.NONE:
                return self._led(PREFIX + way_back(given.next))
            return self._form(http, record, visitor, entrance, LoginForm("", "", given.next))
        if http.method != hdrs.METH_POST:
            raise MethodUnknown((*_READS, hdrs.METH_POST))
        if not entrance.is_private(http):
            raise NotAllowed(_UNPROTECTED)
        form = await read_login(http, self._limits)
        try:
            identity, session = await entrance.enter(form.username, form.password, record.remote)
        except InvalidCredentials as error:
            self._managed.trail.login_failed(record, f"user:{form.username}", str(error))
            return self._form(http, record, visitor, entrance, form, str(error), 403)
        record.principal = identity.name
        self._managed.trail.login(record, identity)
        kept = cookies.written(http, cookies.SESSION, session.text, session.seconds)
        used = cookies.written(http, cookies.FORM, "", 0)
        return self._led(PREFIX + way_back(form.next), kept, used)

    def _logout(self, http: BaseRequest, visitor: Identity) -> Answer:
        """Forget the session; for who has none there is nothing to do, whoever sent the browser."""
        if http.method != hdrs.METH_POST:
            raise MethodUnknown((hdrs.METH_POST,))
        check_site(http)
        if visitor.scheme is Scheme.NONE:
            return self._led(_LOGIN)
        return self._led(_LOGIN, cookies.written(http, cookies.SESSION, "", 0))

    def _form(
        self,
        http: BaseRequest,
        record: RequestRecord,
        visitor: Identity,
        entrance: Entrance,
        form: LoginForm,
        problem: str = "",
        status: int = 200,
    ) -> Answer:
        value = secrets.token_urlsafe(24)
        page = Page(
            "login.html",
            {
                "username": form.username,
                "next": form.next,
                "form": value,
                "problem": problem,
                "unprotected": "" if entrance.is_private(http) else _UNPROTECTED,
            },
        )
        kept = cookies.written(http, cookies.FORM, value, FORM_SECONDS)
        # A session that is good stays so, whatever else is tried beside it.
        nobody = visitor if visitor.scheme is Scheme.NONE else None
        return self._page(http, record, nobody, page, kept, status=status)

    def _page(
        self,
        http: BaseRequest,
        record: RequestRecord,
        visitor: Identity | None,
        page: Page,
        *headers: tuple[str, str],
        status: int = 200,
    ) -> Answer:
        """Fill the page. A session that is over is taken away.

        ``None``: who visits was not found out, or is not shown. Whatever session there is stays.
        """
        over: tuple[tuple[str, str], ...] = ()
        nobody = visitor is not None and visitor.scheme is Scheme.NONE
        if nobody and cookies.read(http, cookies.SESSION):
            over = (cookies.written(http, cookies.SESSION, "", 0),)
        facts: Mapping[str, Any] = {
            "visitor": "" if visitor is None or nobody else visitor.name,
            "logins": self._entrance is not None,
            "home": self._home,
            "here": way_back(record.path),
            "action": record.action,
            **page.facts,
        }
        told = (*SAFETY, ("X-Request-Id", record.request_id), *over, *headers)
        return Answer(status, told, self._templates.render(page.template, facts))

    def _led(self, to: str, *headers: tuple[str, str]) -> Answer:
        return Answer(303, (("Location", to), *SAFETY, *headers))

    def _refusal(
        self,
        http: BaseRequest,
        record: RequestRecord,
        visitor: Identity | None,
        error: Problem | RegistryError,
    ) -> Answer:
        """What is not there and what is not for the visitor look alike, to the byte."""
        record.code = error.type if isinstance(error, Problem) else error.code
        headers = () if isinstance(error, Problem) else tuple(error.lines())
        if isinstance(error, MethodUnknown):
            headers = (("Allow", error.allowed),)
        missing = error.status == 404
        page = Page(
            "refusal.html",
            {
                "title": "There is no such page" if missing else title_of(type(error)),
                "message": "" if missing else error.message,
                "missing": missing,
                "request_id": record.request_id if error.status >= 500 else "",
            },
        )
        return self._page(http, record, visitor, page, *headers, status=error.status)


@cache
def _prepared() -> tuple[StaticFiles, Templates]:
    """Read and compile, once in a process, so that no visitor waits for it."""
    static = StaticFiles()
    return static, Templates(static, {each.action: each.path for each in PAGES})


def _origin(http: BaseRequest) -> str:
    try:
        return origin(http.headers.get(hdrs.HOST), secure=http.secure)
    except BadHost as error:
        raise Unsupported(str(error)) from error


class _Next(inputs.Nothing, frozen=True, kw_only=True):
    """Where to go on after the login."""

    next: inputs.After = ""


_UNPROTECTED: Final = (
    "passwords are not taken here without TLS, where others could read them: open this page by "
    "https; if a proxy ends TLS, name it in server.trusted_proxies and let it set X-Forwarded-Proto"
)
