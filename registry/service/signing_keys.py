"""The keys that tokens are signed with, kept in the object store: all replicas share them."""

from collections.abc import Sequence
from typing import Final

import msgspec

from auth.keyring import KeptKey, KeyStore, KeysUnavailable
from storage import keys
from storage.ports import AlreadyExists, NotFound, ObjectStore, StorageError

_MOST: Final = 1000


class _Record(msgspec.Struct, frozen=True):
    made: int
    pem: bytes


_read: Final = msgspec.json.Decoder(_Record).decode


class SigningKeys:
    """A ``KeyStore`` over the object store: one object for each key, never changed."""

    def __init__(self, store: ObjectStore) -> None:
        """Keep keys in ``store``."""
        self._store = store

    async def all(self) -> Sequence[KeptKey]:
        """See ``KeyStore``."""
        found = []
        try:
            for key in await self._store.list(keys.SIGNING_KEYS, limit=_MOST):
                try:
                    record = _read((await self._store.get(key)).data)
                except NotFound:
                    continue
                found.append(KeptKey(int(keys.last_segment(key)), record.made, record.pem))
        except StorageError as error:
            raise KeysUnavailable(str(error)) from error
        except ValueError as error:
            raise KeysUnavailable(f"a signing key is damaged: {error}") from error
        return found

    async def add(self, key: KeptKey) -> bool:
        """See ``KeyStore``."""
        record = msgspec.json.encode(_Record(key.made, key.pem))
        try:
            await self._store.create(keys.signing_key(key.number), record)
        except AlreadyExists:
            return False
        except StorageError as error:
            raise KeysUnavailable(str(error)) from error
        return True

    async def remove(self, number: int) -> None:
        """See ``KeyStore``."""
        try:
            await self._store.delete(keys.signing_key(number))
        except StorageError as error:
            raise KeysUnavailable(str(error)) from error


_: type[KeyStore] = SigningKeys
