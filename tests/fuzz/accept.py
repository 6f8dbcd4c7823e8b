"""Any `Accept` accepts a type or does not; adding `*/*` never takes one away."""

from registry.spec.mediatype import OCI_INDEX, OCI_MANIFEST, accepts

SEEDS = (
    b"*/*",
    OCI_MANIFEST.encode(),
    f"{OCI_INDEX};q=0.5, {OCI_MANIFEST};q=0".encode(),
    b"application/*;q=0.1,text/html;level=1",
)


def check(data: bytes) -> None:
    """Both answers are booleans; the order of elements does not matter."""
    header = data.decode("latin-1")
    answer = accepts(header, OCI_MANIFEST)
    assert answer is accepts(",".join(reversed(header.split(","))), OCI_MANIFEST)
    assert accepts(f"{header},{OCI_MANIFEST}", OCI_MANIFEST) is True
