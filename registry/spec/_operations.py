"""What clients can ask for: one value type per row of the specification's endpoint table.

`registry.spec.requests` makes them from URLs and gives them out again; import them from there.
`action` is for metrics, audit and access decisions; `write` tells whether the caller must be
allowed to change the repository.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from registry.spec.digest import Digest
from registry.spec.names import Reference, RepositoryName, SessionId, Tag
from registry.spec.pagination import Page


class Ping(msgspec.Struct, frozen=True, gc=False):
    """end-1: `GET /v2/`. 200; 401 when a login is needed."""

    action: ClassVar[str] = "ping"
    write: ClassVar[bool] = False
    head: bool = False


class GetBlob(msgspec.Struct, frozen=True, gc=False):
    """end-2: `GET` or `HEAD /v2/<name>/blobs/<digest>`. 200, 206, 416; 404 BLOB_UNKNOWN."""

    action: ClassVar[str] = "blob.get"
    write: ClassVar[bool] = False
    repository: RepositoryName
    digest: Digest
    head: bool = False


class DeleteBlob(msgspec.Struct, frozen=True, gc=False):
    """end-10: `DELETE /v2/<name>/blobs/<digest>`. 202; 404 BLOB_UNKNOWN; 405."""

    action: ClassVar[str] = "blob.delete"
    write: ClassVar[bool] = True
    repository: RepositoryName
    digest: Digest


class StartUpload(msgspec.Struct, frozen=True, gc=False):
    """end-4a, 4b, 4c and 11: `POST /v2/<name>/blobs/uploads/`. 202, 201; 400.

    `digest`: the whole blob is in the body (4b). `algorithm`: how the blob will be named (4c).
    `mount`: take the blob from `source`, or, when `source` is None, from wherever the caller may
    read it (11). A malformed `from` makes a mount impossible, not the upload: both are None then.
    """

    action: ClassVar[str] = "upload.start"
    write: ClassVar[bool] = True
    repository: RepositoryName
    digest: Digest | None = None
    algorithm: str | None = None
    mount: Digest | None = None
    source: RepositoryName | None = None


class GetUpload(msgspec.Struct, frozen=True, gc=False):
    """end-13: `GET <session>`. 204; 404 BLOB_UPLOAD_UNKNOWN. HEAD is taken as GET.

    `write` is true: a session is for those who may push.
    """

    action: ClassVar[str] = "upload.get"
    write: ClassVar[bool] = True
    repository: RepositoryName
    session: SessionId
    head: bool = False


class AppendUpload(msgspec.Struct, frozen=True, gc=False):
    """end-5: `PATCH <session>`. 202; 404 BLOB_UPLOAD_UNKNOWN; 416."""

    action: ClassVar[str] = "upload.append"
    write: ClassVar[bool] = True
    repository: RepositoryName
    session: SessionId


class FinishUpload(msgspec.Struct, frozen=True, gc=False):
    """end-6: `PUT <session>?digest=<digest>`. 201; 400 DIGEST_INVALID; 404; 416."""

    action: ClassVar[str] = "upload.finish"
    write: ClassVar[bool] = True
    repository: RepositoryName
    session: SessionId
    digest: Digest


class CancelUpload(msgspec.Struct, frozen=True, gc=False):
    """end-14: `DELETE <session>`. 204; 404 BLOB_UPLOAD_UNKNOWN."""

    action: ClassVar[str] = "upload.cancel"
    write: ClassVar[bool] = True
    repository: RepositoryName
    session: SessionId


class GetManifest(msgspec.Struct, frozen=True, gc=False):
    """end-3: `GET` or `HEAD /v2/<name>/manifests/<reference>`. 200, 304; 404 MANIFEST_UNKNOWN."""

    action: ClassVar[str] = "manifest.get"
    write: ClassVar[bool] = False
    repository: RepositoryName
    reference: Reference
    head: bool = False


class PutManifest(msgspec.Struct, frozen=True, gc=False):
    """end-7a and 7b: `PUT /v2/<name>/manifests/<reference>`. 201; 400, 404, 412, 413, 414.

    `tags` are the `tag` parameters of a PUT by digest, each once, in the client's order. A PUT
    by tag ignores them, as the specification defines them for digests only; the `OCI-Tag` header
    that is then missing tells the client.
    """

    action: ClassVar[str] = "manifest.put"
    write: ClassVar[bool] = True
    repository: RepositoryName
    reference: Reference
    tags: tuple[Tag, ...] = ()


class DeleteManifest(msgspec.Struct, frozen=True, gc=False):
    """end-9: `DELETE /v2/<name>/manifests/<reference>`. 202; 404 MANIFEST_UNKNOWN; 405, 412."""

    action: ClassVar[str] = "manifest.delete"
    write: ClassVar[bool] = True
    repository: RepositoryName
    reference: Reference


class ListTags(msgspec.Struct, frozen=True, gc=False):
    """end-8a and 8b: `GET /v2/<name>/tags/list`. 200; 404 NAME_UNKNOWN."""

    action: ClassVar[str] = "tags.list"
    write: ClassVar[bool] = False
    repository: RepositoryName
    page: Page = Page()
    head: bool = False


class ListReferrers(msgspec.Struct, frozen=True, gc=False):
    """end-12a and 12b: `GET /v2/<name>/referrers/<digest>`. 200, also for nothing; 400.

    `artifact_types` are the filters, any of which lets a referrer through; none lets all.
    """

    action: ClassVar[str] = "referrers.list"
    write: ClassVar[bool] = False
    repository: RepositoryName
    digest: Digest
    artifact_types: tuple[str, ...] = ()
    page: Page = Page()
    head: bool = False


class ListRepositories(msgspec.Struct, frozen=True, gc=False):
    """`GET /v2/_catalog` of Docker's registry API, which the specification does not have. 200."""

    action: ClassVar[str] = "repositories.list"
    write: ClassVar[bool] = False
    page: Page = Page()
    head: bool = False


Request = (
    Ping
    | GetBlob
    | DeleteBlob
    | StartUpload
    | GetUpload
    | AppendUpload
    | FinishUpload
    | CancelUpload
    | GetManifest
    | PutManifest
    | DeleteManifest
    | ListTags
    | ListReferrers
    | ListRepositories
)
