"""Where a process stands with Redis: the connection, the term, and the table of stamps."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol, final

from storage import _redis_table as layout
from storage._pace import Pace
from storage._redis_link import Link
from storage._redis_primary import Primary, Session
from storage._terms import Terms
from storage.coordination import CoordinationUnavailable

_LIFE: Final = 24 * 3600
"""Seconds that the table outlives the last process which used it."""


class RedisObserver(Protocol):
    """Told of what an operator wants to know. Must not raise, or take long."""

    def connected(self, where: str) -> None:
        """There is a connection to the primary at ``where``."""
        ...

    def disconnected(self, reason: str) -> None:
        """There is none (any more); said again after each attempt that fails."""
        ...

    def new_epoch(self) -> None:
        """The table of stamps is another one: what was remembered is forgotten."""
        ...

    def lock_lost(self) -> None:
        """A lock or lease of this process could not be kept."""
        ...

    def round_trip(self, commands: int, seconds: float) -> None:
        """A batch has been answered."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """The table as it was found: stamps of ``epoch`` count from ``trusted`` on, in loop time."""

    term: int
    epoch: int
    trusted: float


@final
class Standing:
    """Keeps the connection, and finds or makes the table of the primary's term."""

    def __init__(
        self,
        primary: Primary,
        key: str,
        about: str,
        *,
        terms: Terms,
        observer: RedisObserver,
        pace: Pace,
    ) -> None:
        """Use the table at ``key``; ``about`` is what tells it from others of the same server."""
        self.link = Link(primary, self)
        self._key = key
        self._about = about
        self._terms = terms
        self._observer = observer
        self._pace = pace
        self._primary = ""
        self._table: Table | None = None
        self._epoch = 0
        self._joining: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def table(self) -> Table | None:
        """The table, if there is one and its primary counts at this moment."""
        table = self._table
        return table if table is not None and self.current(table) else None

    def current(self, table: Table) -> bool:
        """Whether the table's primary still counts, as far as this process knows now."""
        return self._table is table and self._terms.number(self._primary) == table.term

    async def wait(self) -> Table:
        """Wait until there is a ``table``."""
        while True:
            table = self.table
            if table is not None:
                return table
            self._changed.clear()
            with suppress(TimeoutError):  # a term comes to count without any event
                async with asyncio.timeout(self._pace.look / 4):
                    await self._changed.wait()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            await self.link.run()
        finally:
            if self._joining is not None:
                self._joining.cancel()

    async def check(self) -> None:
        """Look whether the table is still there, and keep it from expiring."""
        table = self._table
        if not self.link.up:
            return
        if self._terms.superseded(self._primary) and table is not None:
            self._table = None
            self.link.drop("another primary counts")
        elif table is None:
            self._join()
        else:
            with suppress(CoordinationUnavailable):
                if not await self._open(table.term, make=False):
                    self.lost(table)

    def lost(self, table: Table) -> None:
        """``table`` was not met where it should be: find or make another."""
        if self._table is table:
            self._table = None
            self._join()

    # what the link tells

    def connected(self, session: Session) -> None:
        """As ``LinkListener`` has it."""
        identity = f"{session.run_id} {self._about}"
        self._primary = blake2b(identity.encode(), digest_size=16).hexdigest()
        self._observer.connected(session.where)
        self._join()

    def disconnected(self, reason: str) -> None:
        """As ``LinkListener`` has it."""
        self._table = None
        if self._joining is not None:
            self._joining.cancel()
        self._observer.disconnected(reason)

    def round_trip(self, commands: int, seconds: float) -> None:
        """As ``LinkListener`` has it."""
        self._observer.round_trip(commands, seconds)

    # the table

    def _join(self) -> None:
        if self._joining is None or self._joining.done():
            self._joining = asyncio.create_task(self._find_table())

    async def _find_table(self) -> None:
        """Find the table of this primary's term, or make it."""
        with suppress(CoordinationUnavailable):  # the next connection, or check, begins it anew
            number = self._terms.number(self._primary)
            if number is not None and await self._open(number, make=False):
                return
            number = await self._terms.settle(self._primary)
            await self._open(number, make=True)

    async def _open(self, term: int, *, make: bool) -> bool:
        asked = asyncio.get_running_loop().time()
        fresh = secrets.randbits(52) | 1
        what = (layout.VERSION, term, self._primary, fresh, layout.SIZE, _LIFE, int(make))
        call = self.link.call("EVAL", layout.OPEN, 1, self._key, *what)
        state, epoch, age = await call
        if state != b"open":
            return False
        if epoch != self._epoch:
            self._epoch = epoch
            self._observer.new_epoch()
        table = self._table
        if table is None or (table.term, table.epoch) != (term, epoch):
            trusted = asked + max(0.0, self._pace.flux - age / 1000)
            self._table = Table(term, epoch, trusted)
            self._changed.set()
        return True
