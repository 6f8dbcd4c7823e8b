"""The registry over plain HTTP, without any client's help or its memory."""

import hashlib
import http.client
import json
from dataclasses import dataclass, field

_BUFFER_BYTES = 1 << 20
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its body read."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)


def ask(method: str, address: str, path: str, *, body=None, headers=None) -> Answer:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def manifest(address: str, repository: str, reference: str) -> tuple[str, dict]:
    """Return a manifest's digest, as the registry names it, and its content."""
    path = f"/v2/{repository}/manifests/{reference}"
    answer = ask("GET", address, path, headers={"Accept": _MANIFESTS})
    assert answer.status == 200, (path, answer)
    digest = answer.headers["Docker-Content-Digest"]
    assert digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    return digest, json.loads(answer.body)


def has_manifest(address: str, repository: str, reference: str) -> bool:
    """Tell whether a manifest is there; anything but 200 and 404 is an error."""
    path = f"/v2/{repository}/manifests/{reference}"
    answer = ask("HEAD", address, path, headers={"Accept": _MANIFESTS})
    assert answer.status in (200, 404), (path, answer)
    return answer.status == 200


def tags(address: str, repository: str) -> list[str]:
    """Return the tags of a repository; none when the registry does not know it."""
    answer = ask("GET", address, f"/v2/{repository}/tags/list")
    return json.loads(answer.body)["tags"] or [] if answer.status == 200 else []


def repositories(address: str) -> list[str]:
    """Return what the catalog lists."""
    answer = ask("GET", address, "/v2/_catalog")
    assert answer.status == 200, answer
    return json.loads(answer.body)["repositories"]


def delete_repository(address: str, repository: str) -> dict:
    """Delete a repository by the management API, which peers don't have."""
    answer = ask("DELETE", address, f"/api/v1/repositories/{repository.replace('/', ':')}")
    assert answer.status == 200, answer
    return json.loads(answer.body)


def blob_digest(address: str, repository: str, digest: str) -> str:
    """Fetch a blob and return the digest of what arrived."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", f"/v2/{repository}/blobs/{digest}")
        response = connection.getresponse()
        assert response.status == 200, (digest, response.status)
        hashed = hashlib.sha256()
        while piece := response.read(_BUFFER_BYTES):
            hashed.update(piece)
    finally:
        connection.close()
    return f"sha256:{hashed.hexdigest()}"


def check_image(address: str, repository: str, reference: str) -> dict:
    """Fetch all that a manifest names, below it too, and check it; return the manifest."""
    _, content = manifest(address, repository, reference)
    for child in content.get("manifests", []):
        check_image(address, repository, child["digest"])
    for part in [content[key] for key in ("config",) if key in content] + content.get("layers", []):
        assert blob_digest(address, repository, part["digest"]) == part["digest"]
    return content
