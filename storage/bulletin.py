"""Notices that processes leave each other in the object store, the one thing that all can reach.

There are two kinds, both keys without content (``storage.keys``):

- *A term*: this primary of Redis counts from now on, and no earlier one. The highest number is the
  newest term; numbers are never used again.
- *Alone*: this process can't reach a Redis that counts, and changes things without it. It puts up
  a new key as a sign of life each second.

Every process lists them once a second, in the background. What a look found may be relied upon for
``Pace.valid`` seconds, counted from its *beginning*; a process that has no such look relies on
nothing that it remembers. So who has put something up and waited for ``Pace.notice`` (a little
longer than ``valid``) knows that every process has seen it, or relies on nothing. No clock is
compared with another one; that the rates of all are alike is enough.

**Why nothing that is remembered can be stale.** A value may be used if the *generation* is the same
as when it was read. It is another one after each gap between looks that are relied upon, after
each look that found a process alone, and after each new term. So between the reading and the use
there was an unbroken chain of looks, each begun less than ``valid`` after the one before, that
found nobody alone, and one term.

1. *A change by a process that was alone.* It put up its notice, waited ``notice``, made the change,
   and kept the notice up for ``Pace.stay`` at the least. Let the change be acknowledged between the
   reading and the use. The notice was there ``notice`` before; the chain has a look that began
   within that time or after it, and the notice stayed to the end of that look (``stay`` is
   ``notice`` and the longest look together; of the signs of life, an old one is taken down so long
   after the next was put up). So the look found it, and the generation differs.
2. *A process that died alone.* Its sign of life no longer changes. What it had begun takes effect
   within ``Pace.flux`` of the last sign; readers wait for that time from when they saw it first.
3. *A change through another primary.* ``settle`` waits in the same way, so that no process has a
   look without the new term when the first change is made under it.

A process that is paused wakes up with looks too old to be relied upon.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, Self, final

from storage import keys
from storage._alone import Alone
from storage._pace import PACE, Pace
from storage._terms import Terms
from storage.ports import AlreadyExists, NotFound, ObjectStore, StorageError

_MOST: Final = 1000
_KEPT_TERMS: Final = 8


async def installation(store: ObjectStore) -> str:
    """Return what tells this store from all others, 32 characters; made once."""
    try:
        return (await store.get(keys.INSTALLATION)).data.decode()
    except NotFound:
        with suppress(AlreadyExists):
            await store.create(keys.INSTALLATION, secrets.token_hex(16).encode())
        return (await store.get(keys.INSTALLATION)).data.decode()


class BulletinObserver(Protocol):
    """Told of what an operator wants to know. Must not raise, or take long."""

    def new_term(self, number: int) -> None:
        """Another primary counts from now on."""
        ...


@dataclass(frozen=True, slots=True)
class _View:
    """What a look found. Loop times."""

    began: float
    seen: float
    term: tuple[int, str] | None
    primaries: frozenset[str]
    alone: bool


@final
class Bulletin:
    """The notices of one store, as one process sees them and puts them up. It is a ``Terms``."""

    def __init__(
        self, store: ObjectStore, *, observer: BulletinObserver | None = None, pace: Pace = PACE
    ) -> None:
        """Look at and write to ``store``, once it is entered."""
        self._store = store
        self._observer = observer
        self._pace = pace
        self._view: _View | None = None
        self._looked = asyncio.Event()
        self._term_since = 0.0
        self._generation = 0
        self._signs: dict[str, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.alone = Alone(store, pace)
        """This process's own notices of the second kind."""

    async def __aenter__(self) -> Self:
        """Begin to look, and do not wait for it."""
        self._spawn(self._look_often())
        self._spawn(self.alone.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop. A notice that this process is alone is left to lapse, unless it may go now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(StorageError, TimeoutError):
            await self.alone.withdraw()

    def generation(self) -> int | None:
        """What was read in the present generation may be used in it.

        ``None``: use and remember nothing at this moment.
        """
        view = self._valid()
        if view is None or view.alone or self.alone.declared:
            return None
        return self._generation

    # terms

    @property
    def newest(self) -> int:
        """The number of the newest term that this process ever saw, 0 if none."""
        return self._view.term[0] if self._view and self._view.term else 0

    def number(self, primary: str) -> int | None:
        """As ``Terms`` has it."""
        view = self._valid()
        if view is None or view.term is None or view.term[1] != primary:
            return None
        return view.term[0]

    def superseded(self, primary: str) -> bool:
        """As ``Terms`` has it."""
        view = self._valid()
        return view is not None and view.term is not None and view.term[1] != primary

    async def settle(self, primary: str) -> int:
        """As ``Terms`` has it.

        A primary that counted before, and was superseded, gets another term only when the newest
        has stood for a while: two that both believe in themselves must not take turns quickly.
        """
        loop = asyncio.get_running_loop()
        while True:
            view = self._valid()
            if view is None:
                await self._next_look()
            elif view.term is not None and view.term[1] == primary:
                left = self._term_since + self._pace.notice - loop.time()
                if left <= 0:
                    return view.term[0]
                await asyncio.sleep(min(left, self._pace.look))
            elif primary in view.primaries and loop.time() < self._term_since + self._pace.lease:
                await self._next_look()
            else:
                number = view.term[0] + 1 if view.term else 1
                try:
                    await self._store.put(keys.term(number, primary), b"")
                except StorageError:
                    await asyncio.sleep(self._pace.look)
                await self._look()

    # looking

    def _valid(self) -> _View | None:
        view = self._view
        if view is None:
            return None
        now = asyncio.get_running_loop().time()
        return view if now < view.began + self._pace.valid else None

    async def _next_look(self) -> None:
        self._looked.clear()
        await self._looked.wait()

    async def _look_often(self) -> None:
        """Begin a look each second, whether the one before has ended or not."""
        while True:
            self._spawn(self._look())
            await asyncio.sleep(self._pace.look)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._pace.look_limit):
                found = await self._store.list(keys.NOTICES, limit=_MOST)
        except (StorageError, TimeoutError):
            return
        if self._view is None or began > self._view.began:
            self._take(found, began, loop.time())

    def _take(self, found: Sequence[str], began: float, now: float) -> None:
        """Make a view of what a look found."""
        terms = [key.removeprefix(keys.TERMS) for key in found if key.startswith(keys.TERMS)]
        signs = [key.removeprefix(keys.ALONE) for key in found if key.startswith(keys.ALONE)]
        known = len(terms) + len(signs) + (keys.INSTALLATION in found)
        pairs = [(int(number), primary) for number, _, primary in map(_parted, terms)]
        alone = self._alone(signs, now)
        # What a later version may put up means something: be careful.
        strange = known != len(found) or len(found) == _MOST
        view = _View(
            began,
            now,
            max(pairs, default=None),
            frozenset(primary for _, primary in pairs),
            alone or strange,
        )
        before = self._valid()
        if before is None or before.alone or before.term != view.term:
            self._generation += 1
        if self._view is None or self._view.term != view.term:
            self._term_since = now
            if self._observer is not None and view.term is not None:
                self._observer.new_term(view.term[0])
        self._view = view
        self._looked.set()
        for number, primary in sorted(pairs)[:-_KEPT_TERMS]:
            self._spawn(self._remove(keys.term(number, primary)))

    def _alone(self, signs: Sequence[str], now: float) -> bool:
        """Whether a process is alone that gave a sign of life not too long ago."""
        newest: dict[str, str] = {}
        for process, _, number in map(_parted, signs):
            newest[process] = max(number, newest.get(process, ""))
        before = self._signs
        self._signs = {
            process: before[process]
            if process in before and before[process][0] == number
            else (number, now)
            for process, number in newest.items()
        }
        for process, _, number in map(_parted, signs):
            if now > self._signs[process][1] + 2 * self._pace.flux:
                self._spawn(self._remove(f"{keys.ALONE}{process}.{number}"))
        return any(now < since + self._pace.flux for _, since in self._signs.values())

    async def _remove(self, key: str) -> None:
        """Remove a notice that means nothing any more."""
        with suppress(StorageError):
            await self._store.delete(key)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition(".")


_: type[Terms] = Bulletin
