"""What docker asks of a registry to push an image, and to pull it to a node that has none of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.content import MANIFEST_TYPE, Blob, Image
from benchmarks.thesis.connection import Connection
from benchmarks.thesis.images import Place, in_chunks
from benchmarks.wire import Answer, AnswerError, Endpoint, request, target_of

TIMEOUT = 120.0
_TYPES = (
    MANIFEST_TYPE,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT = ("Accept", ", ".join(_TYPES))
_STREAMED = (("Transfer-Encoding", "chunked"), ("Content-Type", "application/octet-stream"))


async def push(endpoint: Endpoint, place: Place, image: Image, base: str | None = None) -> None:
    """Push the image. What is not there is mounted from `base` if it may be there, else uploaded.

    AnswerError, OSError or TimeoutError when a step fails; nothing is tried twice.
    """
    config, *layers = image.blobs
    async with _connected(endpoint) as connection:
        ask = _Asking(connection, endpoint, place.repository)
        (await ask("GET", "/v2/")).expect(200)
        for number, blob in enumerate([*layers, config]):
            found = await ask("HEAD", ask.blob(blob.digest))
            if found.expect(200, 404).status == 404 and not (
                base and number == 0 and await ask.mounted(blob, base)
            ):
                await ask.upload(blob)
        target = f"/v2/{place.repository}/manifests/{place.tag}"
        answer = await ask("PUT", target, image.manifest, ("Content-Type", MANIFEST_TYPE))
        digest = answer.expect(201).headers.get("docker-content-digest")
        if digest != image.digest:
            raise AnswerError(f"the registry took {image.digest} for {digest}")


async def pull(endpoint: Endpoint, place: Place, image: Image) -> None:
    """Pull the image by its tag, every blob of it; the manifest and all lengths are compared."""
    async with _connected(endpoint) as connection:
        ask = _Asking(connection, endpoint, place.repository)
        (await ask("GET", "/v2/")).expect(200)
        manifests = f"/v2/{place.repository}/manifests/"
        found = (await ask("HEAD", manifests + place.tag, b"", _ACCEPT)).expect(200)
        digest = found.headers["docker-content-digest"]
        manifest = (await ask("GET", manifests + digest, b"", _ACCEPT)).expect(200).body
        if manifest != image.manifest:
            raise AnswerError(f"{place.repository}: another manifest than was pushed")
        for blob in image.blobs:
            answer = (await ask("GET", ask.blob(blob.digest))).expect(200)
            if int(answer.headers["content-length"]) != len(blob.data):
                raise AnswerError(f"{blob.digest}: {answer.headers['content-length']} bytes")


class _Asking:
    """Requests about one repository on one connection."""

    def __init__(self, connection: Connection, endpoint: Endpoint, repository: str) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._blobs = f"/v2/{repository}/blobs/"

    async def __call__(
        self, method: str, target: str, body: bytes = b"", *headers: tuple[str, str]
    ) -> Answer:
        return await self._connection.ask(request(self._endpoint, method, target, body, *headers))

    def blob(self, digest: str) -> str:
        return self._blobs + digest

    async def mounted(self, blob: Blob, source: str) -> bool:
        """Ask for the blob of another repository; whether it is here now."""
        answer = await self("POST", f"{self._blobs}uploads/?mount={blob.digest}&from={source}")
        return answer.expect(201, 202).status == 201

    async def upload(self, blob: Blob) -> None:
        """POST, one PATCH in the chunked coding, PUT."""
        started = (await self("POST", f"{self._blobs}uploads/")).expect(202)
        target = target_of(started.headers["location"])
        sent = (await self("PATCH", target, in_chunks(blob.data), *_STREAMED)).expect(202)
        closing = target_of(sent.headers["location"], f"digest={blob.digest}")
        (await self("PUT", closing)).expect(201)


@asynccontextmanager
async def _connected(endpoint: Endpoint) -> AsyncIterator[Connection]:
    async with asyncio.timeout(TIMEOUT):
        connection = await Connection.to(endpoint)
        try:
            yield connection
        finally:
            connection.close()
