"""A bounded set of threads for disk work, and a way to await it that cancellation can't break."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, TypeVar, final

T = TypeVar("T")


class _Job:
    """One call under way. All but ``work`` happens on the loop."""

    __slots__ = ("args", "done", "error", "function", "future", "loop", "owner", "result")

    def __init__(
        self, owner: "Threads", function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self.owner = owner
        self.function = function
        self.args = args
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def work(self) -> None:
        try:
            self.result = self.function(*self.args)
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self.error = error
        try:
            self.loop.call_soon_threadsafe(self.finish)
        except RuntimeError:  # the loop was closed: nobody waits any more
            self.done = True

    def finish(self) -> None:
        self.done = True
        self.owner.outstanding -= 1
        if not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)

    async def settle(self) -> None:
        """Wait for the end of the call, however often this task is cancelled meanwhile."""
        while not self.done:
            self.future = self.loop.create_future()
            try:
                await self.future
            except BaseException:  # noqa: BLE001, S112 - the caller raises its own cancellation
                continue


class _Errand:
    """A call that nobody waits for."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def work(self) -> None:
        with suppress(Exception):
            self._function()


@final
class Threads:
    """At most ``count`` daemon threads, started as they are needed.

    Quicker than ``loop.run_in_executor``: one future and one wake-up of the loop for each call.
    The threads die with the process, in the middle of a call if need be, which the drivers must
    survive anyway (``kill -9``).
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._queue: SimpleQueue[_Job | _Errand | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self.outstanding = 0

    async def run(
        self,
        function: Callable[..., T],
        *args: Any,
        undo: Callable[[T], None] | None = None,
    ) -> T:
        """Call ``function(*args)`` in a thread and return what it returns.

        If the task is cancelled, the call still ends before ``CancelledError`` comes out; what it
        returned then goes to ``undo``.
        """
        job = _Job(self, function, args)
        self.outstanding += 1
        if len(self._threads) < self.outstanding:
            self._start()
        self._queue.put(job)
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            await job.settle()
            if undo is not None and job.error is None:
                undo(job.result)
            raise
        return result

    def post(self, function: Callable[[], object]) -> None:
        """Call ``function`` some time, and forget about it, what it raises included."""
        self._start()
        self._queue.put(_Errand(function))

    def close(self, wait: float = 10.0) -> bool:
        """End the threads; return whether all work under way was done in ``wait`` seconds."""
        for _ in self._threads:
            self._queue.put(None)
        until = monotonic() + wait
        for thread in self._threads:
            thread.join(max(until - monotonic(), 0))
        ended = not any(thread.is_alive() for thread in self._threads)
        self._threads = []
        return ended

    def _start(self) -> None:
        started = len(self._threads)
        if started < self._count:
            thread = Thread(target=self._serve, name=f"{self._name}-{started}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job.work()
            del job
