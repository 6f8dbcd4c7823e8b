"""Any `Content-Type` is one media type in lower case, or a 400."""

from registry.spec.errors import ManifestInvalid
from registry.spec.mediatype import MAX_LENGTH, OCI_MANIFEST, is_media_type, parse_content_type

SEEDS = (OCI_MANIFEST.encode(), OCI_MANIFEST.encode() + b"; charset=utf-8", b"A/B", b" a/b ;c")


def check(data: bytes) -> None:
    """What is found is a fixed point."""
    try:
        found = parse_content_type(data.decode("latin-1"))
    except ManifestInvalid:
        return
    assert is_media_type(found)
    assert parse_content_type(found) == found == found.lower()
    assert len(found) <= MAX_LENGTH
