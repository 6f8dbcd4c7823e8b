"""Locks by name between the tasks of one event loop."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import final


@final
class NamedLocks:
    """One holder of a name at a time, first come, first served. Takes no memory for free names."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def held(self, name: Hashable) -> bool:
        """Whether any task holds ``name``."""
        return name in self._waiting

    async def acquire(self, name: Hashable, deadline: float) -> bool:
        """Take ``name``; ``False`` if it was not free until ``deadline``, in the loop's time.

        A cancelled caller does not hold it.
        """
        queue = self._waiting.get(name)
        if queue is None:
            self._waiting[name] = deque()
            return True
        loop = asyncio.get_running_loop()
        if deadline <= loop.time():
            return False
        turn: asyncio.Future[None] = loop.create_future()
        queue.append(turn)
        alarm = loop.call_at(deadline, _give_up, turn)
        try:
            await turn
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(name)  # the turn came together with the cancellation: pass it on
            raise
        finally:
            alarm.cancel()
        return True

    def release(self, name: Hashable) -> None:
        """Let ``name`` go, to the one who has waited longest."""
        queue = self._waiting[name]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[name]


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
