"""How long a caller has to wait after failed logins: pure arithmetic, no clock."""

from typing import Final

FREE: Final = 5
"""Failures that cost nothing: people mistype."""

FIRST: Final = 1.0
"""Seconds to wait after the first failure that costs something; each further one doubles them."""

LONGEST: Final = 300.0
"""The longest wait, in seconds. Nobody is locked out for good by somebody else's guesses."""


def wait_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    if failures <= FREE:
        return 0.0
    return min(FIRST * 2.0 ** min(failures - FREE - 1, 32), LONGEST)
