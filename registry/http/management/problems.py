"""Refusals of the management API: RFC 9457's problem details, from one encoder."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.http.answer import Answer
from registry.spec import errors
from registry.spec.errors import RegistryError
from registry.spec.problems import MethodUnknown, Problem, RequestInvalid

MEDIA_TYPE: Final = "application/problem+json"

BASE: Final = "/api/v1/problems#"
"""What the types of problems begin with: a URI reference, which stays the same."""

_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

TITLES: Final[Mapping[type[RegistryError], str]] = {
    errors.Unauthorized: "Log in",
    errors.Denied: "Not allowed",
    errors.QuotaExceeded: "No room left",
    errors.NameUnknown: "No such repository",
    errors.NameInvalid: "Not a repository name",
    errors.TagInvalid: "Not a tag",
    errors.DigestInvalid: "Not a digest",
    errors.DigestUnsupported: "Not a digest of a known algorithm",
    errors.ManifestUnknown: "No such tag or manifest",
    errors.BlobUnknown: "No such blob",
    errors.ManifestBlobUnknown: "Content that the manifest needs is gone",
    errors.PreconditionFailed: "Changed meanwhile",
    errors.Unsupported: "Not a valid request",
    errors.BodyTooLarge: "The body is too large",
    errors.RequestTimeout: "The body stopped arriving",
    errors.UploadInvalid: "The body is no HTTP",
    errors.TooManyRequests: "Too many requests",
    errors.Unavailable: "Not available now",
    errors.Internal: "The registry failed",
}
"""Refusals of the registry's own API that this one has too, and what they are called."""


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Meta(description="Which problem it is, as a URI reference.")]
    title: Annotated[str, Meta(description="The problem in a few words, always the same ones.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What happened this time, and what to do.")]
    code: Annotated[str, Meta(description="Which problem it is, in one word.")]
    request_id: Annotated[str, Meta(description="What the registry's logs call the request.")]
    parameter: Annotated[str, Meta(description="The parameter that is not as it has to be.")] = ""
    pointer: Annotated[str, Meta(description="The place in the body (RFC 6901).")] = ""


def code_of(kind: type[Problem] | type[RegistryError]) -> str:
    """Return the word that a sort of refusal goes by."""
    if issubclass(kind, Problem):
        return kind.type
    return _WORDS.sub("-", kind.__name__).lower()


def title_of(kind: type[Problem] | type[RegistryError]) -> str:
    """Return what a sort of refusal is called."""
    if issubclass(kind, Problem):
        return kind.title
    return TITLES.get(kind, "Refused")


def refusal(error: Problem | RegistryError, request_id: str) -> Answer:
    """Encode the answer that tells of a refusal."""
    kind = type(error)
    details = ProblemDetails(
        type=BASE + code_of(kind),
        title=title_of(kind),
        status=error.status,
        detail=error.message,
        code=code_of(kind),
        request_id=request_id,
        parameter=error.parameter if isinstance(error, RequestInvalid) else "",
        pointer=error.pointer if isinstance(error, RequestInvalid) else "",
    )
    headers = [
        ("Content-Type", MEDIA_TYPE),
        ("X-Request-Id", request_id),
        ("Cache-Control", "no-store"),
        *_lines(error),
    ]
    return Answer(error.status, headers, msgspec.json.encode(details))


def _lines(error: Problem | RegistryError) -> Iterable[tuple[str, str]]:
    if isinstance(error, RegistryError):
        return error.lines()
    if isinstance(error, MethodUnknown):
        return (("Allow", error.allowed),)
    return ()
