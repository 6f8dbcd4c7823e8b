"""How long things last among replicas."""

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations in seconds. The processes of one store must all have the same.

    What must hold, and why, is said where it is relied upon: ``storage.bulletin`` and
    ``storage.replicas``. ``__post_init__`` refuses what breaks it.
    """

    look: float = 1.0
    """From the beginning of one look at the bulletin to the next."""

    look_limit: float = 2.0
    """A look that takes longer is given up."""

    valid: float = 3.0
    """What a look found may be relied upon for so long, counted from its beginning."""

    notice: float = 3.5
    """So long after something was put up, every process that relies on a look has seen it."""

    renewal: float = 1.0
    """Between two signs of life of a holder."""

    lease: float = 5.0
    """A holder that gave no sign of life for so long has lost what it held."""

    body: float = 10.0
    """A change is cut off so long after its last sign of life."""

    flux: float = 30.0
    """What a change does may take effect so long after its last sign of life, not later.

    So a request to the store must have ended 20 s after the change around it was cut off."""

    def __post_init__(self) -> None:
        """``ValueError`` where the durations do not fit each other."""
        if not (
            self.look < self.valid < self.notice
            and self.look_limit < self.valid
            and self.renewal < self.lease < self.body < self.flux
            and self.notice < self.flux
        ):
            raise ValueError(f"durations that do not fit: {self}")

    @property
    def stay(self) -> float:
        """What is put up stays for so long, so that every process has a look that finds it.

        Looks of one process begin less than ``valid`` apart, and take less than ``look_limit``.
        """
        return self.notice + self.look_limit

    def scaled(self, factor: float) -> Self:
        """All of it faster or slower: for tests."""
        return type(self)(**{each.name: getattr(self, each.name) * factor for each in fields(self)})


PACE = Pace()
"""The pace of all releases so far; one that changes it can't run beside the others."""
