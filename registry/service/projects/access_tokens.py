"""Access tokens of people: a secret for a tool that must not have the password, and may do less."""

import time
from dataclasses import dataclass, field
from typing import Final

from auth.identity import Identity
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records
from registry.service.projects.names import ceiling
from registry.service.projects.records import TokenRecord
from registry.service.projects.secrets import SecretKind, mint
from registry.service.projects.stamps import principal_stamp
from registry.spec.problems import Invalid, TokenUnknown, TooMany
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

MAX_TOKENS: Final = 100
"""Most access tokens of one account, offline ones included."""

MAX_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token, by its id. ``scopes`` narrow what its owner may do; ``None``: they don't.

    ``at`` and ``expires`` in Unix seconds; ``None``: it does not expire. ``offline``: a client has
    it in the place of the password.
    """

    id: str
    label: str
    scopes: str | None
    at: float
    expires: float | None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new access token and its secret, which is shown this once."""

    token: AccessToken
    secret: str = field(repr=False)


class AccessTokens:
    """Makes, lists and revokes access tokens. Their owner is a principal, local or not."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator, events: Events) -> None:
        """Keep them in ``store``, tell ``events`` of each change."""
        self._coordinator = coordinator
        self._events = events
        self._records = Records(store, TokenRecord)

    async def page(self, principal: str, after: str, limit: int) -> Leaf[AccessToken]:
        """Return the principal's tokens after the id ``after``."""
        prefix = keys.access_tokens(principal)
        leaf = await self._records.page(prefix, prefix + after if after else "", limit)
        return Leaf([_token(each) for each in leaf.items], leaf.more)

    async def create(
        self,
        principal: str,
        label: str,
        by: Identity,
        *,
        scopes: str | None = None,
        expires: float | None = None,
    ) -> IssuedToken:
        """Make a token. ``Invalid``; ``TooMany``. Each call makes another one."""
        if not (0 < len(label) <= MAX_LABEL and label.isprintable()):
            raise Invalid(f"a label has 1 to {MAX_LABEL} printable characters")
        if expires is not None and expires <= time.time():
            raise Invalid("the time at which the access token expires is past")
        limit = ceiling(scopes)
        secret, kept_secret = mint(SecretKind.ACCESS_TOKEN, expires=expires)
        record = TokenRecord(kept_secret, label, limit)
        async with self._coordinator.change(principal_stamp(principal)):
            prefix = keys.access_tokens(principal)
            if await self._records.count(prefix, MAX_TOKENS) == MAX_TOKENS:
                raise TooMany("access tokens of an account", MAX_TOKENS)
            key = keys.access_token(principal, kept_secret.id)
            kept = await self._records.write(key, record, None)
        await self._events(
            event(EventKind.TOKEN_CREATED, by, principal, None, id=kept_secret.id, scopes=limit)
        )
        return IssuedToken(_token(kept), secret)

    async def remove(self, principal: str, number: str, by: Identity) -> None:
        """Revoke a token, at once, with all that was made from it. ``TokenUnknown``."""
        if not is_token_id(number):
            raise TokenUnknown(number[:40])
        async with self._coordinator.change(principal_stamp(principal)):
            standing = await self._records.find(keys.access_token(principal, number))
            if standing is None:
                raise TokenUnknown(number)
            await self._records.remove(standing)
        await self._events(event(EventKind.TOKEN_REMOVED, by, principal, None, id=number))


def is_token_id(text: str) -> bool:
    """Whether ``text`` can be the id of an access token."""
    return len(text) == 16 and all(each in "0123456789abcdef" for each in text)


def _token(kept: Kept[TokenRecord]) -> AccessToken:
    record = kept.record
    secret = record.secret
    return AccessToken(
        secret.id, record.label, record.scopes, secret.at, secret.expires, record.password_id != ""
    )
