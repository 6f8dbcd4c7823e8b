"""Any text is a digest that is safe in a path and a header, or a 400."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

import string

from registry.spec.digest import ALGORITHMS, Digest
from registry.spec.errors import DigestInvalid, DigestUnsupported

SEEDS = (b"sha256:" + b"0a" * 32, b"sha512:" + b"0a" * 64, b"blake3:" + b"0a" * 32)


def check(data: bytes) -> None:
    """What is accepted has the exact number of lower-case digits."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = Digest.parse(text)
    except (DigestInvalid, DigestUnsupported) as error:
        assert error.message.isprintable()
        return
    assert len(found.hex) == ALGORITHMS[found.algorithm]
    assert set(found.hex) <= set(string.hexdigits.lower())
