"""Small pieces of content for tests of the services."""

from collections.abc import AsyncIterator

import msgspec

from registry.service.intake import Chunk
from registry.service.manifests import Push
from registry.spec.conditions import Conditions
from registry.spec.digest import Digest
from registry.spec.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from registry.spec.names import Reference


async def _body(data: bytes, piece: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


def chunk(data: bytes, *, piece: int = 65536) -> Chunk:
    return Chunk(_body(data, piece), len(data), None)


def image(*layers: bytes, config: bytes = b"{}", subject: Digest | None = None) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
    }
    if subject is not None:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 2}
    return encode(document)


def encode(document: object) -> bytes:
    return msgspec.json.encode(document, enc_hook=str)


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


def push(
    body: bytes,
    reference: Reference,
    conditions: Conditions | None = None,
    *,
    media_type: str = OCI_MANIFEST,
) -> Push:
    return Push(reference, (), body, media_type, conditions or Conditions())
