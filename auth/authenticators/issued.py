"""Tokens of other issuers: as a bearer token, or as a password where a client knows no other way.

kubelet and docker can only send a user name and a password; where the password has the form of a
token, the user name is not looked at.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from auth.chain import Authenticator
from auth.credentials import Basic, Bearer, Credentials, InvalidCredentials
from auth.identity import Identity, Kind, Scheme
from auth.issuers import TrustedIssuer
from auth.jose import InvalidToken, looks_like_token, unverified
from auth.rules import MAX_GROUPS, Claims, NoRule, Rules, named, values


class ClaimsReader(Protocol):
    """Makes an identity of what a verified token claims."""

    def identity(self, claims: Claims, scheme: Scheme, credential: str) -> Identity:
        """Return who it is; ``NoRule`` says that it is nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """An issuer, and what its tokens mean. ``name`` is the configuration's for it."""

    name: str
    issuer: TrustedIssuer
    reader: ClaimsReader


class IssuedTokens:
    """Knows the tokens of the issuers that are trusted.

    One issuer may be trusted in several ways, for other audiences or by other rules: the first
    that takes the token counts.
    """

    def __init__(self, trusts: Sequence[Trust]) -> None:
        """Trust these, in order."""
        self._trusts: dict[str, list[Trust]] = {}
        for trust in trusts:
            self._trusts.setdefault(trust.issuer.issuer, []).append(trust)

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``."""
        match credentials:
            case Bearer(token):
                scheme = Scheme.BEARER
            case Basic(_, token):
                scheme = Scheme.BASIC
            case _:
                return None
        if not looks_like_token(token):
            return None
        try:
            issuer = unverified(token).get("iss")
        except InvalidToken:
            return None
        trusts = self._trusts.get(issuer) if isinstance(issuer, str) else None
        return await self._by(trusts, token, scheme) if trusts else None

    async def _by(self, trusts: Sequence[Trust], token: str, scheme: Scheme) -> Identity:
        for trust in trusts:
            try:
                claims = await trust.issuer.claims(token)
                return trust.reader.identity(claims, scheme, f"issuer:{trust.name}")
            except (InvalidToken, NoRule) as error:
                refused = error
        raise InvalidCredentials(str(refused))


class UserClaims:
    """People: a claim is their name, another lists their groups."""

    def __init__(
        self,
        prefix: str,
        *,
        username: str = "sub",
        groups: str = "groups",
        only: Sequence[re.Pattern[str]] = (),
    ) -> None:
        """Names of users and groups begin with ``prefix``, which says whose names they are.

        Of the groups those count that one of ``only`` matches; all of them if there is none.
        """
        self._prefix = prefix
        self._username = username
        self._groups = groups
        self._only = only

    def identity(self, claims: Claims, scheme: Scheme, credential: str) -> Identity:
        """See ``ClaimsReader``. The groups are those of this token, and no others."""
        names = tuple(values(claims, self._username))
        if len(names) != 1:
            raise NoRule(f"the token has no claim {self._username!r} with a name in it")
        if self._username == "email" and claims.get("email_verified") is not True:
            raise NoRule("the token's email address was not verified")
        groups = [group for group in values(claims, self._groups) if self._counts(group)]
        if len(groups) > MAX_GROUPS:
            raise NoRule(
                f"the token names more than {MAX_GROUPS} groups: choose those that count with the "
                "setting groups"
            )
        return Identity(
            f"user:{named(self._prefix, names[0])}",
            Kind.USER,
            frozenset(named(self._prefix, group) for group in groups),
            None,
            None,
            scheme,
            credential,
        )

    def _counts(self, group: str) -> bool:
        return not self._only or any(each.fullmatch(group) for each in self._only)


_ACCOUNT: Final = re.compile(
    r"system:serviceaccount:(?P<namespace>[a-z0-9-]{1,63}):(?P<serviceaccount>[a-z0-9.-]{1,253})",
    re.ASCII,
)


class ServiceAccounts:
    """Kubernetes' service accounts: rules see the claims ``namespace`` and ``serviceaccount``."""

    def __init__(self, rules: Rules) -> None:
        """Name them by ``rules``."""
        self._rules = rules

    def identity(self, claims: Claims, scheme: Scheme, credential: str) -> Identity:
        """See ``ClaimsReader``."""
        subject = claims.get("sub")
        found = _ACCOUNT.fullmatch(subject) if isinstance(subject, str) else None
        if found is None:
            raise NoRule("the token is none of a service account")
        own: Mapping[str, str] = found.groupdict()
        return self._rules.identity({**claims, **own}, scheme, credential)


_: tuple[type[Authenticator], type[ClaimsReader], type[ClaimsReader], type[ClaimsReader]] = (
    IssuedTokens,
    UserClaims,
    ServiceAccounts,
    Rules,
)
