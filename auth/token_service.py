"""What the token service does, whatever the wire: credentials and scopes in, a token out.

Grant = requested ∩ allowed. Lack of permission is never an error: the token then grants less, and
the registry says so when it is used. Only credentials that are wrong are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from auth.access import Standing
from auth.chain import Chain
from auth.credentials import Bearer, Credentials, InvalidCredentials, checked
from auth.identity import ANONYMOUS, Identity, Kind
from auth.judgement import Action, Allow
from auth.policy import Policy
from auth.roles import Verb
from auth.scopes import Resource, Scopes, TooManyScopes
from auth.standing import StandingOf, check_standing
from auth.tokens import IssuedToken, TokenIssuer
from registry.spec.errors import NameInvalid, TokenRequestInvalid
from registry.spec.names import RepositoryName
from registry.spec.token import Grant, TokenRequest


class OfflineTokens(Protocol):
    """Tokens to ask for tokens with: long-lived, used again and again, revocable by their owner.

    They are not changed when they are used: clients of one login run at the same time, and a
    rotation would lock all but one of them out (artifact-keeper#2477).
    """

    async def issue(self, identity: Identity, client: str) -> str | None:
        """Return a new one for the caller; ``None`` where its credential can't have any.

        ``client`` is what the client calls itself, for the list that the owner sees.
        """
        ...

    async def redeem(self, text: str) -> Identity:
        """Return whose it is, with what its owner is today. ``InvalidCredentials`` if it is none.

        The identity's credential is the offline token, so that to revoke it ends what was issued
        for it too.
        """
        ...

    async def revoke(self, text: str) -> None:
        """Make it worthless. One that is none is no error (RFC 7009 §2.2)."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """A token, whose it is, what it grants, and an offline token if one was wanted.

    ``projects`` are those that it grants something of, from name to id.
    """

    identity: Identity
    token: IssuedToken
    scopes: Scopes
    offline: str | None = None
    projects: Mapping[str, str] = field(default_factory=dict)


async def _in_good_standing(_: Identity) -> Standing:
    return Standing()


class TokenService:
    """Issues tokens to whoever shows good credentials, and to nobody in particular."""

    def __init__(
        self,
        chain: Chain,
        policy: Policy,
        issuer: TokenIssuer,
        *,
        service: str,
        offline: OfflineTokens | None = None,
        standing: StandingOf = _in_good_standing,
    ) -> None:
        """Find out with ``chain`` who asks, and with ``policy`` what it may do.

        ``offline``: give out offline tokens to those who ask for them. ``standing`` tells of
        accounts that are blocked or over.
        """
        self._chain = chain
        self._policy = policy
        self._issuer = issuer
        self._service = service
        self._offline = offline
        self._standing = standing

    async def grant(
        self, request: TokenRequest, credentials: Credentials | None, address: str
    ) -> Granted:
        """Answer a request that came from ``address`` with these credentials in its head.

        ``InvalidCredentials``; ``TokenRequestInvalid``; ``AuthenticatorUnavailable``,
        ``KeysUnavailable``, ``TooManyAttempts``, or whatever the policy's directory raises.
        """
        if request.service not in ("", self._service):
            raise TokenRequestInvalid(f"this token service is for the service {self._service} only")
        try:
            requested = Scopes.parse(*request.scopes)
        except TooManyScopes as error:
            raise TokenRequestInvalid(str(error)) from None
        identity = await self._identity(request, credentials, address)
        if identity.kind is Kind.ANONYMOUS:
            if not any(map(str.strip, request.scopes)):
                raise InvalidCredentials("log in with a user name and a password, or a token")
        else:
            await check_standing(self._standing, identity, address)
        scopes, projects = await self._allowed(identity, requested, address)
        offline = None
        if request.offline and self._offline is not None:
            offline = await self._offline.issue(identity, request.client)
        token = self._issuer.issue(identity, scopes, projects)
        return Granted(identity, token, scopes, offline, projects)

    async def revoke(self, text: str) -> None:
        """Make an offline token worthless, whoever asks: its holder does."""
        if self._offline is not None:
            await self._offline.revoke(text)

    async def _identity(
        self, request: TokenRequest, credentials: Credentials | None, address: str
    ) -> Identity:
        shown_now = credentials
        match request.grant:
            case Grant.REFRESH_TOKEN:
                if self._offline is None:
                    raise InvalidCredentials("refresh tokens are not used here: log in again")
                return await self._offline.redeem(request.secret)
            case Grant.PASSWORD:
                shown_now = checked(request.username, request.secret)
            case Grant.EXCHANGE:
                shown_now = Bearer(request.secret)
        if shown_now is None:
            return ANONYMOUS
        return await self._chain.authenticate(shown_now, address)

    async def _allowed(
        self, identity: Identity, requested: Scopes, address: str
    ) -> tuple[Scopes, dict[str, str]]:
        """What of ``requested`` the caller may do, and the ids of the projects that it is in."""
        granted: dict[Resource, set[str]] = {}
        projects: dict[str, str] = {}
        for resource, actions in requested:
            # Some clients ask for push only, and the registry wants both to push (distribution).
            for action in _with_pull(actions):
                asked = _action(resource, action, address)
                if asked is None:
                    continue
                decision = await self._policy.decide(identity, asked)
                if isinstance(decision, Allow):
                    granted.setdefault(resource, set()).add(action)
                    if decision.tenant is not None:
                        projects[decision.tenant.name] = decision.tenant.id
        return Scopes(granted), projects


def _with_pull(actions: tuple[str, ...]) -> tuple[str, ...]:
    return ("pull", *actions) if "push" in actions and "pull" not in actions else actions


_PROJECT_VERB: Final = Verb.DESCRIBE
"""What a caller needs to be able to do in a project to be granted ``manage``: to see it. What it
may change there is decided with each request; the scope only lets its token reach so far."""


def _action(resource: Resource, action: str, address: str) -> Action | None:
    match resource.type:
        case "registry":
            return Action(Verb.CATALOG, address=address)
        case "project":
            return Action(_PROJECT_VERB, project=resource.name, address=address)
    try:
        return Action(Verb(action), RepositoryName.parse(resource.name), address=address)
    except NameInvalid:
        return None
