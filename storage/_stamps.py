"""Sequence numbers of names: even while what a name stands for is stable, odd while it changes."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias, final
from zlib import crc32

if TYPE_CHECKING:
    from array import array

_Numbers: TypeAlias = "array[int] | memoryview[int]"

SLOTS = 65_536
"""Names are hashed to so many slots. Two names that share one invalidate each other's memories now
and then, and their writers wait for each other; nothing else comes of it."""


@lru_cache(maxsize=8192)
def slot(name: str) -> int:
    """The slot of ``name``, the same in every process."""
    return crc32(name.encode()) & (SLOTS - 1)


@lru_cache(maxsize=2048)
def _reader(names: tuple[str, ...]) -> Callable[["_Numbers"], tuple[int, ...]]:
    """Make what reads the numbers of two or more names, in their order."""
    return itemgetter(*map(slot, names))


def slots(names: Iterable[str]) -> list[int]:
    """The slots of ``names``, each once, in the order in which all writers lock them."""
    return sorted({slot(name) for name in names})


@final
class Stamps:
    """The numbers. A slot's number only grows, and is written by the holder of its lock alone."""

    def __init__(self, numbers: "_Numbers") -> None:
        self.numbers = numbers

    def even(self, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """The numbers of ``names`` in their order; ``None`` where one of them is odd."""
        # Decisions ask for the same few names again and again.
        if len(names) > 1:
            found = _reader(names)(self.numbers)
        else:
            found = tuple([self.numbers[slot(name)] for name in names])
        for number in found:
            if number & 1:
                return None
        return found

    def stable(self, names: tuple[str, ...]) -> tuple[int | None, ...]:
        """The numbers of ``names`` in their order, ``None`` for one that is odd."""
        found = [self.numbers[slot(name)] for name in names]
        return tuple([None if number & 1 else number for number in found])

    def begin(self, changing: Iterable[int]) -> None:
        """Make the slots odd: from now on nobody uses what was remembered of them.

        One that is odd already was left so by a writer that died.
        """
        for number in changing:
            self.numbers[number] |= 1

    def end(self, changing: Iterable[int]) -> None:
        """Make the slots even, and larger than ever: what is read from now on may be remembered."""
        for number in changing:
            self.numbers[number] = (self.numbers[number] | 1) + 1
