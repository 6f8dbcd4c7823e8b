"""What is pushed and pulled: random layers, small blobs, and manifests that name them."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_SUFFIX = 32


@dataclass(frozen=True, slots=True)
class Blob:
    """A small blob held in memory."""

    data: bytes
    digest: str

    @classmethod
    def of(cls, data: bytes) -> "Blob":
        return cls(data, "sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def random(cls, size: int) -> "Blob":
        return cls.of(secrets.token_bytes(size))


@dataclass(frozen=True, slots=True)
class Layer:
    """A large blob: a shared random file, repeated, then 32 bytes of its own.

    The own bytes come last, so that each push has content no side has seen, and its digest
    costs no second reading of the file.
    """

    path: Path
    repeats: int
    base_size: int
    suffix: bytes
    digest: str

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.base_size * self.repeats + len(self.suffix)


@dataclass(slots=True)
class LayerSource:
    """Makes layers of one size from one random file on disk."""

    path: Path
    size: int
    repeats: int = 1
    _hash: "hashlib._Hash" = field(init=False)
    _base_size: int = field(init=False)

    def __post_init__(self) -> None:
        if self.size % self.repeats or self.size <= _SUFFIX:
            raise ValueError("the size of a layer must be a multiple of its repeats")
        piece = self.size // self.repeats
        self._base_size = (self.size - _SUFFIX) if self.repeats == 1 else piece
        if not self.path.exists():
            _write_random(self.path, piece)
        self._hash = hash_file(self.path, self._base_size, self.repeats)

    def layer(self) -> Layer:
        """A layer that was never made before."""
        suffix = secrets.token_bytes(_SUFFIX)
        digest = self._hash.copy()
        digest.update(suffix)
        return Layer(
            self.path, self.repeats, self._base_size, suffix, "sha256:" + digest.hexdigest()
        )


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest, and the small blobs that it names."""

    manifest: bytes
    digest: str
    blobs: tuple[Blob, ...]


def image(layers: int = 5, layer_size: int = 4096, note: str = "") -> Image:
    """An image manifest of about 1.2 KiB with that many layers of that many bytes."""
    config = Blob.of(json.dumps({"architecture": "amd64", "os": "linux", "note": note}).encode())
    blobs = tuple(Blob.random(layer_size) for _ in range(layers))
    return image_of(config, blobs, note)


def image_of(config: Blob, layers: tuple[Blob, ...], note: str) -> Image:
    """The image with these blobs; another `note` makes another digest."""
    body = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [_descriptor(b, "application/vnd.oci.image.layer.v1.tar") for b in layers],
            "annotations": {"org.opencontainers.image.title": note},
        }
    ).encode()
    return Image(body, Blob.of(body).digest, (config, *layers))


def _descriptor(blob: Blob, media_type: str) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": blob.digest, "size": len(blob.data)}


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 4 * MEBIBYTE)))


def hash_file(path: Path, size: int, repeats: int) -> "hashlib._Hash":
    """Hash the first `size` bytes of a file, so many times over."""
    digest = hashlib.sha256()
    buffer = bytearray(4 * MEBIBYTE)
    view = memoryview(buffer)
    for _ in range(repeats):
        left = size
        with path.open("rb", buffering=0) as file:
            while left:
                count = file.readinto(view[: min(left, len(buffer))])
                if not count:
                    raise ValueError(f"{path} is shorter than {size} bytes")
                digest.update(view[:count])
                left -= count
    return digest
