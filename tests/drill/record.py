"""What clients saw, by the second, and what it comes to for each step of the drill."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.load import Crane, Customer, Probe
from tests.drill.clients import DockerLoop

Request = tuple[float, float, bool]
"""Begin and end (monotonic seconds), and whether it was served."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What clients have counted so far."""

    requests: int
    retried: int
    pushes: int
    pulls: int
    failed_pushes: int
    failed_pulls: int
    commands: int
    failed_commands: int

    def since(self, before: "Counts") -> "Counts":
        """The difference."""
        return Counts(
            *(getattr(self, name) - getattr(before, name) for name in self.__dataclass_fields__)
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to. Times in seconds; `at` and `until` from the start of the record."""

    name: str
    note: str
    harmless: bool
    at: float
    until: float
    whole_after: float
    counts: Counts
    errors: int
    peak: int
    last_error: float
    longest_error: float
    silence: float
    slowest: float

    @property
    def failed(self) -> int:
        """Pushes, pulls and commands that failed although they were tried again."""
        return self.counts.failed_pushes + self.counts.failed_pulls + self.counts.failed_commands


@dataclass
class Record:
    """All that clients see, from `began` on."""

    customers: Sequence[Customer]
    programs: Sequence[Crane | DockerLoop]
    probes: Sequence[Probe]
    requests: list[Request]
    began: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)

    def counts(self) -> Counts:
        """What clients have counted so far."""
        told = [each.told for each in self.customers]
        return Counts(
            requests=sum(each.requests for each in told),
            retried=sum(each.retried for each in told),
            pushes=sum(each.pushes for each in told),
            pulls=sum(each.pulls for each in told),
            failed_pushes=sum(len(each.failed_pushes) for each in told),
            failed_pulls=sum(len(each.failed_pulls) for each in told),
            commands=sum(each.commands for each in self.programs),
            failed_commands=sum(len(each.failed) for each in self.programs),
        )

    def all(self) -> list[Request]:
        """Every request of customers and probes."""
        return [*self.requests, *(each for probe in self.probes for each in probe.answered)]

    def add(
        self, name: str, note: str, acted: float, whole: float, before: Counts, *, harmless: bool
    ) -> Step:
        """Add a step that began at `acted`, after which all was whole again at `whole`."""
        until = time.monotonic()
        seen = [each for each in self.all() if acted <= each[1] <= until]
        wrong = [each for each in seen if not each[2]]
        seconds: dict[int, int] = {}
        for _, ended, _ in wrong:
            seconds[int(ended)] = seconds.get(int(ended), 0) + 1
        windows = [
            Probe(each.send, each.statuses, [one for one in each.answered if one[1] >= acted])
            for each in self.probes
        ]
        step = Step(
            name=name,
            note=note,
            harmless=harmless,
            at=acted - self.began,
            until=until - self.began,
            whole_after=whole - acted,
            counts=self.counts().since(before),
            errors=len(wrong),
            peak=max(seconds.values(), default=0),
            last_error=max((ended for _, ended, _ in wrong), default=acted) - acted,
            longest_error=max((each.errors_lasted for each in windows if each.answered), default=0),
            silence=max(each.silence for each in windows),
            slowest=max((ended - began for began, ended, _ in seen), default=0.0),
        )
        self.steps.append(step)
        return step
