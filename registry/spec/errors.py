"""Everything that a request can be refused with: one class, one code, one status.

The codes are the closed list of the specification (section "Error Codes", code-1 to code-14).
Clients break on codes that they do not know, so conditions outside the list borrow the nearest
code; each class says why. Two codes of Docker's registry API are added for 5xx answers, where
the specification says nothing about the body.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import msgspec

from registry.spec._headers import etag, unsatisfied_range, upload_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_SHOWN = 80
"""Longest piece of a client's input, in characters, that a message repeats."""

MAX_ENTRIES = 100
"""Most entries of one error body."""


class ErrorCode(StrEnum):
    """The closed list of error codes."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    UNAUTHORIZED = "UNAUTHORIZED"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNKNOWN = "UNKNOWN"
    UNAVAILABLE = "UNAVAILABLE"


def shown(text: str) -> str:
    """Quote a client's input for a message: printable ASCII, at most `MAX_SHOWN` characters."""
    return ascii(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def shown_amount(kind: str, amount: int, *, number_only: bool = False) -> str:
    """Write an amount for a person: bytes with a unit that fits, all else as a number."""
    if kind != "bytes":
        return str(amount) if number_only else f"{amount} {kind}"
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    size = float(amount)
    for unit in units:
        if size < 1024 or unit == units[-1]:
            break
        size /= 1024
    return f"{amount} B" if unit == "B" else f"{size:.1f} {unit}"


class RegistryError(Exception):
    """A refusal that the client is told about.

    Subclasses fix `code` and `status`, so the two can never disagree. `message` is for a
    person; `detail` is any JSON value; `headers` are sent with the answer.
    `oauth` is the error's name for clients of the token service (RFC 6749 §5.2).
    """

    code: ClassVar[ErrorCode]
    status: ClassVar[int]
    oauth: str = ""

    def __init__(
        self,
        message: str,
        *,
        detail: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}

    def lines(self) -> Iterable[tuple[str, str]]:
        """Give the header lines that are sent with the answer."""
        return self.headers.items()

    def entries(self) -> list[dict[str, object]]:
        """Give the entries that this error puts into the body's `errors` list."""
        return [_entry(self.code, self.message, self.detail)]


def _entry(code: ErrorCode, message: str, detail: object | None) -> dict[str, object]:
    entry: dict[str, object] = {"code": code, "message": message}
    if detail is not None:
        entry["detail"] = detail
    return entry


def encode(error: RegistryError, *more: RegistryError) -> bytes:
    """Encode the JSON body of a refusal: `{"errors": [{"code", "message", "detail"?}]}`.

    The only encoder of that document (spec, "Error Codes"). At most `MAX_ENTRIES` entries. The
    token service's clients find their own two fields beside it (RFC 6749 §5.2).
    """
    entries = [entry for each in (error, *more) for entry in each.entries()]
    body: dict[str, object] = {"errors": entries[:MAX_ENTRIES]}
    if error.oauth:
        body |= {"error": error.oauth, "error_description": error.message}
    return msgspec.json.encode(body)


class BlobUnknown(RegistryError):
    """The repository has no such blob (end-2, end-10)."""

    code = ErrorCode.BLOB_UNKNOWN
    status = 404

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"this repository has no blob {shown(digest)}: push it first",
            detail={"digest": str(digest)},
        )


class UploadUnknown(RegistryError):
    """No such open upload session in this repository (end-5, 6, 13, 14)."""

    code = ErrorCode.BLOB_UPLOAD_UNKNOWN
    status = 404

    def __init__(self, session: str) -> None:
        super().__init__(
            f"no open upload session {shown(session)}: it was finished, cancelled or has expired; "
            "start again with POST to blobs/uploads/"
        )


class UploadInvalid(RegistryError):
    """A request that makes no sense for an upload session, whatever its offset."""

    code = ErrorCode.BLOB_UPLOAD_INVALID
    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)


class _OffsetError(RegistryError):
    """A 416 about an upload session, telling the client where to go on."""

    code = ErrorCode.BLOB_UPLOAD_INVALID
    status = 416

    def __init__(self, message: str, offset: int, location: str | None) -> None:
        headers = {"Range": upload_range(offset)}
        if location is not None:
            headers["Location"] = location
        super().__init__(message, detail={"offset": offset}, headers=headers)
        self.offset = offset


class RangeInvalid(_OffsetError):
    """A chunk that does not continue the session at `offset` bytes (end-5, end-6).

    The `Range` header holds what was received so far, so that the client can go on.
    """

    def __init__(self, message: str, offset: int, location: str | None = None) -> None:
        super().__init__(message, offset, location)


class UploadConflict(_OffsetError):
    """Another request is writing to this session.

    416 rather than 409: the specification knows no 409, and clients recover from 416 by asking
    for the session's offset.
    """

    def __init__(self, offset: int, location: str | None = None) -> None:
        super().__init__(
            "another request is writing to this upload session: ask for its offset with GET and "
            "go on from there",
            offset,
            location,
        )


