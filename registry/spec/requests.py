"""The URL grammar of the API: the one place that knows it, in both directions.

`parse()` turns a method and a raw URL into a value that says what is wanted; routing, access
decisions, metrics and audit all use that one value, so none can read the URL differently.
Nothing is normalised: a path is split at its slashes and its parts are matched as they came.
Percent signs, dots and empty parts match no name, so `/v2/a%2Fb/...`, `/v2/a/../b/...` and
`/v2//a/...` are refused (CVE-2020-29662).

A repository name may itself hold `manifests`, `blobs`, `tags` and so on, so a path is read from
its end, which has one meaning only.
"""

from __future__ import annotations

from urllib.parse import quote

from registry.spec._operations import (
    AppendUpload,
    CancelUpload,
    DeleteBlob,
    DeleteManifest,
    FinishUpload,
    GetBlob,
    GetManifest,
    GetUpload,
    ListReferrers,
    ListRepositories,
    ListTags,
    Ping,
    PutManifest,
    Request,
    StartUpload,
)
from registry.spec.digest import ALGORITHMS, Digest
from registry.spec.errors import (
    DigestInvalid,
    DigestUnsupported,
    ManifestUnknown,
    MethodNotAllowed,
    NameInvalid,
    RouteUnknown,
    TagInvalid,
    TooManyTags,
    Unsupported,
    shown,
)
from registry.spec.mediatype import is_content_type
from registry.spec.names import RepositoryName, SessionId, Tag, parse_reference
from registry.spec.pagination import Page, parse_page
from registry.spec.query import Parameters, digest_parameter, read_query, repeated, single

__all__ = [
    "MAX_FILTERS",
    "MAX_TAGS",
    "AppendUpload",
    "CancelUpload",
    "DeleteBlob",
    "DeleteManifest",
    "FinishUpload",
    "GetBlob",
    "GetManifest",
    "GetUpload",
    "ListReferrers",
    "ListRepositories",
    "ListTags",
    "Ping",
    "PutManifest",
    "Request",
    "StartUpload",
    "names_manifest",
    "names_session",
    "parse",
    "url_for",
]

MAX_TAGS = 100
"""Most tags that one manifest PUT can set; the specification asks for 10 (end-7b)."""

MAX_FILTERS = 16
"""Most `artifactType` filters of one listing."""

_FIRST_PAGE = Page()
_READ = ("GET", "HEAD")
_BLOB = ("GET", "HEAD", "DELETE")
_UPLOADS = ("POST",)
_SESSION = ("GET", "HEAD", "PATCH", "PUT", "DELETE")
_MANIFEST = ("GET", "HEAD", "PUT", "DELETE")


def parse(method: str, raw_path: str, raw_query: str) -> Request:
    """Read a request's method, path and query, as they were on the wire.

    `raw_query` is without its question mark. Unknown parameters are ignored, as clients and
    proxies add their own (`ns`, `_state`). Only `/v2` and `blobs/uploads` may end in a slash or
    not, since Docker's clients and ingresses differ there.

    Raises RouteUnknown for a path outside the API, MethodNotAllowed for a method that the path
    does not have, and otherwise the error of the first part that is malformed: NameInvalid,
    DigestInvalid, DigestUnsupported, TagInvalid (PUT), ManifestUnknown (a malformed tag that is
    read or deleted cannot exist), UploadUnknown, Unsupported (a query).
    """
    if raw_path[:4] != "/v2/":
        return _root(method, raw_path, raw_query)
    head, _, last = raw_path[4:].rpartition("/")
    name, _, kind = head.rpartition("/")
    if name and last:
        if kind == "manifests":
            return _manifest(method, name, last, raw_query)
        if kind == "blobs":
            return _blob(method, name, last, raw_query)
    if not name:
        return _root(method, raw_path, raw_query)
    return _other(method, raw_query, name, kind, last)


def names_session(raw_path: str) -> bool:
    """Tell whether a path is that of an upload session to `parse()`, whatever its parts are."""
    return _ends_in(raw_path, "blobs/uploads")


def names_manifest(raw_path: str) -> bool:
    """Tell whether a path is that of a manifest to `parse()`, whatever its parts are."""
    return _ends_in(raw_path, "manifests")


def _ends_in(raw_path: str, kind: str) -> bool:
    head, _, last = raw_path[4:].rpartition("/")
    return raw_path[:4] == "/v2/" and bool(last) and head.endswith(f"/{kind}")


def _root(method: str, path: str, query: str) -> Request:
    """Read the paths that name no repository; they have one spelling each."""
    if path in ("/v2/", "/v2"):
        return Ping(_read(method))
    if path == "/v2/_catalog":
        head = _read(method)
        return ListRepositories(_page(read_query(query)), head)
    raise RouteUnknown


def _read(method: str) -> bool:
    """Check that `method` is GET or HEAD; tell whether it is HEAD."""
    if method not in _READ:
        raise MethodNotAllowed(_READ)
    return method == "HEAD"


def _manifest(method: str, name: str, text: str, query: str) -> Request:
    if method not in _MANIFEST:
        raise MethodNotAllowed(_MANIFEST)
    repository = RepositoryName.parse(name)
    if method == "PUT":
        reference = parse_reference(text)
        tags = _tags(query) if query and isinstance(reference, Digest) else ()
        return PutManifest(repository, reference, tags)
    try:
        reference = parse_reference(text)
    except TagInvalid:
        raise ManifestUnknown(text) from None
    if method == "DELETE":
        return DeleteManifest(repository, reference)
    return GetManifest(repository, reference, method == "HEAD")


