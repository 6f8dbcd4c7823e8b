"""Where signing keys come from, and how they change without a restart.

Kept keys live in the object store, each under a number that is taken with create-if-absent, so
that replicas which start or rotate at once agree on one. A new key is published before it signs:
for ``PUBLISH`` seconds it is in the key set only, so that every replica and everybody who verifies
by the key set's address knows it when its first token arrives. An old key verifies until no token
of its can be of use any more; then it is removed.

Keys in files belong to the operator: the first one signs, all of them verify, and a changed file
is read anew.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from auth.files import Changes
from auth.keys import KeySet, KeyUnusable, SigningKey

_log = logging.getLogger("moorage.auth")

PUBLISH: Final = 600
"""Seconds for which a new key is published before it signs."""


class KeysUnavailable(Exception):
    """No signing key can be had right now: the store does not answer, or it could not be read."""


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key as it is kept: its number, when it was made (Unix seconds), and its PEM form."""

    number: int
    made: int
    pem: bytes


class KeyStore(Protocol):
    """Keeps keys by number. Each method raises ``KeysUnavailable`` where the store can't answer."""

    async def all(self) -> Sequence[KeptKey]:
        """Return every key, in the order of the numbers."""
        ...

    async def add(self, key: KeptKey) -> bool:
        """Keep a key, if there is none of its number yet; whether there was none."""
        ...

    async def remove(self, number: int) -> None:
        """Forget a key; one that is not there is no error."""
        ...


class KeyRing(Protocol):
    """The keys of this process."""

    def current(self) -> KeySet:
        """Return the keys of this moment; the same object until they change. No I/O.

        ``KeysUnavailable`` while there are none.
        """
        ...

    async def reload(self) -> None:
        """Look whether the keys have changed. What goes wrong is logged; the old ones stay."""
        ...


class KeptKeys:
    """Keys that the registry makes for itself, and keeps."""

    def __init__(
        self,
        store: KeyStore,
        *,
        algorithm: str,
        rotate_seconds: int,
        verify_seconds: int,
        password: str = "",
    ) -> None:
        """Keep keys in ``store``, encrypted with ``password`` if there is one.

        A key of another ``algorithm`` or older than ``rotate_seconds`` gets a successor. It
        verifies for ``verify_seconds`` more after that has begun to sign.
        """
        self._store = store
        self._algorithm = algorithm
        self._rotate_seconds = rotate_seconds
        self._verify_seconds = verify_seconds
        self._password = password
        self._read: dict[KeptKey, SigningKey | None] = {}
        self._known: Sequence[KeptKey] = ()
        self._current: KeySet | None = None

    def current(self) -> KeySet:
        """See ``KeyRing``."""
        if self._current is None:
            raise KeysUnavailable("the signing keys were not read yet")
        return self._current

    async def reload(self) -> None:
        """See ``KeyRing``. Makes a key where there is none that is young enough."""
        try:
            kept = await self._store.all()
            now = int(time.time())
            if self._due(kept, now):
                await self._add(kept, now)
                kept = await self._store.all()
            over = self._over(kept, now)
            for key in over:
                await self._store.remove(key.number)
            self._take([key for key in kept if key not in over], now)
        except KeysUnavailable as error:
            _log.error("the signing keys can't be read: %s", error)

    async def rotate(self) -> int:
        """Make a new key now; return its number. It signs once it was published long enough."""
        kept = await self._store.all()
        number = await self._add(kept, int(time.time()))
        await self.reload()
        return number

    async def revoke(self) -> int:
        """Remove every key; return how many there were. All tokens are worthless then.

        Each process notices when it looks the next time, and the first makes a new key.
        """
        kept = await self._store.all()
        for key in kept:
            await self._store.remove(key.number)
        return len(kept)

    def _due(self, kept: Sequence[KeptKey], now: int) -> bool:
        mine = [key for key in kept if self._of(key) is not None]
        return not any(now - key.made < self._rotate_seconds for key in mine)

    def _of(self, kept: KeptKey) -> SigningKey | None:
        """The key, if it can be read and is of this ring's algorithm."""
        key = self._key(kept)
        return key if key is not None and key.algorithm == self._algorithm else None

    async def _add(self, kept: Sequence[KeptKey], now: int) -> int:
        number = kept[-1].number + 1 if kept else 1
        made = await asyncio.to_thread(SigningKey.generate, self._algorithm)
        pem = await asyncio.to_thread(made.to_pem, self._password)
        if await self._store.add(KeptKey(number, now, pem)):
            _log.info("made the signing key %d (%s, %s)", number, made.algorithm, made.kid)
        return number

    def _over(self, kept: Sequence[KeptKey], now: int) -> list[KeptKey]:
        """The keys whose last token can be of no use any more."""
        begun = [key.number for key in kept if key.made + PUBLISH + self._verify_seconds < now]
        return [key for key in kept if begun and key.number < begun[-1]]

    def _take(self, kept: Sequence[KeptKey], now: int) -> None:
        """Make the key set of what is kept."""
        self._read = {key: self._read.get(key) or self._key(key) for key in kept}
        mine = [key for key in kept if self._of(key) is not None]
        if not mine:
            return
        signing = next((key for key in reversed(mine) if now - key.made >= PUBLISH), mine[0])
        order = [signing, *kept]
        if order != self._known:
            others = [key for key in map(self._key, kept) if key is not None]
            first = self._key(signing)
            assert first is not None  # noqa: S101  it is one of ``mine``
            self._current = KeySet.of(first, others)
            self._known = order

    def _key(self, kept: KeptKey) -> SigningKey | None:
        if kept not in self._read:
            try:
                self._read[kept] = SigningKey.from_pem(kept.pem, self._password)
            except KeyUnusable as error:
                _log.error("the kept signing key %d is not used: %s", kept.number, error)
                self._read[kept] = None
        return self._read[kept]


class KeyFiles:
    """Keys that the operator puts into files: the first signs, all verify."""

    def __init__(self, files: Sequence[Path], password: str = "") -> None:
        """Read the files. ``KeyUnusable`` names the first that can't be used."""
        self._files = files
        self._password = password
        self._changes = Changes(files)
        self._current = self._load()

    def current(self) -> KeySet:
        """See ``KeyRing``."""
        return self._current

    async def reload(self) -> None:
        """See ``KeyRing``."""
        if not await asyncio.to_thread(self._changes.any):
            return
        try:
            self._current = await asyncio.to_thread(self._load)
        except KeyUnusable as error:
            _log.error("the new signing keys are not used, the old ones still are: %s", error)
        else:
            _log.info("tokens are signed with the key %s now", self._current.signing.kid)

    def _load(self) -> KeySet:
        keys = []
        for file in self._files:
            try:
                keys.append(SigningKey.from_pem(file.read_bytes(), self._password))
            except OSError as error:
                raise KeyUnusable(f"{file}: can't be read: {error.strerror}") from error
            except KeyUnusable as error:
                raise KeyUnusable(f"{file}: {error}") from error
        return KeySet.of(keys[0], keys[1:])


async def watch(ring: KeyRing, seconds: float) -> None:
    """Reload ``ring`` every so many ``seconds``, until cancelled; sooner while it has no keys."""
    while True:
        try:
            ring.current()
        except KeysUnavailable:
            await asyncio.sleep(min(seconds, 1.0))
        else:
            await asyncio.sleep(seconds)
        await ring.reload()


_: tuple[type[KeyRing], ...] = (KeptKeys, KeyFiles)
