"""Images as versions of an environment: what one was built on, what it adds, what several share.

A base is a list of layers that others begin with. Layers are compared by digest: a layer that was
compressed anew is another one, for the store too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from registry.spec.digest import Digest
from registry.spec.manifest import Descriptor, Manifest
from registry.spec.mediatype import DOCKER_CONFIG, OCI_CONFIG

T = TypeVar("T")

BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
"""Annotations that say what an image was built on (image-spec, annotations.md)."""

_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_MAX_NAME: Final = 512


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What there is to know of an image: its layers from the first on, and sizes in bytes.

    ``content`` is all that it consists of but manifests, by digest: of an index, all its images.
    ``base_name`` and ``base_digest`` are what its annotations say, unchecked.
    """

    layers: tuple[Digest, ...]
    content: Mapping[Digest, int]
    base_name: str = ""
    base_digest: str = ""

    @property
    def size(self) -> int:
        """Bytes of the content, each thing counted once."""
        return sum(self.content.values())

    @property
    def parts(self) -> int:
        """How much there is to know of it: its layers, or all of the content if that is more."""
        return max(len(self.layers), len(self.content))


def is_image(manifest: Manifest) -> bool:
    """Whether it is an image's own manifest: one with a config that runtimes understand."""
    return manifest.kind == "image" and manifest.artifact_type in _CONFIGS


def facts_of(manifest: Manifest) -> ImageFacts | None:
    """Return the facts of an image's own manifest; ``None`` for an artifact or an index."""
    if not is_image(manifest):
        return None
    _, *layers = manifest.blobs
    return ImageFacts(
        tuple(each.digest for each in layers),
        {each.digest: each.size for each in manifest.blobs},
        manifest.annotations.get(BASE_NAME, "")[:_MAX_NAME],
        manifest.annotations.get(BASE_DIGEST, "")[:_MAX_NAME],
    )


def facts_of_index(index: Manifest, children: Mapping[Digest, Manifest]) -> ImageFacts | None:
    """Return the facts of an index: layers of the image that stands for it, content of all.

    Annotations are the index's, or else that image's. ``None`` where it lists no image.
    """
    chosen = representative(index.manifests)
    first = facts_of(children[chosen]) if chosen is not None and chosen in children else None
    if first is None:
        return None
    content = {
        blob.digest: blob.size for child in children.values() for blob in child.blobs
    } | dict(first.content)
    return ImageFacts(
        first.layers,
        content,
        index.annotations.get(BASE_NAME, "")[:_MAX_NAME] or first.base_name,
        index.annotations.get(BASE_DIGEST, "")[:_MAX_NAME] or first.base_digest,
    )


def representative(children: Sequence[Descriptor]) -> Digest | None:
    """The image that stands for an index: that for linux/amd64, else the first for any platform.

    BuildKit lists attestations beside images, for the platform unknown/unknown.
    """
    images = [each for each in children if (each.platform or {}).get("os") != "unknown"]
    amd64 = [
        each
        for each in images
        if each.platform
        and (each.platform.get("os"), each.platform.get("architecture")) == ("linux", "amd64")
    ]
    return next((each.digest for each in (*amd64, *images)), None)


@dataclass(slots=True)
class Bases(Generic[T]):
    """Images by their layers, to find what others were built on."""

    _next: dict[tuple[int, Digest], int] = field(default_factory=dict)
    _at: dict[int, T] = field(default_factory=dict)

    def add(self, layers: Iterable[Digest], image: T) -> None:
        """Know an image. Of several with the same layers, the first stays; none has no layers."""
        node = 0
        for layer in layers:
            node = self._next.setdefault((node, layer), len(self._next) + 1)
        if node:
            self._at.setdefault(node, image)

    def under(self, layers: Sequence[Digest]) -> tuple[T, int] | None:
        """The image with the most layers that these begin with, and how many those are."""
        found, node = None, 0
        for depth, layer in enumerate(layers, 1):
            following = self._next.get((node, layer))
            if following is None:
                break
            node = following
            if node in self._at:
                found = (self._at[node], depth)
        return found


@dataclass(frozen=True, slots=True)
class Sharing:
    """What images take, in bytes: together if nothing was shared, and really.

    What is really stored is ``with_base``, ``between`` and ``unique`` together: what base images
    have too, what several of the images have beside that, and what one alone has.
    """

    images: int
    logical: int
    with_base: int
    between: int
    unique: int

    @property
    def physical(self) -> int:
        """Bytes that are stored once for all of them."""
        return self.with_base + self.between + self.unique


def sharing(images: Sequence[ImageFacts], base: Mapping[Digest, int]) -> Sharing:
    """Add up what the images take; ``base`` is the content of base images."""
    times: dict[Digest, int] = {}
    sizes: dict[Digest, int] = {}
    for image in images:
        for digest, size in image.content.items():
            times[digest] = times.get(digest, 0) + 1
            sizes[digest] = size
    own = {digest: size for digest, size in sizes.items() if digest not in base}
    return Sharing(
        len(images),
        sum(image.size for image in images),
        sum(sizes.values()) - sum(own.values()),
        sum(size for digest, size in own.items() if times[digest] > 1),
        sum(size for digest, size in own.items() if times[digest] == 1),
    )


def added(image: ImageFacts, *earlier: ImageFacts) -> int:
    """Bytes of the image's content that none of the earlier ones has."""
    known = {digest for each in earlier for digest in each.content}
    return sum(size for digest, size in image.content.items() if digest not in known)
