"""The images: one base layer for all of them, and a small layer and a config of their own."""

import hashlib
import secrets
from dataclasses import dataclass, field

from benchmarks.content import Blob, Image, image_of

_OWN = 32
_PIECE = 32 << 10  # what docker's client copies at a time


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image of the experiment lies: a repository of its own, as in the thesis."""

    repository: str
    tag: str = "latest"


@dataclass(slots=True)
class Images:
    """Makes the images of one run. Each call of `new` gives one that no side has seen."""

    run: str
    base_size: int
    layer_size: int
    base: Blob = field(init=False)
    _filling: bytes = field(init=False)
    _hash: "hashlib._Hash" = field(init=False)

    def __post_init__(self) -> None:
        if min(self.base_size, self.layer_size) <= _OWN:
            raise ValueError(f"a layer has more than {_OWN} bytes")
        self.base = Blob.random(self.base_size)
        self._filling = secrets.token_bytes(self.layer_size - _OWN)
        self._hash = hashlib.sha256(self._filling)

    @property
    def base_repository(self) -> str:
        """Where the base lies before the first push, as the platform's base images do."""
        return f"thesis-{self.run}/base"

    def place(self, level: int, number: int) -> Place:
        """The place of an image: of another level, another repository."""
        return Place(f"thesis-{self.run}/c{level}/nginx-{number}")

    def new(self, place: Place) -> Image:
        """An image for that place; its blobs are config, base and own layer."""
        own = secrets.token_bytes(_OWN)
        digest = self._hash.copy()
        digest.update(own)
        layer = Blob(self._filling + own, "sha256:" + digest.hexdigest())
        config = Blob.of(
            b'{"architecture":"amd64","os":"linux","config":{"note":"%s"}}' % own.hex().encode()
        )
        return image_of(config, (self.base, layer), place.repository)


def in_chunks(data: bytes) -> bytes:
    """A body in the chunked coding, in the pieces that docker's client sends."""
    parts = []
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        parts += [f"{len(piece):x}\r\n".encode(), piece, b"\r\n"]
    return b"".join([*parts, b"0\r\n\r\n"])
