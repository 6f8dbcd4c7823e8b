"""Any text is a hash state that can go on and be written again, or a ValueError."""

from registry.spec.digest import Hasher


def _state(algorithm: str, content: bytes) -> bytes:
    hasher = Hasher(algorithm)
    hasher.update(content)
    return (hasher.export() or "").encode()


SEEDS = (_state("sha256", b""), _state("sha256", b"a" * 100), _state("sha512", b"a" * 300))


def check(data: bytes) -> None:
    """What is accepted is written back the same, and hashing goes on."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        hasher = Hasher.restore(text)
    except ValueError:
        return
    assert hasher.export() == text
    before = hasher.length
    hasher.update(b"x" * 200)
    assert hasher.length == before + 200
    hasher.digest()
