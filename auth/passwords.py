"""Hashing and checking secrets that people choose or carry: slow on purpose, so a few at a time."""

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from typing import Final, TypeVar

import argon2
import bcrypt

MAX_SECRET: Final = 1024
"""Longest password, in UTF-8 bytes; a longer one is wrong."""

_BCRYPT_MOST: Final = 72
"""bcrypt knows no more bytes of a password than these; a longer one is wrong, not cut short."""

T = TypeVar("T")


class TooBusy(Exception):
    """More checks wait than can be made in a reasonable time: a flood of logins."""

    def __init__(self) -> None:
        super().__init__("too many password checks are waiting")


class Passwords:
    """Hashes new secrets with argon2id; checks them against argon2 and bcrypt (htpasswd) hashes.

    The work runs in ``threads`` threads of its own, so that a flood of logins leaves a core to
    requests that need none, and takes no more memory than one check for each thread (19 MiB).
    Beyond ``waiting`` checks in the queue, ``TooBusy``. A check that is cancelled counts until it
    has ended.

    A secret that was right is remembered as such for ``remember_seconds``, by a hash that is keyed
    in this process: kubelet and CI send the same password with every pull. What is remembered
    is bound to the stored hash, so that a changed password ends it.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        waiting: int = 64,
        remember_seconds: float = 60.0,
        remember: int = 1024,
    ) -> None:
        """Nothing runs before the first call."""
        # RFC 9106 and OWASP: 19 MiB, two passes, one lane.
        self._argon2 = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, "passwords")
        self._lock = threading.Lock()
        self._waiting = 0
        self._most = waiting + threads
        self._key = secrets.token_bytes(32)
        self._remember_seconds = remember_seconds
        self._remember = remember
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = self._argon2.hash(secrets.token_hex())

    def close(self) -> None:
        """Let go of the threads, without waiting for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def hash(self, secret: str) -> str:
        """Return the argon2id hash of a new secret. ``ValueError`` if it is longer than allowed."""
        if len(secret.encode()) > MAX_SECRET:
            raise ValueError(f"a password has at most {MAX_SECRET} bytes")
        return await self._run(partial(self._argon2.hash, secret))

    async def verify(self, hashed: str | None, secret: str) -> bool:
        """Whether ``secret`` is the one that was hashed.

        ``None`` for ``hashed`` stands for an unknown account: it costs the time of a wrong
        password, and is one. ``TooBusy`` if there are too many checks.
        """
        data = secret.encode("utf-8", "surrogatepass")
        if len(data) > MAX_SECRET:
            data, hashed = data[:MAX_SECRET], None
        if hashed is None:
            await self._run(partial(self._check, self._nobody, data))
            return False
        key = blake2b(b"%b\0%b" % (hashed.encode(), data), key=self._key).digest()
        now = time.monotonic()
        if self._right.get(key, 0.0) > now:
            return True
        if not await self._run(partial(self._check, hashed, data)):
            return False
        self._right[key] = time.monotonic() + self._remember_seconds
        if len(self._right) > self._remember:
            self._right.popitem(last=False)
        return True

    async def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._waiting >= self._most:
                raise TooBusy
            self._waiting += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._ended)
        return await asyncio.wrap_future(future)

    def _ended(self, _: object) -> None:
        with self._lock:
            self._waiting -= 1

    def _check(self, hashed: str, secret: bytes) -> bool:
        if hashed.startswith("$2"):
            try:
                right = bcrypt.checkpw(secret[:_BCRYPT_MOST], hashed.encode())
            except ValueError:
                return False
            return right and len(secret) <= _BCRYPT_MOST
        try:
            return self._argon2.verify(hashed, secret)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