class RangeUnsatisfiable(RegistryError):
    """No byte that a GET's `Range` asks for exists (RFC 9110 §15.5.17).

    The list of codes has none for it; SIZE_INVALID is nearest, since the range asked for does
    not fit the content's length.
    """

    code = ErrorCode.SIZE_INVALID
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the requested range lies outside this content of {size} bytes",
            detail={"size": size},
            headers={"Content-Range": unsatisfied_range(size)},
        )


class DigestInvalid(RegistryError):
    """Text that should be a digest and is none."""

    code = ErrorCode.DIGEST_INVALID
    status = 400

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{shown(text)} is no digest: {reason}")


class DigestMismatch(RegistryError):
    """Content that does not hash to the digest it was sent under (code-4)."""

    code = ErrorCode.DIGEST_INVALID
    status = 400

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(
            f"the content received has the digest {actual}, not {expected}: it was changed or cut "
            "short on the way; send it again",
            detail={"expected": str(expected), "actual": str(actual)},
        )
        self.actual = actual


class DigestUnsupported(RegistryError):
    """A well-formed digest of an algorithm that this registry does not compute.

    400 as the specification asks ("Pushing blobs"); DIGEST_INVALID rather than UNSUPPORTED
    because podman takes the latter for a refused manifest type and tries other types.
    """

    code = ErrorCode.DIGEST_INVALID
    status = 400

    def __init__(self, algorithm: str) -> None:
        super().__init__(
            f"digest algorithm {shown(algorithm)} is not supported: use sha256 or sha512"
        )


class ManifestUnknown(RegistryError):
    """The repository has no such manifest or tag (end-3, end-9)."""

    code = ErrorCode.MANIFEST_UNKNOWN
    status = 404

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"this repository has no manifest or tag {shown(reference)}: check the name, or push "
            "it first"
        )


class ManifestInvalid(RegistryError):
    """A manifest that cannot be accepted (code-6)."""

    code = ErrorCode.MANIFEST_INVALID
    status = 400

    def __init__(self, message: str, detail: object | None = None) -> None:
        super().__init__(message, detail=detail)


class ManifestTooLarge(RegistryError):
    """A manifest above the limit, in bytes (spec, "Pushing Manifests": 413).

    SIZE_INVALID, because podman answers MANIFEST_INVALID by converting the manifest to other
    types and sending it again, which cannot help here.
    """

    code = ErrorCode.SIZE_INVALID
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the manifest is larger than {limit} bytes: move its data into blobs",
            detail={"limit": limit},
        )


class ManifestBlobUnknown(RegistryError):
    """A manifest that names blobs or manifests which the repository does not have (code-5).

    The specification prescribes the code and one entry per missing digest. Of the statuses,
    404 is the one that its table lists for end-7 (Distribution says 400; no client looks).
    """

    code = ErrorCode.MANIFEST_BLOB_UNKNOWN
    status = 404

    def __init__(self, digests: Iterable[str]) -> None:
        self.digests = tuple(digests)
        super().__init__(
            f"the manifest refers to content that this repository does not have: "
            f"{', '.join(self.digests[:3])}{', ...' if len(self.digests) > 3 else ''}"
        )

    def entries(self) -> list[dict[str, object]]:
        """Give one entry for each missing digest."""
        return [
            _entry(
                self.code,
                f"the manifest refers to {digest}, which this repository does not have: push it "
                "first",
                {"digest": str(digest)},
            )
            for digest in self.digests[:MAX_ENTRIES]
        ]


class NameInvalid(RegistryError):
    """Text that should be a repository's name and is none (code-8)."""

    code = ErrorCode.NAME_INVALID
    status = 400

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{shown(text)} is no repository name: {reason}")


class NameUnknown(RegistryError):
    """No such repository, or none that the caller may know of (code-9)."""

    code = ErrorCode.NAME_UNKNOWN
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "there is no repository of this name that you may read: check the name and your login"
        )


class TagInvalid(RegistryError):
    """A manifest PUT under a malformed tag.

    Docker's TAG_INVALID is not in the specification's list; the manifest cannot be accepted
    under this reference, hence MANIFEST_INVALID.
    """

    code = ErrorCode.MANIFEST_INVALID
    status = 400

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{shown(text)} is no tag: use 1 to 128 of the characters A-Z a-z 0-9 _ . - and begin "
            "with none of . -"
        )


class TooManyTags(RegistryError):
    """More `tag` parameters than one PUT may carry (end-7b: 414)."""

    code = ErrorCode.UNSUPPORTED
    status = 414

    def __init__(self, limit: int) -> None:
        super().__init__(f"at most {limit} tags can be set by one request: send the rest in others")


class Unauthorized(RegistryError):
    """No credentials, or none that are good enough.

    Each of `challenges` is the value of a `WWW-Authenticate` line of its own.
    """

    code = ErrorCode.UNAUTHORIZED
    status = 401

    def __init__(
        self, challenges: Sequence[str], message: str = "authentication required: log in"
    ) -> None:
        super().__init__(message)
        self.challenges = tuple(challenges)

    def lines(self) -> Iterable[tuple[str, str]]:
        """Give one line for each challenge: containers/image can't read two in one."""
        return [("WWW-Authenticate", each) for each in self.challenges]


