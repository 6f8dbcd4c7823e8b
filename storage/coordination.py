"""What replicas and workers ask of each other: who writes, and what is still fresh.

Nothing here is the truth: the object store is. Losing all of it costs a retry or a slower read.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol


class LeaseHeld(Exception):
    """Another holder has the lease, and did not let go within the time that the caller gave."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the lease {name!r} is held by another writer")
        self.name = name


class CoordinationUnavailable(Exception):
    """The coordinator can't answer now; what was asked for may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the only writer of ``name``.

    ``fence`` grows with each holder of the name where the driver can tell; a storage step that
    takes it refuses one that is smaller than it has seen.
    """

    name: str
    fence: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change under way.

    ``sole()`` tells whether nobody else can have been changing the names, from when the change was
    entered to this moment. Where it says ``False`` (the lock may have been lost, or there is
    nothing to have one from), the store is the only judge between writers: only what is one
    compare-and-swap may be done.
    """

    sole: Callable[[], bool]


SOLE: Final = Change(lambda: True)
"""A change under a lock that can't be lost."""


class Coordinator(Protocol):
    """Leases, and stamps that tell whether something remembered may still be used.

    A holder that dies loses what it held within ``lapse`` seconds (0: at once, for processes of
    one machine). So does one that lives but can't let go: who waits for longer than that waits
    for a holder that is at work.
    """

    @property
    def lapse(self) -> float:
        """Seconds that a lease outlives its holder at the most."""
        ...

    def hold(self, name: str, *, wait: float = 0.0) -> AbstractAsyncContextManager[Lease]:
        """Be the only holder of ``name`` inside the context. ``LeaseHeld`` after ``wait`` seconds.

        Not re-entrant. Holders of different names never wait for each other.
        """
        ...

    async def stamps(self, *names: str) -> tuple[int | None, ...]:
        """Return the present stamp of each name; ``None`` while it is being changed, or unknown.

        What was read from the store after a stamp was taken may be remembered with it, and used
        as long as ``stamps`` gives that same number: until then nobody has begun a change.
        ``None`` means: read the store, and remember nothing.
        """
        ...

    def change(self, *names: str, wait: float = 10.0) -> AbstractAsyncContextManager[Change]:
        """Change what the names stand for, alone, inside the context.

        When it is entered, no process uses what it remembered of these names; when it is left,
        in whatever way, their stamps are new. Writers of one name come one after the other.
        Never nested in another ``change`` (all names are given at once, so that there is no
        deadlock); it may be nested in ``hold``. Different names may wait for each other now and
        then (drivers may hash). ``LeaseHeld`` after ``wait`` seconds: nothing was changed.
        """
        ...
