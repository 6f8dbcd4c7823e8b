"""Reading manifests: what kind one is, what it refers to, and whether it can be trusted to.

A manifest's bytes are kept exactly as sent and are never written anew; what is read here only
decides whether they are accepted and which content they keep alive.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from registry.spec import mediatype
from registry.spec.digest import Digest
from registry.spec.errors import (
    DigestInvalid,
    DigestUnsupported,
    ManifestInvalid,
    ManifestTooLarge,
    shown,
)

MAX_SIZE = 4 * 1024 * 1024
"""Largest manifest, in bytes: what the specification asks for at least, and containerd's limit."""

MAX_DESCRIPTORS = 10_000
"""Most descriptors of one manifest."""

_T = TypeVar("_T")
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

Kind = Literal["image", "index", "artifact", "unknown"]


class Descriptor(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A reference to content (image-spec, descriptor.md). `size` is in bytes.

    `platform` is what the client sent, unchecked. `data` is the content itself, decoded.
    """

    media_type: str
    digest: Digest
    size: _Size
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: dict[str, Any] | None = None
    urls: tuple[str, ...] | None = None
    data: bytes | None = None


class Manifest(msgspec.Struct, frozen=True, gc=False):
    """What a manifest says. Its digest is not here: the caller hashes the bytes as received.

    - `blobs` must exist in the repository before the manifest is accepted.
    - `manifests` likewise; they are an index's children.
    - `foreign` are non-distributable layers: they may be missing, and are kept when present.
    - `subject` need not exist (spec, "Push").
    - `artifact_type` is the manifest's, or the type of an image's config.
    - `size` is that of the manifest itself, in bytes.
    """

    media_type: str
    kind: Kind
    size: int
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] = {}


class _Outline(msgspec.Struct, gc=False, rename="camel"):
    """A first look: which fields there are. `Raw` is a view of the body and costs nothing."""

    schema_version: Any = None
    media_type: str | None = None
    config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    blobs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Document(msgspec.Struct, gc=False, rename="camel"):
    """The fields of images, indexes and artifact manifests. Go writes an empty list as null."""

    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    blobs: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None


def _digest_hook(_kind: type, value: object) -> Digest:
    """Parse a descriptor's digest; msgspec adds the place to the message of a ValueError."""
    if not isinstance(value, str):
        raise ValueError("a digest is a string")  # noqa: TRY004 -- msgspec's protocol
    try:
        return Digest.parse(value)
    except (DigestInvalid, DigestUnsupported) as error:
        raise ValueError(error.message) from None


_outline = msgspec.json.Decoder(_Outline)
_document = msgspec.json.Decoder(_Document, dec_hook=_digest_hook)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FIELDS = {
    field.casefold(): field
    for field in (
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "subject",
        "annotations",
    )
}


def parse(body: bytes, content_type: str | None) -> Manifest:
    """Read a manifest as sent in a PUT, `content_type` being its header's value or None.

    The media type is the header's; a `mediaType` in the body must be the same (CVE-2021-41190),
    and replaces a header that is missing; without either, the shape decides. Docker schema 1 is
    refused, and so is a type that a browser takes for a page.

    Types that are not known here are accepted when they are JSON objects: the specification
    defines a manifest as "a JSON document uploaded via the manifests endpoint" that refers to
    content through descriptors. When such a document has the fields of an image, an index or an
    artifact manifest, and they are well-formed, what they refer to counts; otherwise nothing
    does, and garbage collection owes it nothing.

    Raises ManifestTooLarge above `MAX_SIZE`, and ManifestInvalid for everything else that is
    wrong: no JSON object, invalid UTF-8, nesting that exhausts the parser, an image that is also
    an index, missing required fields, malformed descriptors or more than `MAX_DESCRIPTORS`,
    embedded `data` that is not the content described. A key given twice counts as its last
    value.
    """
    if len(body) > MAX_SIZE:
        raise ManifestTooLarge(MAX_SIZE)
    _check_text(body)
    outline = _decode(_outline, body)
    media_type = _media_type(outline, content_type)
    kind = _kind(media_type)
    _check_shape(outline, kind)
    if kind != "unknown":
        _check_spelling(body)
    try:
        document = _decode(_document, body)
        _check_descriptors(document, kind)
    except ManifestInvalid:
        if kind != "unknown":
            raise
        document = _Document()
    blobs, manifests, foreign = _sort(document)
    return Manifest(
        media_type=media_type,
        kind=kind,
        size=len(body),
        blobs=tuple(blobs),
        manifests=tuple(manifests),
        foreign=tuple(foreign),
        subject=None if kind == "unknown" else document.subject,
        artifact_type=_artifact_type(document, kind),
        annotations=document.annotations or {},
    )


def referrer_descriptor(manifest: Manifest, digest: Digest) -> dict[str, object]:
    """Give the descriptor that lists `manifest` among its subject's referrers (end-12a).

    A JSON-ready dict. The type of an index without one is left out, as the specification
    ("Listing Referrers") wants; `digest` is of the manifest's bytes.
    """
    descriptor: dict[str, object] = {
        "mediaType": manifest.media_type,
        "digest": str(digest),
        "size": manifest.size,
    }
    if manifest.artifact_type:
        descriptor["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        descriptor["annotations"] = manifest.annotations
    return descriptor


def _check_spelling(body: bytes) -> None:
    """Refuse a field that is one of ours but for its case.

    Clients written in Go take `Layers` for `layers`, and others don't: the same bytes would be
    two images (the family of CVE-2021-41190).
    """
    for field in _decode(_fields, body):
        known = _FIELDS.get(field.casefold())
        if known is not None and known != field:
            raise ManifestInvalid(
                f"the manifest has a field {shown(field)}, which some clients take for {known!r} "
                "and others do not: correct its spelling"
            )


def _check_text(body: bytes) -> None:
    """Refuse what msgspec would not look at in fields that nobody reads, but clients will."""
    if not body:
        raise ManifestInvalid("the manifest is empty: send it as the request's body")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ManifestInvalid(f"the manifest is not UTF-8 (byte {error.start})") from None


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ManifestInvalid(f"the manifest is malformed: {error}") from None
    except RecursionError:
        raise ManifestInvalid("the manifest is nested too deeply") from None


def _media_type(outline: _Outline, content_type: str | None) -> str:
    """Find the one media type that the header, the body and the shape agree on."""
    if outline.media_type and not mediatype.is_media_type(outline.media_type):
        raise ManifestInvalid(f"the manifest's mediaType {shown(outline.media_type)} is malformed")
    inner = (outline.media_type or "").lower()
    if not content_type:
        return inner or _shape(outline)
    outer = mediatype.parse_content_type(content_type)
    if inner and inner != outer:
        raise ManifestInvalid(
            f"the request says Content-Type {shown(outer)}, but the manifest says mediaType "
            f"{shown(inner)}: send the manifest's own type as Content-Type"
        )
    return outer


def _shape(outline: _Outline) -> str:
    """Tell the media type from the fields; Docker's types always say theirs."""
    if outline.fs_layers is not msgspec.UNSET:
        return mediatype.DOCKER_SCHEMA1
    if outline.manifests is not msgspec.UNSET:
        return mediatype.OCI_INDEX
    if outline.config is not msgspec.UNSET:
        return mediatype.OCI_MANIFEST
    raise ManifestInvalid("the manifest's type is not known: send it as Content-Type")


def _kind(media_type: str) -> Kind:
    if media_type in mediatype.IMAGES:
        return "image"
    if media_type in mediatype.INDEXES:
        return "index"
    if media_type == mediatype.OCI_ARTIFACT:
        return "artifact"
    if media_type in mediatype.SCHEMA1:
        raise ManifestInvalid(
            "Docker schema 1 manifests are not accepted: push with a client that is newer than "
            "2017, or convert the image with `skopeo copy --format oci`"
        )
    if mediatype.is_page(media_type):
        raise ManifestInvalid(
            f"a manifest is no {shown(media_type)}, which a browser may show as a page: give it a "
            "type such as application/vnd.example+json"
        )
    return "unknown"


def _check_shape(outline: _Outline, kind: Kind) -> None:
    """Refuse a document that one client could read as an image and another as an index.

    A field that is null counts as present: Go clients look at its raw text (CVE-2021-41190).
    """
    image = outline.layers is not msgspec.UNSET or outline.config is not msgspec.UNSET
    index = outline.manifests is not msgspec.UNSET
    if image and index:
        raise ManifestInvalid(
            "the manifest is ambiguous: an image has config and layers, an index has manifests, "
            "and none has both"
        )
    if outline.fs_layers is not msgspec.UNSET and kind in ("image", "index"):
        raise ManifestInvalid("the manifest is ambiguous: fsLayers belongs to Docker schema 1")
    if kind == "image" and not image:
        raise ManifestInvalid("an image manifest needs config and layers")
    if kind == "index" and not index:
        raise ManifestInvalid("an index needs manifests, which may be an empty list")
    if kind in ("image", "index") and outline.schema_version != 2:
        raise ManifestInvalid('the manifest needs "schemaVersion": 2')


def _check_descriptors(document: _Document, kind: Kind) -> None:
    if kind == "image" and document.config is None:
        raise ManifestInvalid("an image manifest needs a config: use the empty descriptor if none")
    descriptors = [
        *(each for each in (document.config, document.subject) if each is not None),
        *(document.layers or ()),
        *(document.blobs or ()),
        *(document.manifests or ()),
    ]
    if len(descriptors) > MAX_DESCRIPTORS:
        raise ManifestInvalid(f"the manifest has more than {MAX_DESCRIPTORS} descriptors")
    if document.artifact_type and not mediatype.is_content_type(document.artifact_type):
        raise ManifestInvalid(f"artifactType {shown(document.artifact_type)} is no media type")
    for descriptor in descriptors:
        _check_descriptor(descriptor)


def _check_descriptor(descriptor: Descriptor) -> None:
    """Check what the types alone do not: the media type, and embedded data."""
    if not mediatype.is_content_type(descriptor.media_type):
        raise ManifestInvalid(
            f"descriptor {descriptor.digest} has the mediaType {shown(descriptor.media_type)}, "
            "which is no media type"
        )
    data = descriptor.data
    if data is not None and (
        len(data) != descriptor.size
        or Digest.of(data, descriptor.digest.algorithm) != descriptor.digest
    ):
        raise ManifestInvalid(f"descriptor {descriptor.digest} embeds data of other content")


def _sort(
    document: _Document,
) -> tuple[list[Descriptor], list[Descriptor], list[Descriptor]]:
    """Sort what a manifest refers to into blobs, manifests and foreign layers.

    An index's children are manifests unless their type says otherwise: BuildKit exports its
    cache as an index of layers.
    """
    blobs: list[Descriptor] = [] if document.config is None else [document.config]
    blobs += document.blobs or ()
    manifests: list[Descriptor] = []
    foreign: list[Descriptor] = []
    for layer in document.layers or ():
        (foreign if layer.media_type in mediatype.FOREIGN else blobs).append(layer)
    for child in document.manifests or ():
        if child.media_type in mediatype.FOREIGN:
            foreign.append(child)
        elif child.media_type in mediatype.BLOBS:
            blobs.append(child)
        else:
            manifests.append(child)
    return blobs, manifests, foreign


def _artifact_type(document: _Document, kind: Kind) -> str | None:
    """Give the type that referrers are filtered by; an empty one counts as missing."""
    if document.artifact_type:
        return document.artifact_type
    if kind == "image" and document.config is not None:
        return document.config.media_type
    return None
