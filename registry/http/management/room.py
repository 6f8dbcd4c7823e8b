"""The room of the management API: find the route, decide, read, handle, answer."""

import re
from typing import Final

import msgspec
from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.identity import ANONYMOUS, Identity, Scheme
from auth.policy import Action, Allow, Deny, Why
from auth.roles import REPOSITORY_VERBS
from auth.scopes import NONE, Resource, Scopes
from registry.http.answer import Answer
from registry.http.body import whole
from registry.http.failures import refused
from registry.http.gate import LAPSED
from registry.http.limits import Limits
from registry.http.login import INSUFFICIENT, INVALID, Login, needed_scopes
from registry.http.management import inputs
from registry.http.management.openapi import document
from registry.http.management.problems import refusal
from registry.http.management.route import PREFIX, Call, Managed, Reply, Route
from registry.http.management.table import ROUTES, find
from registry.http.observe import RequestRecord
from registry.http.throttle import Throttle
from registry.http.trail import claimed
from registry.spec.conditions import Conditions
from registry.spec.errors import NameUnknown, RegistryError, Unauthorized
from registry.spec.problems import NotAllowed, NotJson, Problem, ProjectUnknown, RequestInvalid
from registry.spec.requests import Ping

MAX_BODY: Final = 64 * 1024
"""Largest body, in bytes."""

OPENAPI: Final = f"{PREFIX}/openapi.json"

_JSON: Final = re.compile(r"application/(?:json|merge-patch\+json)\s*(?:;.*)?", re.IGNORECASE)
_HEAD: Final = ("Cache-Control", "no-store")


class Management:
    """Answers the paths below ``/api/``."""

    def __init__(
        self,
        managed: Managed,
        login: Login | None,
        limits: Limits,
        throttle: Throttle | None = None,
    ) -> None:
        """Find out with ``login`` who asks; ``None``: nobody is asked."""
        self._managed = managed
        self._login = login
        self._limits = limits
        self._throttle = throttle
        self._document = msgspec.json.encode(document(ROUTES))

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """See ``Room``. Refusals are told as RFC 9457 has it."""
        if record.path != "/api" and not record.path.startswith("/api/"):
            return None
        try:
            return await self._answer(http, record)
        except Problem as error:
            record.code = error.type
            return refusal(error, record.request_id)
        except Exception as error:
            found = refused(error, record.request_id)
            if found is None:
                raise
            record.code = found.code
            return refusal(found, record.request_id)

    async def _answer(self, http: BaseRequest, record: RequestRecord) -> Answer:
        if record.path == OPENAPI and record.method in ("GET", "HEAD"):
            record.action = "openapi"
            return Answer(200, self._headers(record), self._document)
        below = record.path[len(PREFIX) :] if record.path.startswith(f"{PREFIX}/") else ""
        route, path = find(record.method, below)
        record.action = route.action
        given = inputs.read(route.input, path, record.query)
        record.repository = str(getattr(given, "repository", None) or "")
        trail = self._managed.trail
        try:
            identity = await self._identify(http, route, given)
        except Unauthorized as error:
            trail.login_failed(record, claimed(http), error.message)
            raise
        record.principal = identity.name
        trail.login(record, identity)
        if self._throttle is not None:
            await self._throttle.management(identity, record)
        allowed = await self._decide(http, route, given, identity, record)
        body, sent = await self._body(http, route)
        call = Call(http, given, body, identity, allowed, self._managed, record.remote, sent)
        try:
            if route.writes:
                async with trail.change(record, identity, allowed.tenant):
                    reply = await route.handler(call)
            else:
                reply = await route.handler(call)
        except NotAllowed:
            trail.refused(record, identity, allowed.tenant)
            raise
        return self._reply(http, route, call, reply, record)

    async def _identify(self, http: BaseRequest, route: Route, given: msgspec.Struct) -> Identity:
        if self._login is None:
            return ANONYMOUS
        action = route.asks(given, ANONYMOUS, "")
        return await self._login.identify(http, Ping(), lambda: _needed(action))

    async def _decide(
        self,
        http: BaseRequest,
        route: Route,
        given: msgspec.Struct,
        identity: Identity,
        record: RequestRecord,
    ) -> Allow:
        action, decision = await route.decide(self._managed.policy, given, identity, record.remote)
        if isinstance(decision, Allow):
            return decision
        assert action is not None  # noqa: S101 -- what is about nothing is not denied
        self._managed.trail.denied(record, identity, action, decision)
        raise self._refuse(http, route, identity, action, decision)

    def _refuse(
        self, http: BaseRequest, route: Route, identity: Identity, action: Action, deny: Deny
    ) -> Problem | RegistryError:
        """Whoever may not see what it asks about gets the answer that there is to what is absent.

        401 is for callers whose credentials are the trouble, or who showed none.
        """
        if self._login is not None:
            needed = _needed(action)
            if identity.scheme is Scheme.NONE:
                return self._login.unauthorized(http, needed)
            if deny.why in LAPSED:
                return self._login.unauthorized(http, needed, INVALID, deny.reason)
            if deny.visible and deny.why is Why.CEILING and identity.scheme is Scheme.BEARER:
                return self._login.unauthorized(http, needed, INSUFFICIENT, deny.reason)
        if deny.visible:
            return NotAllowed(deny.reason)
        return NameUnknown() if "repository" in route.path.parameters else ProjectUnknown()

    async def _body(self, http: BaseRequest, route: Route) -> tuple[msgspec.Struct | None, bytes]:
        if route.body is None:
            if http.can_read_body:
                raise RequestInvalid("this request has no body: send none")
            # What sites can make a browser send without asking here first (CSRF).
            if route.method == hdrs.METH_POST:  # pragma: no cover -- every POST has a body
                raise NotJson
            return None, b""
        kind = http.headers.get(hdrs.CONTENT_TYPE, "")
        if _JSON.fullmatch(kind) is None:
            raise NotJson
        sent = await whole(http, self._limits, MAX_BODY)
        return inputs.read_body(route.body, sent), sent

    def _reply(
        self,
        http: BaseRequest,
        route: Route,
        call: Call[msgspec.Struct, msgspec.Struct | None],
        reply: Reply,
        record: RequestRecord,
    ) -> Answer:
        headers = self._headers(record)
        if reply.version:
            headers.append(("ETag", f'"{reply.version}"'))
            conditions = Conditions.parse(None, http.headers.get(hdrs.IF_NONE_MATCH))
            if not route.writes and conditions.not_modified(reply.version):
                return Answer(304, headers)
        if reply.after:
            url = inputs.next_url(PREFIX, route.path, call.input, reply.after)
            headers.append(("Link", f'<{url}>; rel="next"'))
        if reply.location:
            headers.append(("Location", PREFIX + reply.location))
        if reply.value is None:
            return Answer(reply.status, headers)
        return Answer(reply.status, headers, msgspec.json.encode(reply.value, enc_hook=str))

    def _headers(self, record: RequestRecord) -> list[tuple[str, str]]:
        return [("Content-Type", "application/json"), _HEAD, ("X-Request-Id", record.request_id)]


def _needed(action: Action | None) -> Scopes:
    """Return what a token must grant for it."""
    if action is None:
        return NONE
    if action.verb in REPOSITORY_VERBS:
        return needed_scopes(action.verb, action.repository)
    if action.project:
        return Scopes({Resource("project", action.project): {"manage"}})
    return NONE
