"""Pools of threads that tell how busy they are."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, final

Watch = Callable[[str, Callable[..., Any]], Callable[..., Any]]


@final
class Pool(ThreadPoolExecutor):
    """Threads for one kind of work.

    ``watch`` is given each call when it is asked for, with the pool's name, and returns what is
    called in its place.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Start at most so many threads, as they are needed."""
        super().__init__(threads, name)
        self.name = name
        self.threads = threads
        self.watch: Watch | None = None
        self._asked = 0
        self._done = 0
        self._turn = Lock()

    @property
    def outstanding(self) -> int:
        """Calls that run or wait: above ``threads``, some wait."""
        return self._asked - self._done

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As ``ThreadPoolExecutor``."""
        if self.watch is not None:
            fn = self.watch(self.name, fn)
        future = super().submit(fn, *args, **kwargs)
        with self._turn:
            self._asked += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: Future[Any]) -> None:
        with self._turn:  # this is called in any thread
            self._done += 1