class LoginRefused(Unauthorized):
    """Credentials that the token service does not take.

    401 for GET and POST: containerd gives up on 403, and tries the other verb on 401.
    """

    oauth = "invalid_grant"


class TokenRequestInvalid(RegistryError):
    """A request to the token service that is malformed, or asks for what it does not do."""

    code = ErrorCode.UNSUPPORTED
    status = 400

    def __init__(self, message: str, oauth: str = "invalid_request") -> None:
        super().__init__(message)
        self.oauth = oauth


class Denied(RegistryError):
    """The caller is known and may not do this (code-12)."""

    code = ErrorCode.DENIED
    status = 403

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class QuotaExceeded(RegistryError):
    """More than is left of the project's quota for `kind`: bytes, repositories or tags.

    403 DENIED: docker, containerd and containers/image show the message, and none of them tries
    again. `left` and `needed` are what there is and what was asked for; nothing of it was stored.
    """

    code = ErrorCode.DENIED
    status = 403

    def __init__(self, kind: str, limit: int, left: int, needed: int) -> None:
        super().__init__(
            f"the project's quota of {shown_amount(kind, limit)} has "
            f"{shown_amount(kind, left, number_only=True)} left, but this push needs "
            f"{shown_amount(kind, needed, number_only=True)}: delete what is no longer needed "
            "(blobs count until they are collected), or have an administrator raise the quota",
            detail={"quota": kind, "limit": limit, "left": left, "needed": needed},
        )
        self.kind = kind


class PreconditionFailed(RegistryError):
    """`If-Match` or `If-None-Match` does not hold (RFC 9110 §15.5.13).

    The list has no code for it; DENIED is the refusal that no client retries. The `ETag` header
    tells the current digest when there is one.
    """

    code = ErrorCode.DENIED
    status = 412

    def __init__(self, current: str | None) -> None:
        super().__init__(
            "the tag or manifest is not what your condition says: fetch it and decide again",
            detail=None if current is None else {"digest": str(current)},
            headers=None if current is None else {"ETag": etag(current)},
        )


class Unsupported(RegistryError):
    """A request that this registry does not do, or whose parameters make no sense (code-13)."""

    code = ErrorCode.UNSUPPORTED
    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)


class MethodNotAllowed(RegistryError):
    """A known path with a method that it does not have; `Allow` lists those that it has."""

    code = ErrorCode.UNSUPPORTED
    status = 405

    def __init__(self, allowed: Sequence[str]) -> None:
        methods = ", ".join(allowed)
        super().__init__(f"this path allows only {methods}", headers={"Allow": methods})


class RouteUnknown(RegistryError):
    """A path outside the API.

    UNSUPPORTED, not NAME_UNKNOWN: ORAS reads NAME_UNKNOWN as "the repository is missing", which
    says nothing about an endpoint that does not exist.
    """

    code = ErrorCode.UNSUPPORTED
    status = 404

    def __init__(self) -> None:
        super().__init__("there is no such path in the registry API: see the OCI specification")


class TooManyRequests(RegistryError):
    """The caller's rate limit is used up; `retry_after` is in seconds (code-14)."""

    code = ErrorCode.TOOMANYREQUESTS
    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"too many requests: wait {retry_after} seconds",
            headers={"Retry-After": str(retry_after)},
        )


class RequestTimeout(RegistryError):
    """The body stopped arriving. SIZE_INVALID: fewer bytes came than were announced."""

    code = ErrorCode.SIZE_INVALID
    status = 408

    def __init__(self) -> None:
        super().__init__("the request's body stopped arriving: check the network and try again")


class HeaderTooLarge(RegistryError):
    """The request's headers are above the limit (RFC 6585 §5)."""

    code = ErrorCode.UNSUPPORTED
    status = 431

    def __init__(self) -> None:
        super().__init__("the request's headers are too large: send fewer or shorter ones")


class BodyTooLarge(RegistryError):
    """A body above `limit` bytes, other than a manifest's."""

    code = ErrorCode.SIZE_INVALID
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the request's body is larger than {limit} bytes", detail={"limit": limit}
        )


class Unavailable(RegistryError):
    """Something that the registry depends on does not answer; `retry_after` is in seconds."""

    code = ErrorCode.UNAVAILABLE
    status = 503

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"the registry cannot do this right now: try again in {retry_after} seconds",
            headers={"Retry-After": str(retry_after)},
        )


class Internal(RegistryError):
    """A bug. The body names the request for the operator's log and nothing else."""

    code = ErrorCode.UNKNOWN
    status = 500

    def __init__(self, request_id: str) -> None:
        super().__init__(
            "the registry failed: tell its operator the request id",
            detail={"request_id": request_id},
        )


def _concrete(base: type[RegistryError]) -> Iterable[type[RegistryError]]:
    for each in base.__subclasses__():
        if not each.__name__.startswith("_"):
            yield each
        yield from _concrete(each)


STATUSES: Mapping[str, tuple[ErrorCode, int]] = {
    each.__name__: (each.code, each.status) for each in _concrete(RegistryError)
}
"""Every error class with its code and status; the reference documentation is tested against it."""
