"""Any `Range` of a GET is ignored, refused, or a few ranges of existing bytes."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

from registry.spec.errors import RangeUnsatisfiable
from registry.spec.ranges import MAX_RANGES, parse_range

SEEDS = (b"bytes=0-9", b"bytes=500-", b"bytes=-500", b"bytes=0-0,5-9, -1", b"bytes=500-0", b"x=1")


def check(data: bytes) -> None:
    """The answer is never longer than the content."""
    for size in (0, 1, 600, 10**12):
        try:
            found = parse_range(data.decode("latin-1"), size)
        except RangeUnsatisfiable as error:
            assert error.headers["Content-Range"] == f"bytes */{size}"
            continue
        if found is not None:
            assert 1 <= len(found) <= MAX_RANGES
            assert all(0 <= each.start <= each.end < size for each in found)
            assert sum(each.length for each in found) <= size
