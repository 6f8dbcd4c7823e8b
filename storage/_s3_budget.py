"""Memory for the parts of uploads: how much of it one upload may hold, and all of them together.

Each upload has ``own`` bytes to itself, enough to fill the smallest part that a store takes. What
it holds beyond that comes from bytes that all share: the rest of a larger part, and a part in
flight while the next one fills up. So all uploads together hold at most ``own`` bytes each, and
``common`` bytes.

**Nobody waits for ever.** What is common is given in the order in which it was asked for. An upload
without leave to go on sends what it has as a smaller part, and waits for its own parts in flight:
when they have arrived (or failed, in the time that a call may take) it holds no more than its own,
and goes on. Only a part that must be large, so that there are enough of them, may have to wait for
other uploads' clients. That is asked for all at once, before it is begun, and who has waited for
``patience`` seconds gets it whatever is left. What is more than all common bytes is given when
nobody has any of them.
"""

import asyncio
from typing import Final, final

PATIENCE: Final = 20.0
"""Seconds, at the most, that one upload waits for bytes that others have."""


@final
class Budget:
    """The bytes that uploads may hold. For the tasks of one event loop."""

    def __init__(self, own: int, common: int, *, patience: float = PATIENCE) -> None:
        """Let each upload have ``own`` bytes, and all of them ``common`` bytes beyond that."""
        self.own = own
        self.common = common
        self._patience = patience
        self._taken = 0
        self._waiting: dict[asyncio.Future[None], tuple[Share, int]] = {}

    @property
    def taken(self) -> int:
        """How many of the common bytes are held."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for bytes."""
        return len(self._waiting)

    def fits(self, share: "Share", size: int) -> bool:
        """Whether it can be added at once."""
        return self._fits(share, size, turn=not self._waiting)

    async def take(self, share: "Share", size: int) -> None:
        """Add to what a share holds, when there is room. Cancelled, it adds nothing."""
        if self.fits(share, size):
            self._add(share, size)
            return
        loop = asyncio.get_running_loop()
        leave: asyncio.Future[None] = loop.create_future()
        self._waiting[leave] = share, size
        alarm = loop.call_later(self._patience, self._grant, leave)
        try:
            await leave
        except asyncio.CancelledError:
            if self._waiting.pop(leave, None) is None:
                self._add(share, -size)  # the leave came together with the cancellation
            self._serve()
            raise
        finally:
            alarm.cancel()

    def give(self, share: "Share", size: int) -> None:
        """Take away from what a share holds, and let those go on who waited for it."""
        self._add(share, -size)
        self._serve()

    def _fits(self, share: "Share", size: int, *, turn: bool) -> bool:
        """Whether it may be added now; ``turn``: nobody has waited for longer."""
        more = share.beyond(size) - share.beyond()
        room = self._taken + more <= self.common or self._taken == 0
        return more == 0 or (turn and room)

    def _serve(self) -> None:
        turn = True
        for leave, (share, size) in list(self._waiting.items()):
            if leave.cancelled():  # its task is, but has not run since
                continue
            if self._fits(share, size, turn=turn):
                self._grant(leave)
            else:
                turn = False

    def _grant(self, leave: asyncio.Future[None]) -> None:
        if leave.cancelled():
            return
        share, size = self._waiting.pop(leave)
        self._add(share, size)
        leave.set_result(None)

    def _add(self, share: "Share", size: int) -> None:
        self._taken -= share.beyond()
        share.held += size
        self._taken += share.beyond()


@final
class Share:
    """What one upload holds of a budget, in bytes."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def beyond(self, more: int = 0) -> int:
        """How many common bytes it holds, or would with ``more`` bytes."""
        return max(0, self.held + more - self._budget.own)

    def fits(self, size: int) -> bool:
        """Whether ``size`` bytes more can be had at once."""
        return self._budget.fits(self, size)

    async def take(self, size: int) -> None:
        """Hold ``size`` bytes more, as soon as there is room for them."""
        await self._budget.take(self, size)

    def give(self, size: int) -> None:
        """Hold ``size`` bytes less."""
        self._budget.give(self, size)

    def close(self) -> None:
        """Hold nothing any more."""
        self.give(self.held)
