"""The experiment's course: levels of concurrency, slices of images, the sides in turns."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Literal

import uvloop

from benchmarks import run
from benchmarks.content import Image
from benchmarks.sides import Side
from benchmarks.thesis import docker
from benchmarks.thesis.images import Images, Place

Phase = Literal["push", "pull"]
SLICES = 20
_CAUGHT = (AssertionError, OSError, TimeoutError, KeyError, ValueError)


@dataclass(frozen=True, slots=True)
class Sample:
    """One push or pull: which image of how many at a time, its response time, what failed."""

    phase: Phase
    side: str
    level: int
    iteration: int
    seconds: float
    failure: str | None = None


@dataclass(slots=True)
class Course:
    """Runs it. `samples` grows as it goes."""

    sides: Sequence[Side]
    images: Images
    count: int
    samples: list[Sample] = field(default_factory=list)

    def run(self, levels: Sequence[int]) -> None:
        """Each level: all images pushed to each side, then all pulled from each, slice by slice."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            first = Place(self.images.base_repository)
            for side in self.sides:
                runner.run(docker.push(side.endpoint, first, self.images.new(first)))
            for turn, level in enumerate(levels):
                self.level(level, turn, runner)

    def level(self, level: int, turn: int, runner: asyncio.Runner) -> None:
        """One level; `turn` decides which side is first."""
        slices = _slices(self.count, level)
        pushed: dict[tuple[str, int], Image] = {}

        async def push(side: Side, number: int) -> float:
            place = self.images.place(level, number)
            image = self.images.new(place)
            pushed[side.name, number] = image
            start = time.perf_counter()
            await docker.push(side.endpoint, place, image, self.images.base_repository)
            return time.perf_counter() - start

        async def pull(side: Side, number: int) -> float:
            image = pushed[side.name, number]
            start = time.perf_counter()
            await docker.pull(side.endpoint, self.images.place(level, number), image)
            return time.perf_counter() - start

        works: tuple[tuple[Phase, _One], ...] = (("push", push), ("pull", pull))
        for phase, one in works:
            for number, part in enumerate(slices):
                for side in run.rotated(self.sides, turn + number):
                    run.settle([other for other in self.sides if other is not side])
                    work = _together(phase, one, side, level, part)
                    self.samples += runner.run(work)
            for side in self.sides:
                done = [
                    s
                    for s in self.samples
                    if (s.phase, s.side, s.level) == (phase, side.name, level)
                ]
                middle = sorted(s.seconds for s in done)[len(done) // 2]
                run.tell(f"{phase}, {level} at a time: {side.name} median {middle * 1e3:.1f} ms")


_One = Callable[[Side, int], Coroutine[None, None, float]]


async def _together(
    phase: Phase, one: _One, side: Side, level: int, numbers: Sequence[int]
) -> list[Sample]:
    """Do all of the slice, `level` at a time: who is done takes the next image."""
    waiting, samples = iter(numbers), []

    async def work() -> None:
        for number in waiting:
            start = time.perf_counter()
            try:
                seconds, failure = await one(side, number), None
            except _CAUGHT as error:
                seconds, failure = time.perf_counter() - start, f"{type(error).__name__}: {error}"
                run.tell(f"FAILED: {phase} {number} on {side.name}, {level} at a time: {failure}")
            samples.append(Sample(phase, side.name, level, number, seconds, failure))

    async with asyncio.TaskGroup() as group:
        for _ in range(level):
            group.create_task(work())
    return samples


def _slices(count: int, level: int) -> list[range]:
    """Up to twenty equal slices, of twice the level at least: less would be all start and end."""
    size = -(-count // max(1, min(SLICES, count // (2 * level))))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
