"""How the workers of one address share its connections.

All accept from the same sockets, so none waits for a worker that died, or is busy, while another is
idle. Left alone, the worker that is awake would take nearly all (of 32 connections two workers got
32 and 0 to 26 and 6), and a hash of the kernel's deals them out without a look at who has how many
(20 and 12), or who is busy. So each says in shared memory how many it has, and who has more than
another leaves the next one to it for a moment.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

_EACH: Final = 8


@final
class Shares:
    """The number of connections of each worker, in memory that the processes share by ``fork``.

    Each writes its own, and reads those of the others a moment late: what is decided by it is who
    is asked first, no more.
    """

    def __init__(self, workers: int) -> None:
        """Nobody has any."""
        self._counts = memoryview(mmap.mmap(-1, _EACH * workers)).cast("Q")

    def note(self, worker: int, connections: int) -> None:
        """Say how many one has; none for one that has ended."""
        self._counts[worker] = connections

    def ahead(self, worker: int) -> int:
        """How many more connections it has than the one that has fewest."""
        return self._counts[worker] - min(self._counts)

    def part(self, worker: int) -> "Part":
        """Return what the worker itself has to do with it."""
        return Part(partial(self.note, worker), partial(self.ahead, worker))


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's side: it notes how many connections it has, and learns how far ahead it is."""

    note: Callable[[int], None]
    ahead: Callable[[], int]
