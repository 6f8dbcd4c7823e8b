"""A process's own notices that it changes things without Redis (``storage.bulletin``)."""

import asyncio
import math
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import final

from storage import keys
from storage._pace import Pace
from storage.coordination import CoordinationUnavailable
from storage.ports import ObjectStore, StorageError


@final
class Alone:
    """Puts the notices up while they are wanted, and lets changes happen under them."""

    def __init__(self, store: ObjectStore, pace: Pace) -> None:
        """Put them up in ``store``; nothing is put up yet."""
        self._store = store
        self._pace = pace
        self._process = secrets.token_hex(8)
        self._number = 0
        self._up: dict[str, float] = {}
        self._since: float | None = None
        self._sign = 0.0
        self._last_used = 0.0
        self._limits: set[asyncio.Timeout] = set()
        self._wanted = asyncio.Event()
        # What is being put up can't be taken down yet.
        self._changing = asyncio.Lock()

    @property
    def declared(self) -> bool:
        """Whether a notice of this process may be up."""
        return bool(self._up)

    @property
    def known(self) -> bool:
        """Whether every process knows, so that a change may begin at once."""
        now = asyncio.get_running_loop().time()
        since = self._since
        return (
            since is not None
            and now >= since + self._pace.notice
            and now < self._sign + self._pace.lease
        )

    @property
    def idle(self) -> float:
        """Seconds since the last change ended; 0 while there is one."""
        now = asyncio.get_running_loop().time()
        return 0.0 if self._limits else now - self._last_used

    async def run(self) -> None:
        """Put up a sign of life each second while they are wanted, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            began = loop.time()
            async with self._changing:
                if self._wanted.is_set():
                    await self._put_up()
            await asyncio.sleep(max(0.0, began + self._pace.look - loop.time()))

    @asynccontextmanager
    async def acting(self) -> AsyncIterator[None]:
        """Change things without Redis inside the context; it is entered when every process knows.

        ``CoordinationUnavailable`` where they can't be told, or no longer: then the change is cut
        off.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2 * self._pace.notice
        self._last_used = loop.time()
        while not self.known:
            self._wanted.set()
            if loop.time() > deadline:
                raise CoordinationUnavailable("there is no Redis, and others could not be told so")
            await asyncio.sleep(self._pace.look / 20)
        limit = asyncio.timeout_at(self._sign + self._pace.body)
        try:
            async with limit:
                self._limits.add(limit)
                yield
        except TimeoutError as error:
            if limit.expired():
                raise CoordinationUnavailable("no sign of life got through: cut off") from error
            raise
        finally:
            self._limits.discard(limit)
            self._last_used = loop.time()

    async def withdraw(self) -> None:
        """Take all notices down, unless a change is under way or they have not been up long enough.

        ``StorageError`` or ``TimeoutError`` where it could not be done: it is to be tried again.
        """
        async with self._changing:
            now = asyncio.get_running_loop().time()
            if self._limits or (self._since is not None and now < self._since + self._pace.stay):
                return
            self._wanted.clear()
            self._since = None
            for key in list(self._up):
                await self._take_down(key)

    async def _put_up(self) -> None:
        """Put up the next sign, and take down those that are not needed any more."""
        loop = asyncio.get_running_loop()
        earlier = list(self._up)
        self._number += 1
        key = keys.alone(self._process, self._number)
        self._up[key] = math.inf
        asked = loop.time()
        try:
            async with asyncio.timeout(self._pace.look_limit):
                await self._store.put(key, b"")
        except (StorageError, TimeoutError):
            return  # perhaps it is up, perhaps not
        now = loop.time()
        if self._since is None or now > self._sign + self._pace.lease:
            self._since = now
        self._sign = asked
        for limit in self._limits:
            limit.reschedule(asked + self._pace.body)
        for old in earlier:
            # A look that is under way may find none of two that are swapped.
            self._up[old] = min(self._up[old], now + self._pace.look_limit)
        for old in [old for old in earlier if self._up[old] <= now]:
            with suppress(StorageError, TimeoutError):
                await self._take_down(old)

    async def _take_down(self, key: str) -> None:
        async with asyncio.timeout(self._pace.look_limit):
            await self._store.delete(key)
        self._up.pop(key, None)
