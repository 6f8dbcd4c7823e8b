"""Media types: the constants, `Content-Type` and `Accept`."""

from __future__ import annotations

import re

from registry.spec.errors import ManifestInvalid, shown

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_NONDISTRIBUTABLE_GZIP = OCI_NONDISTRIBUTABLE + "+gzip"
OCI_NONDISTRIBUTABLE_ZSTD = OCI_NONDISTRIBUTABLE + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = DOCKER_FOREIGN + ".gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
BUILDKIT_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
OCTET_STREAM = "application/octet-stream"

IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
FOREIGN = frozenset(
    {
        OCI_NONDISTRIBUTABLE,
        OCI_NONDISTRIBUTABLE_GZIP,
        OCI_NONDISTRIBUTABLE_ZSTD,
        DOCKER_FOREIGN,
        DOCKER_FOREIGN_GZIP,
    }
)
"""Layers that a client may leave where their `urls` say."""

BLOBS = FOREIGN | {
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    BUILDKIT_CACHE_CONFIG,
}
"""Types that are never manifests, also when an index lists them (BuildKit's cache does)."""

MAX_LENGTH = 255
"""Longest media type, in characters (RFC 6838 §4.2: 127 for each half)."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_TYPE = re.compile(f"{_NAME}/{_NAME}").fullmatch
_TYPE_AND_PARAMETERS = re.compile(rf"{_NAME}/{_NAME}(?:[ \t]*;[\x20-\x7e]*)?").fullmatch
_RANGE = re.compile(rf"({_NAME}/{_NAME}|{_NAME}/\*|\*/\*)((?:[ \t]*;[^;,]*)*)").fullmatch
_PAGE = re.compile(r"(?!application/).*|.*[/+](?:x?html|xml)").fullmatch
_QUALITY = re.compile(r"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*").fullmatch


def is_media_type(text: str) -> bool:
    """Tell whether `text` is a media type without parameters (RFC 6838 §4.2)."""
    return len(text) <= MAX_LENGTH and _TYPE(text) is not None


def is_content_type(text: str) -> bool:
    """Tell whether `text` is a media type, perhaps with parameters.

    Descriptors need this: Sigstore's are `application/vnd.dev.sigstore.bundle+json;version=0.2`.
    """
    return len(text) <= MAX_LENGTH and _TYPE_AND_PARAMETERS(text) is not None


def is_page(media_type: str) -> bool:
    """Tell whether a browser could take content of `media_type` for a page, and run what is in it.

    All types but `application/…` count as such, and those of HTML and XML (CVE-2025-32019: what a
    user wrote ran as a page of the registry's own).
    """
    return _PAGE(media_type.lower()) is not None


def parse_content_type(header: str) -> str:
    """Give the media type of a `Content-Type` header, in lower case and without parameters.

    The specification has registries ignore parameters ("Pushing Manifests"), so they are not
    looked at. Raises ManifestInvalid when what is left is no media type.
    """
    text = header.partition(";")[0].strip(" \t")
    if not is_media_type(text):
        raise ManifestInvalid(f"Content-Type {shown(header)} is no media type")
    return text.lower()


def accepts(accept_headers: str | None, media_type: str) -> bool:
    """Tell whether `Accept` lets an answer be of `media_type` (RFC 9110 §12.5.1).

    `accept_headers` is all values of the header, joined by commas; None and nothing but
    malformed ranges mean that everything is accepted. The most specific range decides, and
    among equals the highest quality; `q=0` refuses. Parameters other than q are not looked at.
    """
    if accept_headers is None:
        return True
    wanted = media_type.lower()
    patterns = {wanted: 3, wanted.partition("/")[0] + "/*": 2, "*/*": 1}
    best = (0, 0.0)
    malformed_only = True
    for part in accept_headers.split(","):
        text = part.strip(" \t")
        if text == wanted:  # nothing is more specific, nor of a higher quality
            return True
        match = _RANGE(text)
        if match is None:
            continue
        malformed_only = False
        specificity = patterns.get(match[1].lower(), 0)
        if specificity:
            best = max(best, (specificity, _quality(match[2])))
    return malformed_only or best[1] > 0


def _quality(parameters: str) -> float:
    """Give the weight among a range's parameters: 1 when there is none that can be read."""
    for parameter in parameters.split(";"):
        if match := _QUALITY(parameter):
            return float(match[1])
    return 1.0
