"""Any `Content-Range` of a chunk is a range with bytes in it, or a 400."""

from registry.spec.errors import UploadInvalid
from registry.spec.ranges import ContentRange

SEEDS = (b"0-0", b"500-999", b"bytes 0-9/*", b"bytes 0-9/10", b"9-5")


def check(data: bytes) -> None:
    """What is accepted starts at 0 or later and is not empty."""
    try:
        found = ContentRange.parse(data.decode("latin-1"))
    except UploadInvalid:
        return
    assert 0 <= found.start <= found.end
    assert found.length >= 1
