"""A bound on how much is done in a second: work in the background leaves room for clients."""

import asyncio
from dataclasses import dataclass, field


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
