"""Work in the background leaves room for clients: bounds on how much is done, and how steadily."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

LONGEST: Final = 1.0
"""Seconds of rest at the most, however long a call took."""


@asynccontextmanager
async def resting() -> AsyncIterator[None]:
    """Rest as long as what is inside took, up to a second: it goes on half of the time at most.

    A store that is busy answers late, and so is left alone for longer.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    await asyncio.sleep(min(loop.time() - began, LONGEST))


@dataclass(slots=True)
class Throttle:
    """Lets ``per_second`` through, looks or bytes; 0: any number.

    After a pause, what ``burst`` seconds let through may come at once.
    """

    per_second: float = 0.0
    burst: float = 0.0
    _free: float = field(default=0.0, init=False)

    async def wait(self, amount: float = 1.0) -> None:
        """Count ``amount``, and wait until that much may be done."""
        if not self.per_second:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - self.burst) + amount / self.per_second
        if self._free > now:
            await asyncio.sleep(self._free - now)