def _tags(query: str) -> tuple[Tag, ...]:
    texts = dict.fromkeys(read_query(query).get("tag", ()))
    if len(texts) > MAX_TAGS:
        raise TooManyTags(MAX_TAGS)
    return tuple(Tag.parse(text) for text in texts)


def _blob(method: str, name: str, text: str, query: str) -> Request:
    if text == "uploads":
        return _start(method, name, query)
    if method not in _BLOB:
        raise MethodNotAllowed(_BLOB)
    repository = RepositoryName.parse(name)
    digest = Digest.parse(text)
    if method == "DELETE":
        return DeleteBlob(repository, digest)
    return GetBlob(repository, digest, method == "HEAD")


def _other(method: str, query: str, name: str, kind: str, last: str) -> Request:
    """Read the less frequent paths of a repository, split into `<name>/<kind>/<last>`."""
    if kind == "uploads" and name.endswith("/blobs"):
        name = name[: -len("/blobs")]
        return _session(method, name, last, query) if last else _start(method, name, query)
    if kind == "tags" and last == "list":
        head = _read(method)
        return ListTags(RepositoryName.parse(name), _page(read_query(query)), head)
    if kind == "referrers" and last:
        head = _read(method)
        return _referrers(RepositoryName.parse(name), Digest.parse(last), query, head=head)
    raise RouteUnknown


def _start(method: str, name: str, query: str) -> StartUpload:
    if method not in _UPLOADS:
        raise MethodNotAllowed(_UPLOADS)
    repository = RepositoryName.parse(name)
    parameters = read_query(query)
    digest = digest_parameter(parameters, "digest")
    algorithm = single(parameters, "digest-algorithm", repeated)
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise DigestUnsupported(algorithm)
    if algorithm is not None and digest is not None and digest.algorithm != algorithm:
        raise DigestInvalid(digest, f"digest-algorithm={algorithm} contradicts it")
    mount, source = _mount(parameters)
    return StartUpload(repository, digest, algorithm, mount, source)


def _mount(parameters: Parameters) -> tuple[Digest | None, RepositoryName | None]:
    mount = digest_parameter(parameters, "mount")
    source = single(parameters, "from", lambda text: NameInvalid(text, "from is given twice"))
    if mount is None or source is None:
        return mount, None
    try:
        return mount, RepositoryName.parse(source)
    except NameInvalid:
        return None, None


def _session(method: str, name: str, text: str, query: str) -> Request:
    if method not in _SESSION:
        raise MethodNotAllowed(_SESSION)
    repository = RepositoryName.parse(name)
    session = SessionId.parse(text)
    if method == "PATCH":
        return AppendUpload(repository, session)
    if method == "PUT":
        digest = digest_parameter(read_query(query), "digest")
        if digest is None:
            raise DigestInvalid("", "the closing PUT needs ?digest=<digest of the whole blob>")
        return FinishUpload(repository, session, digest)
    if method == "DELETE":
        return CancelUpload(repository, session)
    return GetUpload(repository, session, method == "HEAD")


def _referrers(
    repository: RepositoryName, digest: Digest, query: str, *, head: bool
) -> ListReferrers:
    parameters = read_query(query)
    types = tuple(dict.fromkeys(parameters.get("artifactType", ())))
    if len(types) > MAX_FILTERS:
        raise Unsupported(f"at most {MAX_FILTERS} artifactType filters can be given")
    for each in types:
        if not is_content_type(each):
            raise Unsupported(f"artifactType {shown(each)} is no media type")
    return ListReferrers(repository, digest, types, _page(parameters), head)


def _page(parameters: Parameters) -> Page:
    if not parameters:
        return _FIRST_PAGE
    return parse_page(single(parameters, "n", repeated), single(parameters, "last", repeated))


def url_for(request: Request) -> str:
    """Give the URL of a request, relative to the host: the inverse of `parse()`.

    For `Location` and `Link` headers. Method and head are not part of a URL.
    """
    query = _query_of(request)
    path = _path_of(request)
    if not query:
        return path
    return path + "?" + "&".join(f"{key}={quote(value, safe=':/')}" for key, value in query)


def _path_of(request: Request) -> str:
    match request:
        case Ping():
            return "/v2/"
        case ListRepositories():
            return "/v2/_catalog"
        case GetBlob() | DeleteBlob():
            tail = f"blobs/{request.digest}"
        case StartUpload():
            tail = "blobs/uploads/"
        case GetUpload() | AppendUpload() | FinishUpload() | CancelUpload():
            tail = f"blobs/uploads/{request.session}"
        case GetManifest() | PutManifest() | DeleteManifest():
            tail = f"manifests/{request.reference}"
        case ListTags():
            tail = "tags/list"
        case _:
            tail = f"referrers/{request.digest}"
    return f"/v2/{request.repository}/{tail}"


def _query_of(request: Request) -> list[tuple[str, str]]:
    pairs: list[tuple[str, object]] = []
    match request:
        case StartUpload():
            pairs = [
                ("digest", request.digest),
                ("digest-algorithm", request.algorithm),
                ("mount", request.mount),
                ("from", request.source),
            ]
        case FinishUpload():
            pairs = [("digest", request.digest)]
        case PutManifest():
            pairs = [("tag", tag) for tag in request.tags]
        case ListReferrers():
            pairs = [("artifactType", each) for each in request.artifact_types]
    if isinstance(request, ListTags | ListReferrers | ListRepositories):
        pairs += [("n", request.page.n), ("last", request.page.last)]
    return [(key, str(value)) for key, value in pairs if value is not None]
