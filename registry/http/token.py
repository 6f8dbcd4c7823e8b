"""The token service on the wire: Docker's token protocol, OAuth2's, and the public keys."""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.challenge import Challenges
from auth.credentials import InvalidCredentials
from auth.token_service import Granted, TokenService
from auth.tokens import KeySource
from registry.http.answer import Answer
from registry.http.body import whole
from registry.http.limits import Limits
from registry.http.login import NO_ANSWER, credentials_of, refusal
from registry.http.observe import RequestRecord
from registry.http.trail import Trail, claimed
from registry.spec.errors import (
    LoginRefused,
    MethodNotAllowed,
    TokenRequestInvalid,
)
from registry.spec.token import (
    ACCESS_TOKEN_TYPE,
    MAX_FORM,
    Grant,
    read_body,
    read_query,
    read_revocation,
)

_FORM: Final = re.compile(r"application/x-www-form-urlencoded\s*(?:;.*)?", re.IGNORECASE)
_JSON: Final = ("Content-Type", "application/json")
_NO_STORE: Final = ("Cache-Control", "no-store")


class TokenEndpoint:
    """Answers the paths of the token service.

    ``/token`` gives tokens (GET as Docker has it, POST as OAuth2 has it), ``/token/revoke`` takes
    offline ones back (RFC 7009), ``/.well-known/jwks.json`` publishes the keys that verify them.
    """

    def __init__(
        self,
        service: TokenService,
        challenges: Challenges,
        keys: KeySource,
        limits: Limits,
        trail: Trail,
    ) -> None:
        """Let ``service`` grant; publish the public parts of ``keys``."""
        self._service = service
        self._challenges = challenges
        self._keys = keys
        self._limits = limits
        self._trail = trail

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """The answer to a request to the token service, or ``None`` if it is to something else."""
        try:
            match record.path:
                case "/token" | "/token/":
                    record.action = "token.issue"
                    return await self._issue(http, record)
                case "/token/revoke":
                    record.action = "token.revoke"
                    return await self._revoke(http, record)
                case "/.well-known/jwks.json":
                    record.action = "token.keys"
                    return self._published(http)
        except InvalidCredentials as error:
            raise LoginRefused([self._challenges.basic()], str(error)) from error
        except NO_ANSWER as error:
            raise refusal(error) from error
        return None

    async def _issue(self, http: BaseRequest, record: RequestRecord) -> Answer:
        match http.method:
            case "GET":
                request = read_query(record.query)
                # A form carries its own credentials, so the head counts for a query only.
                shown = credentials_of(http)
            case "POST":
                request, shown = read_body(await self._form(http)), None
            case _:
                raise MethodNotAllowed(("GET", "POST"))
        # What is kept of an offline token is a change; a token itself is kept nowhere.
        telling = self._trail.change(record) if request.offline else self._trail.asking(record)
        async with telling:
            try:
                granted = await self._service.grant(request, shown, record.remote)
            except InvalidCredentials as error:
                account = f"user:{request.username}" if request.username else claimed(http)
                self._trail.login_failed(record, account, str(error))
                raise
            record.principal = granted.identity.name
            self._trail.issued(record, granted, request.scopes)
        body = msgspec.json.encode(_body(granted, request.grant))
        return Answer(200, (_JSON, _NO_STORE, ("Pragma", "no-cache")), body)

    async def _revoke(self, http: BaseRequest, record: RequestRecord) -> Answer:
        if http.method != "POST":
            raise MethodNotAllowed(("POST",))
        text = read_revocation(await self._form(http))
        async with self._trail.change(record):
            await self._service.revoke(text)
        return Answer(200, (_JSON, _NO_STORE), b"{}")

    def _published(self, http: BaseRequest) -> Answer:
        if http.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET", "HEAD"))
        kind = ("Content-Type", "application/jwk-set+json")
        return Answer(200, (kind, ("Cache-Control", "public, max-age=300")), self._keys().jwks())

    async def _form(self, http: BaseRequest) -> str:
        kind = http.headers.get(hdrs.CONTENT_TYPE, "")
        if _FORM.fullmatch(kind) is None:
            raise TokenRequestInvalid("send a form: application/x-www-form-urlencoded")
        body = await whole(http, self._limits, MAX_FORM)
        return body.decode("latin-1")


def _body(granted: Granted, grant: Grant) -> dict[str, object]:
    """The fields that Docker's and OAuth2's clients look for; each wants the token by its name."""
    token = granted.token
    body: dict[str, object] = {
        "token": token.text,
        "access_token": token.text,
        "token_type": "Bearer",
        "scope": str(granted.scopes),
        "expires_in": token.expires - token.issued,
        # docker, containerd and podman read it as a Go time: another format fails the login.
        "issued_at": datetime.fromtimestamp(token.issued, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if granted.offline is not None:
        body["refresh_token"] = granted.offline
    if grant is Grant.EXCHANGE:
        body["issued_token_type"] = ACCESS_TOKEN_TYPE
    return body
