"""When a delivery that failed is tried again: pure arithmetic, no clock, no dice."""

from typing import Final

LONGEST: Final = 3600.0
"""The longest wait between two attempts, in seconds."""


def wait_before(attempt: int, first: float, chance: float) -> float:
    """Return the seconds to wait before attempt number ``attempt``, from 2 on.

    ``first`` seconds before the second one, doubled with each, up to ``LONGEST``; of that the half
    at least, and as much of the rest as ``chance`` (0 to 1) says, so that not all come at once.
    """
    doubled = min(first * 2.0 ** min(attempt - 2, 32), LONGEST)
    return doubled * (0.5 + chance / 2)
