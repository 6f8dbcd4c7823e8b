"""Accounts in the store: read, and changed by compare-and-swap."""

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from registry.service.entries import value
from registry.service.records import Corrupt
from registry.spec.quota import Account
from storage import keys
from storage.ports import ObjectStore, PreconditionFailed, Unavailable

_SWAPS: Final = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25

Change = Callable[[Account], Account | None]
"""What an account is to become; ``None`` where there is nothing to be changed."""


class Accounts:
    """Reads and swaps the accounts of projects: one object each, all of it in every change."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, tenant: str) -> tuple[Account, str] | None:
        """The account of the project with this id, and its version; ``None`` without limits."""
        found = await value(self._store, keys.quota(tenant))
        if found is None:
            return None
        try:
            return msgspec.json.decode(found.data, type=Account), found.version
        except msgspec.MsgspecError as error:
            raise Corrupt(f"Account: {error}") from error

    async def create(self, tenant: str, account: Account) -> None:
        """Write the first account. ``AlreadyExists`` where there is one."""
        await self._store.create(keys.quota(tenant), encoded(account))

    async def swap(self, tenant: str, account: Account, version: str) -> str:
        """Write the account in the place of that version; ``PreconditionFailed`` if it moved on."""
        return await self._store.replace(keys.quota(tenant), encoded(account), version)

    async def change(self, tenant: str, change: Change) -> Account | None:
        """Change the account as it is now; again, where another was first. Return the new one.

        ``None`` where ``change`` gives none, or there is no account. ``Unavailable`` for who loses
        again and again.
        """
        pause = _FIRST_PAUSE
        for _ in range(_SWAPS):
            found = await self.read(tenant)
            after = change(found[0]) if found else None
            if found is None or after is None:
                return None
            try:
                await self.swap(tenant, after, found[1])
            except PreconditionFailed:
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            return after
        raise Unavailable(keys.quota(tenant), "too many others are changing the account")

    async def remove(self, tenant: str, version: str | None = None) -> None:
        """Remove the account: the project has no limits any more. As ``ObjectStore.delete``."""
        await self._store.delete(keys.quota(tenant), version=version)


def encoded(account: Account) -> bytes:
    """The bytes to store: never those of another write, so that no two are taken for one."""
    return msgspec.json.encode(msgspec.structs.replace(account, nonce=secrets.token_hex(8)))
