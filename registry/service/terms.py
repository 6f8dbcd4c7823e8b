"""How long what nothing needs stays, and what is deleted can be had back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from registry.spec.life import patience

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: ``grace`` for what nothing needs, ``window`` for what was deleted.

    Within the grace after the last answer that told a client of a blob, nothing takes that away.
    ``clock`` tells the Unix time, ``pace`` measures how long something takes.
    """

    grace: float = DAY
    window: float = 7 * DAY
    clock: Callable[[], float] = time.time
    pace: Callable[[], float] = time.monotonic

    @property
    def patience(self) -> float:
        """Seconds that may pass from a look at the store to the answer that relies on it."""
        return patience(self.grace)


TERMS: Final = Terms()
