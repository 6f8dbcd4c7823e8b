"""Any `If-Match` or `If-None-Match` is a condition or a 400, and never both true and false."""

from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.errors import Unsupported

_A = Digest.of(b"a")

SEEDS = (b"*", f'"{_A}"'.encode(), f'W/"{_A}"'.encode(), f'"x", "{_A}" ,, W/"y"'.encode(), b'""')


def check(data: bytes) -> None:
    """A write conditional on another digest never passes."""
    header = data.decode("latin-1")
    try:
        conditions = Conditions.parse(header, header)
    except Unsupported:
        return
    match, none_match = Conditions.parse(header, None), Conditions.parse(None, header)
    for current in (_A, None):
        assert not (match.check_write(current) and none_match.check_write(current))
        assert not conditions.check_write(current)
        assert none_match.not_modified(current) is not none_match.check_write(current)
        if match.check_write(current):
            assert current is not None
            assert current in header or header.strip(" \t") == "*"
