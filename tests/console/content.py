"""Images to look at."""

import json
from typing import Any

from tests.oracle.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    encode,
    image,
    push_blob,
    put_manifest,
)
from tests.oracle.wire import Client


def push(
    caller: Client,
    repository: str,
    tag: str,
    *layers: bytes,
    config: dict[str, Any] | None = None,
    architecture: str = "amd64",
    of: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Push an image of these layers; give its descriptor. Images `of` the same are the same."""
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-11-02T08:30:00Z",
        "config": config or {},
        "of": of or f"{repository}:{tag}",
    }
    data = json.dumps(document).encode()
    for each in (data, *layers):
        push_blob(caller, repository, each)
    body = image(data, layers, **more)
    put_manifest(caller, repository, tag, body).expect(201)
    return descriptor(body, OCI_MANIFEST)


def push_index(
    caller: Client, repository: str, tag: str, images: dict[str, dict[str, Any]]
) -> None:
    """Push an index of images, by their architecture."""
    children = [
        {**each, "platform": {"os": "linux", "architecture": name}} for name, each in images.items()
    ]
    body = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
    put_manifest(caller, repository, tag, body).expect(201)


def attach(
    caller: Client, repository: str, subject: dict[str, Any], kind: str, data: bytes
) -> None:
    """Push something that refers to an image."""
    for each in (b"{}", data):
        push_blob(caller, repository, each)
    body = image(b"{}", [data], subject, artifactType=kind)
    put_manifest(caller, repository, digest_of(body), body).expect(201)
