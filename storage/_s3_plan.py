"""How content is cut into the parts of a multipart upload.

S3 takes 10,000 parts, of 5 MiB at least (but the last) and 5 GiB at most. Parts are gathered in
memory before they are sent, since what a broken request leaves must be kept to the byte; so they
are small as long as they can be, and grow with their number:

========= ====== =======
parts up  of     reach
========= ====== =======
to 2,000   8 MiB  16 GiB
to 4,000  16 MiB  47 GiB
to 6,000  32 MiB 109 GiB
to 10,000 64 MiB 359 GiB
========= ====== =======

So 359 GiB is the largest content (with the part size that is set by default, and more with a
larger one). The bytes in flight are bounded, not the parts: of large parts one is sent at a time.
"""

from dataclasses import dataclass
from typing import final

MIN_PART = 5 * 1024 * 1024
"""The smallest part, in bytes, that is not the last."""

MAX_PARTS = 10_000

_GROWTH = ((2_000, 1), (4_000, 2), (6_000, 4), (MAX_PARTS, 8))
"""Up to which part number a part is how many times the size of the first."""


@final
@dataclass(frozen=True, slots=True)
class PartPlan:
    """The size of the first parts in bytes, and how many of that size may be in flight."""

    first: int = 8 * 1024 * 1024
    in_flight: int = 2

    def size(self, number: int) -> int:
        """The bytes of part ``number``, from 1."""
        for last, factor in _GROWTH:
            if number <= last:
                return self.first * factor
        return self.first * _GROWTH[-1][1]

    def ahead(self, number: int) -> int:
        """How many parts may be in flight before part ``number`` is, itself included."""
        return max(1, self.in_flight * self.first // self.size(number))
