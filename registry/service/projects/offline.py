"""Offline tokens: what docker keeps instead of a password, to ask for tokens with."""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from auth.credentials import InvalidCredentials
from auth.identity import SECRET, Identity, Kind, Scheme
from registry.service.projects.access_tokens import MAX_LABEL, MAX_TOKENS
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Records
from registry.service.projects.records import AccountRecord, TokenRecord
from registry.service.projects.secrets import Presented, SecretKind, mint, presented
from registry.service.projects.stamps import principal_stamp
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

MAX_OFFLINE: Final = MAX_TOKENS // 2
"""Most offline tokens of one account: the rest of its tokens are for those that it makes."""

_DAY: Final = 86_400.0
_LONGEST: Final = 400


class StoredOfflineTokens:
    """``auth.token_service.OfflineTokens``, kept beside the access tokens of their owner.

    Only who logs in with the password of a local account is given one: it stands for the password,
    and ends with it. An access token or a robot's secret may be kept as it is; and what another
    issuer says of a caller, its groups above all, is good for as long as that issuer says so, which
    can't be asked later (CVE-2025-23208).

    The text is a secret and, behind a dot, whose it is.
    """

    def __init__(
        self, store: ObjectStore, coordinator: Coordinator, events: Events, days: int
    ) -> None:
        """A token that was not used for so many ``days`` ends."""
        self._store = store
        self._coordinator = coordinator
        self._events = events
        self._seconds = days * _DAY
        self._accounts = Records(store, AccountRecord)
        self._tokens = Records(store, TokenRecord)

    async def issue(self, identity: Identity, client: str) -> str | None:
        """Return a new one, or ``None``: see above. The one least used makes room for it."""
        principal = identity.name
        async with self._coordinator.change(principal_stamp(principal)):
            account = await self._accounts.find(keys.account(principal))
            password = account.record.password_id if account else ""
            if not password or identity.credential != SECRET + password:
                return None
            await self._make_room(principal)
            secret, record = mint(SecretKind.OFFLINE, expires=time.time() + self._seconds)
            label = "".join(each for each in client if each.isprintable())[:MAX_LABEL] or "offline"
            token = TokenRecord(record, label, password_id=password)
            await self._tokens.write(keys.access_token(principal, record.id), token, None)
        await self._events(
            event(EventKind.TOKEN_CREATED, identity, principal, None, id=record.id, client=label)
        )
        return f"{secret}.{_to_text(principal)}"

    async def redeem(self, text: str) -> Identity:
        """Return whose it is. ``InvalidCredentials`` if it is none, or none any more."""
        found = await self._find(text)
        if found is None:
            raise InvalidCredentials("the refresh token is not good any more: log in again")
        principal, kept = found
        account = await self._accounts.find(keys.account(principal))
        if account is None or account.record.password_id != kept.record.password_id:
            raise InvalidCredentials("the refresh token is not good any more: log in again")
        await self._used(principal, kept)
        return Identity(
            principal,
            Kind.USER,
            scheme=Scheme.BASIC,
            credential=SECRET + kept.record.secret.id,
        )

    async def revoke(self, text: str) -> None:
        """Make it worthless, with all that was made from it. One that is none is no error."""
        found = await self._find(text)
        if found is None:
            return
        principal, kept = found
        async with self._coordinator.change(principal_stamp(principal)):
            await self._store.delete(kept.key)
        by = Identity(principal)
        number = kept.record.secret.id
        await self._events(event(EventKind.TOKEN_REMOVED, by, principal, None, id=number))

    async def _find(self, text: str) -> tuple[str, Kept[TokenRecord]] | None:
        secret, _, whose = text.partition(".")
        shown = presented(secret)
        principal = _from_text(whose)
        if shown is None or shown.kind is not SecretKind.OFFLINE or principal is None:
            return None
        return await self._matching(principal, shown)

    async def _matching(
        self, principal: str, shown: Presented
    ) -> tuple[str, Kept[TokenRecord]] | None:
        kept = await self._tokens.find(keys.access_token(principal, shown.id))
        if kept is None or not kept.record.password_id or not shown.matches(kept.record.secret):
            return None
        return principal, kept

    async def _used(self, principal: str, kept: Kept[TokenRecord]) -> None:
        """Let it live on, written down once a day at most."""
        secret = kept.record.secret
        expires = time.time() + self._seconds
        if secret.expires is None or expires - secret.expires < _DAY:
            return
        async with self._coordinator.change(principal_stamp(principal)):
            now = await self._tokens.find(kept.key)
            if now is not None and now.version == kept.version:
                longer = msgspec.structs.replace(
                    kept.record, secret=msgspec.structs.replace(secret, expires=expires)
                )
                await self._tokens.write(kept.key, longer, now)

    async def _make_room(self, principal: str) -> None:
        page = await self._tokens.page(keys.access_tokens(principal), "", MAX_TOKENS)
        offline = [each for each in page.items if each.record.password_id]
        if len(page.items) >= MAX_OFFLINE and offline:
            await self._tokens.remove(
                min(offline, key=lambda each: each.record.secret.expires or 0)
            )


def _to_text(principal: str) -> str:
    return urlsafe_b64encode(principal.encode()).decode().rstrip("=")


def _from_text(text: str) -> str | None:
    try:
        return (
            urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() if len(text) < 400 else None
        )
    except ValueError:
        return None
