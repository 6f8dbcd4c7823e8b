"""Content to push, and the plainest ways of pushing it."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tests.oracle.wire import Client, Reply

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """Give the digest of bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def random_bytes(seed: object, size: int) -> bytes:
    """Give bytes that depend on the seed only."""
    return random.Random(repr(seed)).randbytes(size)  # noqa: S311


def descriptor(data: bytes, media_type: str, algorithm: str = "sha256") -> dict[str, Any]:
    """Describe content."""
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}


def encode(document: object) -> bytes:
    """Write JSON as clients do."""
    return json.dumps(document, separators=(",", ":")).encode()


def image(
    config: bytes,
    layers: Sequence[bytes] = (),
    subject: Mapping[str, Any] | None = None,
    **more: Any,
) -> bytes:
    """Give an OCI image manifest."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
    }
    if subject is not None:
        document["subject"] = subject
    return encode(document | more)


def index(
    children: Sequence[bytes] = (), subject: Mapping[str, Any] | None = None, **more: Any
) -> bytes:
    """Give an OCI image index."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(child, OCI_MANIFEST) for child in children],
    }
    if subject is not None:
        document["subject"] = subject
    return encode(document | more)


def media_type_of(manifest: bytes) -> str:
    """Give the media type that a manifest says it has."""
    return str(json.loads(manifest)["mediaType"])


def push_blob(client: Client, repository: str, data: bytes, algorithm: str = "sha256") -> str:
    """Push a blob with POST and PUT; give its digest."""
    digest = digest_of(data, algorithm)
    location = client.post(f"/v2/{repository}/blobs/uploads/").expect(202)["Location"]
    client.put(with_digest(location, digest), body=data).expect(201)
    return digest


def with_digest(location: str, digest: str) -> str:
    """Add the digest to the query of an upload's Location."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def put_manifest(
    client: Client,
    repository: str,
    reference: str,
    manifest: bytes,
    *headers: tuple[str, str],
    tags: Sequence[str] = (),
) -> Reply:
    """PUT a manifest; give the answer, whatever it is."""
    query = "?" + "&".join(f"tag={quote(tag, safe='')}" for tag in tags) if tags else ""
    target = f"/v2/{repository}/manifests/{reference}{query}"
    return client.put(target, ("Content-Type", media_type_of(manifest)), *headers, body=manifest)


def push_image(client: Client, repository: str, seed: object, tag: str | None = None) -> bytes:
    """Push a small image, two blobs and a manifest; give the manifest."""
    config = encode({"architecture": "amd64", "os": "linux", "seed": repr(seed)})
    layer = random_bytes(seed, 100)
    push_blob(client, repository, config)
    push_blob(client, repository, layer)
    manifest = image(config, [layer])
    put_manifest(client, repository, tag or digest_of(manifest), manifest).expect(201)
    return manifest
