"""The ids of upload sessions: proof of whose they are, so that opening one stores nothing."""

import hmac
import secrets
import time
from hashlib import blake2b

from registry.spec.errors import UploadUnknown
from registry.spec.names import Place, SessionId
from storage import keys
from storage.ports import AlreadyExists, NotFound, ObjectStore

OPENING = 3600
"""Seconds within which the first bytes of a session must be on their way."""

LIFETIME = 7 * 24 * 3600
"""Seconds after which a session that was not finished is over."""

_RANDOM, _TIME, _PROOF = 12, 4, 16
_ALGORITHMS = ("sha256", "sha512")


class Sessions:
    """Issues and checks session ids.

    An id is 12 random bytes, the time of issue in seconds (4 bytes), and a keyed hash of these,
    the repository and the principal (16 bytes), in hexadecimal. The last bit of the random bytes
    tells the algorithm that the client announced (0 sha256, 1 sha512; end-4c).

    So a session is bound to both from its first moment on every replica (CVE-2026-32589), a flood
    of POSTs leaves nothing behind, and nobody can make up a session of another. The key is made
    once per store, and kept in it.
    """

    def __init__(self, store: ObjectStore) -> None:
        """Keep the key in ``store``."""
        self._store = store
        self._key: bytes | None = None

    async def issue(self, repository: Place, principal: str, algorithm: str) -> SessionId:
        """Return a new id for this principal in this repository."""
        random = int.from_bytes(secrets.token_bytes(_RANDOM)) & ~1 | _ALGORITHMS.index(algorithm)
        seed = random.to_bytes(_RANDOM) + int(time.time()).to_bytes(_TIME)
        return SessionId((seed + await self._prove(seed, repository, principal)).hex())

    async def check(self, session: SessionId, repository: Place, principal: str) -> None:
        """Raise ``UploadUnknown`` unless the id was issued for both, and is not too old."""
        data = bytes.fromhex(session)
        seed, proof = data[:-_PROOF], data[-_PROOF:]
        expected = await self._prove(seed, repository, principal)
        if not hmac.compare_digest(proof, expected) or age(session) > LIFETIME:
            raise UploadUnknown(session)

    async def _prove(self, seed: bytes, repository: Place, principal: str) -> bytes:
        key = self._key or await self._load_key()
        text = b"%b%b\0%b" % (seed, repository.encode(), principal.encode())
        return blake2b(text, digest_size=_PROOF, key=key).digest()

    async def _load_key(self) -> bytes:
        try:
            self._key = (await self._store.get(keys.SESSION_KEY)).data
        except NotFound:
            try:
                made = secrets.token_bytes(32)
                await self._store.create(keys.SESSION_KEY, made)
                self._key = made
            except AlreadyExists:
                self._key = (await self._store.get(keys.SESSION_KEY)).data
        return self._key


def opened(session: SessionId) -> int:
    """When the session was opened, in Unix seconds. True once ``Sessions.check`` took the id."""
    return int.from_bytes(bytes.fromhex(session)[_RANDOM : _RANDOM + _TIME])


def age(session: SessionId) -> float:
    """The seconds since the session was opened."""
    return time.time() - opened(session)


def algorithm_of(session: SessionId) -> str:
    """The algorithm that the client announced for the session's content."""
    return _ALGORITHMS[bytes.fromhex(session)[_RANDOM - 1] & 1]
