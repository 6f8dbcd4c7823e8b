"""How long shares last, and how long anybody waits for one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class QuotaTerms:
    """Seconds. A process may begin to store from its share for ``life`` after it was renewed.

    Of what it began then, nothing is under way any more after the ``margin``. So the share of one
    that is gone counts for both, and until the count after that. Processes' clocks may differ by
    less than half the margin.

    A process settles what it has stored every ``settle``. Who does not fit waits for ``patience``
    for others to give back what they hold and don't need. A count that is ``due`` is made when the
    last one was ``again`` ago, any other after ``every``.

    ``clock`` tells the Unix time, ``pace`` measures how long something takes.
    """

    life: float = 30.0
    margin: float = 150.0
    settle: float = 2.0
    patience: float = 5.0
    again: float = 900.0
    every: float = 86_400.0
    clock: Callable[[], float] = time.time
    pace: Callable[[], float] = time.monotonic


QUOTA_TERMS: Final = QuotaTerms()
