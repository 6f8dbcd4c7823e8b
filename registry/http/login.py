"""Who sent a request: what its head and its connection show, checked."""

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from auth.authenticators.certificates import certificate
from auth.chain import AuthenticatorUnavailable, Chain, TooManyAttempts
from auth.challenge import BadHost, Challenges
from auth.credentials import Bearer, Credentials, InvalidCredentials, read_authorization
from auth.identity import ANONYMOUS, Identity
from auth.jose import InvalidToken
from auth.keyring import KeysUnavailable
from auth.roles import Verb
from auth.scopes import CATALOG, NONE, Resource, Scopes
from auth.tokens import ExpiredToken, TokenVerifier, VerifiedToken
from registry.service.sessions import opened
from registry.spec.errors import TooManyRequests, Unauthorized, Unavailable, Unsupported
from registry.spec.names import RepositoryName
from registry.spec.requests import AppendUpload, CancelUpload, FinishUpload, GetUpload, Request

INVALID: Final = "invalid_token"
INSUFFICIENT: Final = "insufficient_scope"

NO_ANSWER: Final = (TooManyAttempts, AuthenticatorUnavailable, KeysUnavailable)
"""What a caller is told of that is no answer to whether its credentials are good."""

_BEARER: Final = "Bearer "
_OF_A_SESSION: Final = (GetUpload, AppendUpload, FinishUpload, CancelUpload)


def credentials_of(http: BaseRequest) -> Credentials | None:
    """What a request shows: its ``Authorization``, or else the certificate of its connection.

    ``InvalidCredentials`` where that can't be read, or is there twice.
    """
    lines = http.headers.getall(hdrs.AUTHORIZATION, ())
    if len(lines) > 1:
        raise InvalidCredentials("there is more than one Authorization header")
    if lines:
        return read_authorization(lines[0])
    transport = http.transport
    return certificate(transport.get_extra_info("peercert")) if transport else None


def is_secure(http: BaseRequest) -> bool:
    """Whether the request came by TLS to this very process."""
    return http.transport is not None and bool(http.transport.get_extra_info("sslcontext"))


def refusal(
    error: TooManyAttempts | AuthenticatorUnavailable | KeysUnavailable,
) -> TooManyRequests | Unavailable:
    """Return the answer to a caller of whom that is all that can be said now."""
    if isinstance(error, TooManyAttempts):
        return TooManyRequests(error.retry_after)
    return Unavailable(5 if isinstance(error, KeysUnavailable) else error.retry_after)


class Login:
    """Finds out who sent a request, and tells those whom it takes for nobody where to log in."""

    def __init__(self, chain: Chain, verifier: TokenVerifier, challenges: Challenges) -> None:
        """Take tokens of this registry by ``verifier``, and all else by ``chain``."""
        self._chain = chain
        self._verifier = verifier
        self._challenges = challenges

    def remembered(self, http: BaseRequest) -> Identity | None:
        """Return who it is, if it shows a token that was found good before and still is. Quick."""
        lines = http.headers.getall(hdrs.AUTHORIZATION, None)
        if lines is None or len(lines) > 1 or not lines[0].startswith(_BEARER):
            return None
        return self._verifier.remembered(lines[0][len(_BEARER) :])

    async def identify(
        self, http: BaseRequest, request: Request, needed: Callable[[], Scopes] = lambda: NONE
    ) -> Identity:
        """Return who it is; ``ANONYMOUS`` where it shows nothing.

        ``Unauthorized`` for wrong credentials, with a challenge for what is ``needed``;
        ``Unavailable``, ``TooManyRequests``.
        """
        try:
            shown = credentials_of(http)
            if shown is None:
                return ANONYMOUS
            if isinstance(shown, Bearer):
                own = self._own(shown.token, request)
                if own is not None:
                    return own
            return await self._chain.authenticate(shown, http.remote or "")
        except (InvalidCredentials, InvalidToken) as error:
            raise self.unauthorized(http, needed(), INVALID, str(error)) from error
        except NO_ANSWER as error:
            raise refusal(error) from error

    def _own(self, token: str, request: Request) -> Identity | None:
        """Whose the token is, if it is one of this registry."""
        try:
            return self._verifier.verify(token).identity
        except ExpiredToken as error:
            if _may_finish(request, error.token):
                return error.token.identity
            raise
        except InvalidToken:
            return None

    def unauthorized(
        self, http: BaseRequest, needed: Scopes, error: str = "", message: str = ""
    ) -> Unauthorized:
        """Make the refusal that tells the client where to log in, and for what."""
        realm = self.realm(http)
        values = self._challenges.values(realm, needed, error=error, description=message)
        return Unauthorized(values, message) if message else Unauthorized(values)

    def realm(self, http: BaseRequest) -> str:
        """Return the address of the token service, for this client; ``Unsupported`` without one."""
        try:
            return self._challenges.realm(http.headers.get(hdrs.HOST), secure=is_secure(http))
        except BadHost as error:
            raise Unsupported(str(error)) from error


def _may_finish(request: Request, token: VerifiedToken) -> bool:
    """Whether an expired token is still good for this: it ends what began while it was.

    A large layer takes longer than a token lives (moby#33558), and clients do not ask for another
    in the middle of one. That the session is the caller's, and not too old, its id proves
    (``registry.service.sessions``); that the caller may still push is decided as ever.
    """
    return isinstance(request, _OF_A_SESSION) and token.was_good_at(opened(request.session))


def needed_scopes(verb: Verb, repository: RepositoryName | None) -> Scopes:
    """Return what a token must grant for a request with this verb."""
    if verb is Verb.ENTER:
        return NONE
    if repository is None:
        return Scopes({Resource("registry", CATALOG): {"*"}})
    actions = {Verb.PUSH: ("pull", "push"), Verb.DELETE: ("delete",)}.get(verb, ("pull",))
    return Scopes({Resource("repository", repository): actions})
