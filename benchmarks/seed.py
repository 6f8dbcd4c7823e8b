"""Puts on a registry what a piece of work then reads, through the API alone."""

from benchmarks.content import MANIFEST_TYPE, Blob, Image, image, image_of
from benchmarks.wire import Client, Endpoint, target_of

_CONTENT_TYPE = ("Content-Type", MANIFEST_TYPE)
_BINARY = ("Content-Type", "application/octet-stream")


def put_blob(client: Client, repository: str, blob: Blob) -> None:
    """Push a blob by POST and PUT."""
    start = client.ask("POST", f"/v2/{repository}/blobs/uploads/").expect(202)
    target = target_of(start.headers["location"], f"digest={blob.digest}")
    client.ask("PUT", target, blob.data, _BINARY).expect(201)


def put_manifest(client: Client, repository: str, tag: str, manifest: Image) -> None:
    """Push a manifest under a tag; its blobs must be there."""
    target = f"/v2/{repository}/manifests/{tag}"
    answer = client.ask("PUT", target, manifest.manifest, _CONTENT_TYPE)
    digest = answer.expect(201).headers.get("docker-content-digest", manifest.digest)
    if digest != manifest.digest:
        raise AssertionError(f"the registry took {manifest.digest} for {digest}")


def put_image(endpoint: Endpoint, repository: str, tag: str) -> Image:
    """Push a new image of five layers of 4 KiB."""
    pushed = image(note=repository)
    with Client(endpoint) as client:
        for blob in pushed.blobs:
            put_blob(client, repository, blob)
        put_manifest(client, repository, tag, pushed)
    return pushed


def put_tags(endpoint: Endpoint, repository: str, count: int) -> list[str]:
    """Push `count` tags, each for a manifest of its own; the tags in byte order."""
    tags = [f"v{number:04}" for number in range(count)]
    base = image(layers=1, note=repository)
    config, *layers = base.blobs
    with Client(endpoint) as client:
        for blob in base.blobs:
            put_blob(client, repository, blob)
        for tag in tags:
            put_manifest(client, repository, tag, image_of(config, tuple(layers), tag))
    return tags


def delete_blob(endpoint: Endpoint, repository: str, digest: str) -> bool:
    """Ask for the blob's deletion; whether the registry agreed."""
    with Client(endpoint) as client:
        return client.ask("DELETE", f"/v2/{repository}/blobs/{digest}").status in {202, 204}
