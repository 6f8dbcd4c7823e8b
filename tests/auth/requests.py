"""One example of every request that the API knows, for tests that try them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.spec import requests as spec
from tests.oracle.content import OCI_MANIFEST, digest_of, encode, image

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "LINK")

LAYER, CONFIG = b"the layer of every image", encode({"architecture": "amd64", "os": "linux"})
MANIFEST = image(CONFIG, [LAYER])
NOWHERE = digest_of(b"content that nobody ever pushed")
SESSION = "00" * 32
"""A session that never was."""


@dataclass(frozen=True)
class Example:
    """A request as a client would send it. `{r}` stands for a repository that has an image."""

    method: str
    target: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    allowed: frozenset[int] = field(default_factory=frozenset)
    """What the answer's status may be where the caller is allowed."""

    verb: str = ""

    def to(self, repository: str) -> str:
        return self.target.replace("{r}", repository)


def _example(method, target, *statuses, verb="", body=None, headers=()):
    return Example(method, target, body, tuple(headers), frozenset(statuses), verb)


_BLOB, _MANIFEST = digest_of(LAYER), digest_of(MANIFEST)
_TYPE = (("Content-Type", OCI_MANIFEST),)
_SESSION = "/v2/{r}/blobs/uploads/" + SESSION

EXAMPLES: Mapping[type, tuple[Example, ...]] = {
    spec.Ping: (
        _example("GET", "/v2/", 200, verb="enter"),
        _example("HEAD", "/v2/", 200, verb="enter"),
    ),
    spec.GetBlob: (
        _example("GET", f"/v2/{{r}}/blobs/{_BLOB}", 200, verb="pull"),
        _example("HEAD", f"/v2/{{r}}/blobs/{_BLOB}", 200, verb="pull"),
        _example("GET", f"/v2/{{r}}/blobs/{NOWHERE}", 404, verb="pull"),
    ),
    spec.DeleteBlob: (_example("DELETE", f"/v2/{{r}}/blobs/{NOWHERE}", 404, verb="delete"),),
    spec.StartUpload: (
        _example("POST", "/v2/{r}/blobs/uploads/", 202, verb="push"),
        _example("POST", f"/v2/{{r}}/blobs/uploads/?mount={NOWHERE}", 202, verb="push"),
        _example("POST", f"/v2/{{r}}/blobs/uploads/?mount={_BLOB}&from={{r}}", 201, verb="push"),
        _example("POST", f"/v2/{{r}}/blobs/uploads/?digest={_BLOB}", 201, verb="push", body=LAYER),
    ),
    spec.GetUpload: (
        _example("GET", _SESSION, 404, verb="push"),
        _example("HEAD", _SESSION, 404, verb="push"),
    ),
    spec.AppendUpload: (_example("PATCH", _SESSION, 404, verb="push", body=b"x"),),
    spec.FinishUpload: (
        _example("PUT", f"{_SESSION}?digest={_BLOB}", 404, verb="push", body=b"x"),
    ),
    spec.CancelUpload: (_example("DELETE", _SESSION, 404, verb="push"),),
    spec.GetManifest: (
        _example("GET", "/v2/{r}/manifests/v1", 200, verb="pull"),
        _example("HEAD", "/v2/{r}/manifests/v1", 200, verb="pull"),
        _example("GET", f"/v2/{{r}}/manifests/{_MANIFEST}", 200, verb="pull"),
        _example("HEAD", "/v2/{r}/manifests/never", 404, verb="pull"),
    ),
    spec.PutManifest: (
        _example("PUT", "/v2/{r}/manifests/v1", 201, verb="push", body=MANIFEST, headers=_TYPE),
        _example("PUT", "/v2/{r}/manifests/v1", 400, verb="push", body=b"{}", headers=_TYPE),
    ),
    spec.DeleteManifest: (
        _example("DELETE", "/v2/{r}/manifests/never", 404, verb="delete"),
        _example("DELETE", f"/v2/{{r}}/manifests/{NOWHERE}", 404, verb="delete"),
    ),
    spec.ListReferrers: (
        _example("GET", f"/v2/{{r}}/referrers/{_MANIFEST}", 200, verb="pull"),
        _example("HEAD", f"/v2/{{r}}/referrers/{NOWHERE}", 200, verb="pull"),
    ),
    spec.ListTags: (
        _example("GET", "/v2/{r}/tags/list", 200, verb="pull"),
        _example("HEAD", "/v2/{r}/tags/list?n=1", 200, verb="pull"),
    ),
    spec.ListRepositories: (
        _example("GET", "/v2/_catalog", 200, verb="catalog"),
        _example("HEAD", "/v2/_catalog?n=1", 200, verb="catalog"),
    ),
}

EVERY = tuple(example for examples in EXAMPLES.values() for example in examples)

TARGETS = tuple(dict.fromkeys(example.target for example in EVERY))
