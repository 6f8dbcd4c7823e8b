"""What hostile or broken clients send: each gets its refusal, nothing is stored, nothing grows.

One table. Every row is sent to a registry that holds one image and one open upload session; the
store's keys, its unfinished content and its files are compared before and after, and so is the
number of tasks that run.
"""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import quote

import pytest

from registry.config import ServerConfig
from registry.http.limits import Limits
from tests.oracle.content import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    encode,
    image,
    index,
    push_blob,
    push_image,
    put_manifest,
)
from tests.oracle.local import LocalRegistry, serving
from tests.oracle.wire import Client, ClosedError, Reply

HEX = "a" * 64
MAX_MANIFEST = 4 * 1024 * 1024
BLOB = b"the blob that is there"
FOREIGN = b"another project's blob"


@dataclass
class World:
    """A registry, and what was in it before the row."""

    registry: LocalRegistry
    repo: str
    manifest: bytes
    session: str

    @property
    def blob(self) -> str:
        return digest_of(BLOB)


Sender = Callable[[Client, World], Reply | None]


@dataclass
class Row:
    """One request, and its refusal. `{repo}`, `{session}`, `{blob}` stand for what is there."""

    name: str
    method: str
    target: str
    status: int | tuple[int, ...]
    code: str | tuple[str, ...] | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Callable[[], Iterator[bytes]] | None = None
    send: Sender | None = None
    keeps_bytes: bool = field(default=False)
    """Whether bytes that came in order may stay in the session that was open before."""


def rows() -> Iterator[Row]:
    """Give the whole table."""
    yield from _digests()
    yield from _names()
    yield from _tags()
    yield from _queries()
    yield from _chunks()
    yield from _bodies()
    yield from _manifests()
    yield from _ranges()


# --- digests --------------------------------------------------------------------------------

BAD_DIGESTS = {
    "dots": "sha256:..",
    "dots-and-more": "sha256:../../x",
    "upper-case-hex": f"sha256:{'A' * 64}",
    "too-short": f"sha256:{HEX[1:]}",
    "too-long": f"sha256:{HEX}a",
    "no-hex": "sha256:",
    "no-letters-of-hex": f"sha256:{'g' * 64}",
    "line-feed": f"sha256:{HEX}\n",
    "carriage-return": f"sha256:{HEX}\r\nX-Evil: 1",
    "zero-byte": f"sha256:{HEX}\0",
    "space": f" sha256:{HEX}",
    "arabic-digits": f"sha256:{'٣' * 64}",
    "full-width": f"sha256:{chr(0xFF41) * 64}",
    "unknown-algorithm": f"md5:{'a' * 32}",
    "weak-algorithm": f"sha1:{'a' * 40}",
    "modern-algorithm": f"blake3:{HEX}",
    "algorithm-in-capitals": f"SHA256:{HEX}",
    "sha512-with-sha256s-length": f"sha512:{HEX}",
    "two-colons": f"sha256:{HEX}:{HEX}",
    "only-a-colon": ":",
    "compound-algorithm": f"sha256+b64:{HEX}",
    "very-long": f"sha256:{'a' * 5000}",
    "query-inside": f"sha256:{HEX}?x",
    "encoded-slash": f"sha256:{HEX}/",
}


def _digests() -> Iterator[Row]:
    invalid = (400, "DIGEST_INVALID")
    for name, text in BAD_DIGESTS.items():
        path, query = quote(text, safe=":"), quote(text, safe="")
        for method in ("GET", "DELETE"):
            for kind in ("blobs", "manifests"):
                yield Row(
                    f"{kind}-{method}-{name}", method, f"/v2/{{repo}}/{kind}/{path}", *invalid
                )
        yield Row(f"referrers-{name}", "GET", f"/v2/{{repo}}/referrers/{path}", *invalid)
        yield Row(
            f"manifest-put-{name}",
            "PUT",
            f"/v2/{{repo}}/manifests/{path}",
            *invalid,
            headers=(("Content-Type", OCI_MANIFEST),),
            body=image(b"{}"),
        )
        uploads = "/v2/{repo}/blobs/uploads/"
        yield Row(f"post-{name}", "POST", f"{uploads}?digest={query}", *invalid, body=b"data")
        yield Row(f"mount-{name}", "POST", f"{uploads}?mount={query}&from=a/b", *invalid)
        yield Row(f"put-{name}", "PUT", f"{{session}}?digest={query}", *invalid, body=b"efgh")
    for algorithm in ("md5", "SHA256", "", "sha256,sha512", "%0a", "../x"):
        target = f"/v2/{{repo}}/blobs/uploads/?digest-algorithm={algorithm}"
        yield Row(f"algorithm-{algorithm}", "POST", target, *invalid)
    target = f"/v2/{{repo}}/blobs/uploads/?digest-algorithm=sha512&digest=sha256:{HEX}"
    yield Row("algorithm-and-digest-disagree", "POST", target, *invalid, body=b"x")
    yield Row("a-tag-where-a-digest-belongs", "GET", "/v2/{repo}/blobs/latest", *invalid)
    yield Row("a-tag-as-subject", "GET", "/v2/{repo}/referrers/latest", *invalid)
    target = f"/v2/{{repo}}/manifests/sha256:{HEX}"
    yield Row(
        "manifest-of-another-digest",
        "PUT",
        target,
        *invalid,
        headers=(("Content-Type", OCI_MANIFEST),),
        body=image(b"{}"),
    )
    target = f"/v2/{{repo}}/blobs/uploads/?digest=sha256:{HEX}"
    yield Row("blob-of-another-digest", "POST", target, *invalid, body=b"data" * 50_000)
    target = f"/v2/{{repo}}/blobs/uploads/?digest=sha512:{HEX * 2}"
    yield Row("blob-of-another-sha512", "POST", target, *invalid, body=b"data")


# --- names ----------------------------------------------------------------------------------

BAD_NAMES = {
    "dots": "..",
    "dots-inside": "library/../other",
    "dot": "a/./b",
    "two-slashes": "a//b",
    "leading-slash": "/a/b",
    "trailing-slash": "a/b/",
    "underscore-first": "_a/b",
    "dash-first": "-a",
    "dash-last": "a-",
    "dot-first": "a/.b",
    "two-dots": "a..b",
    "three-underscores": "a___b",
    "upper-case": "Library/app",
    "251-characters": "a" * 251,
    "251-characters-in-parts": "/".join(["a" * 49] * 5 + ["b"]),
    "70000-parts-would-not-fit": "a/" * 3000 + "a",
    "encoded-slash": "a%2Fb",
    "encoded-slash-lower": "a%2fb",
    "encoded-dots": "%2e%2e/b",
    "encoded-line-feed": "a%0ab",
    "encoded-zero": "a%00",
    "encoded-twice": "a%252fb",
    "encoded-letter": "%61",
    "backslash": "a\\b",
    "colon": "a:b",
    "at": "a@b",
    "unicode": quote("ä"),
    "bang": "a!",
    "star": "*",
    "plus": "a+b",
    "semicolon": "a;b",
}


def _names() -> Iterator[Row]:
    invalid = (400, "NAME_INVALID")
    for name, text in BAD_NAMES.items():
        stem = f"/v2/{text}"
        yield Row(f"name-tags-{name}", "GET", f"{stem}/tags/list", *invalid)
        yield Row(f"name-post-{name}", "POST", f"{stem}/blobs/uploads/", *invalid)
        yield Row(f"name-blob-{name}", "GET", f"{stem}/blobs/sha256:{HEX}", *invalid)
        yield Row(f"name-delete-{name}", "DELETE", f"{stem}/manifests/v1", *invalid)
        yield Row(f"name-referrers-{name}", "GET", f"{stem}/referrers/sha256:{HEX}", *invalid)
        yield Row(
            f"name-put-{name}",
            "PUT",
            f"{stem}/manifests/v1",
            *invalid,
            headers=(("Content-Type", OCI_MANIFEST),),
            body=image(b"{}"),
        )
    lost = (404, "UNSUPPORTED")
    for name, target in {
        "two-slashes-first": "//v2/_catalog",
        "catalog-slash": "/v2/_catalog/",
        "catalog-below": "/v2/_catalog/x",
        "catalog-encoded": "/v2/%5fcatalog",
        "root-encoded": "/%76%32/",
        "root-capital": "/V2/",
        "slash-encoded": "/v2%2f_catalog",
        "dots-first": "/../v2/_catalog",
        "dot": "/v2/./_catalog",
        "no-name": "/v2/tags/list",
        "no-name-manifests": "/v2/manifests/v1",
        "no-name-blobs": f"/v2/blobs/sha256:{HEX}",
        "double-dots-in-digest": "/v2/{repo}/blobs/sha256:../../../etc/passwd",
        "parameters-in-path": "/v2/_catalog;x=1",
    }.items():
        yield Row(f"path-{name}", "GET", target, *lost)


# --- tags -----------------------------------------------------------------------------------

BAD_TAGS = {
    "129-characters": "a" * 129,
    "dot-first": ".a",
    "dash-first": "-a",
    "dots": "..",
    "encoded-line-feed": "v1%0a",
    "encoded-header": "v1%0d%0aX-Evil%3a%201",
    "encoded-slash": "v%2F1",
    "unicode": quote("vé"),
    "arabic-digit": quote("٣"),
    "plus": "1.0+build",
    "star": "*",
    "space": "a%20b",
    "bang": "v1!",
    "equals": "a=b",
}


def _tags() -> Iterator[Row]:
    headers = (("Content-Type", OCI_MANIFEST),)
    body = image(b"{}")
    for name, text in BAD_TAGS.items():
        target = f"/v2/{{repo}}/manifests/{text}"
        yield Row(
            f"tag-put-{name}", "PUT", target, 400, "MANIFEST_INVALID", headers=headers, body=body
        )
        yield Row(f"tag-get-{name}", "GET", target, 404, "MANIFEST_UNKNOWN")
        yield Row(f"tag-delete-{name}", "DELETE", target, 404, "MANIFEST_UNKNOWN")
        query = f"/v2/{{repo}}/manifests/{digest_of(body)}?tag=good&tag={text}"
        yield Row(
            f"tag-parameter-{name}",
            "PUT",
            query,
            400,
            "MANIFEST_INVALID",
            headers=headers,
            body=body,
        )
    many = "&".join(f"tag=t{number}" for number in range(101))
    target = f"/v2/{{repo}}/manifests/{digest_of(body)}?{many}"
    yield Row("101-tags", "PUT", target, 414, "UNSUPPORTED", headers=headers, body=body)
    target = f"/v2/{{repo}}/manifests/{digest_of(body)}?tag="
    yield Row("empty-tag", "PUT", target, 400, "MANIFEST_INVALID", headers=headers, body=body)


# --- queries --------------------------------------------------------------------------------


def _queries() -> Iterator[Row]:
    uploads = "/v2/{repo}/blobs/uploads/"
    digest = f"sha256:{HEX}"
    for name, query, code in (
        ("two-digests", f"digest={digest}&digest={digest}", "DIGEST_INVALID"),
        ("two-digests-one-encoded", f"digest={digest}&%64igest={digest}", "DIGEST_INVALID"),
        ("two-mounts", f"mount={digest}&mount={digest}", "DIGEST_INVALID"),
        ("two-froms", f"mount={digest}&from=a&from=b", "NAME_INVALID"),
        ("two-algorithms", "digest-algorithm=sha256&digest-algorithm=sha512", "UNSUPPORTED"),
        ("no-utf-8", "digest=%ff", "UNSUPPORTED"),
        ("300-parameters", "&".join(f"p{number}=1" for number in range(300)), "UNSUPPORTED"),
    ):
        yield Row(f"query-{name}", "POST", f"{uploads}?{query}", 400, code, body=b"x")
    target = f"{{session}}?digest={digest}&digest={digest}"
    yield Row("closing-put-with-two-digests", "PUT", target, 400, "DIGEST_INVALID", body=b"x")
    yield Row("closing-put-without-digest", "PUT", "{session}", 400, "DIGEST_INVALID", body=b"x")
    for name, query in {
        "negative": "n=-1",
        "text": "n=abc",
        "float": "n=1.5",
        "sign": "n=%2B5",
        "empty": "n=",
        "arabic": f"n={quote('٣')}",
        "twice": "n=1&n=2",
        "last-twice": "last=a&last=b",
        "hex": "n=0x10",
        "minus-huge": "n=-" + "9" * 400,
    }.items():
        for target in ("/v2/{repo}/tags/list", "/v2/_catalog", f"/v2/{{repo}}/referrers/{digest}"):
            yield Row(f"page-{name}-{target[-9:]}", "GET", f"{target}?{query}", 400, "UNSUPPORTED")
    for name, text in {
        "header": "%0d%0aX-Evil:%201",
        "no-type": "sbom",
        "script": "<script>",
        "json": "%22,%22x%22:%22",
        "long": "a/" + "b" * 300,
        "empty": "",
    }.items():
        target = f"/v2/{{repo}}/referrers/{digest}?artifactType={text}"
        yield Row(f"filter-{name}", "GET", target, 400, "UNSUPPORTED")
    many = "&".join(f"artifactType=a/b{number}" for number in range(17))
    target = f"/v2/{{repo}}/referrers/{digest}?{many}"
    yield Row("17-filters", "GET", target, 400, "UNSUPPORTED")


# --- chunks ---------------------------------------------------------------------------------


def _chunks() -> Iterator[Row]:
    """The open session holds four bytes."""
    for name, value, status in (
        ("overlap", "2-5", 416),
        ("rewind", "0-3", 416),
        ("gap", "8-11", 416),
        ("far-away", "9000000000000000000-9000000000000000003", 416),
        ("shorter-than-the-body", "4-5", 416),
        ("longer-than-the-body", "4-99", 416),
        ("huge-end", "4-9223372036854775807", 416),
        ("twenty-digits", "4-99999999999999999999", 400),
        ("negative", "-4-3", 400),
        ("negative-end", "4--7", 400),
        ("end-first", "7-4", 400),
        ("text", "a-b", 400),
        ("empty", "", 400),
        ("no-end", "4-", 400),
        ("two-ranges", "4-5,6-7", 400),
        ("request-range", "bytes=4-7", 400),
        ("another-unit", "items 4-7/8", 400),
        ("plus", "+4-7", 400),
        ("arabic", "\u0664-\u0667", 400),
        ("spaces", "4 - 7", 400),
        ("unsatisfied", "bytes */8", 400),
    ):
        headers = (("Content-Range", value.encode().decode("latin-1")),)
        for method, target in (
            ("PATCH", "{session}"),
            ("PUT", f"{{session}}?digest={digest_of(b'abcdefgh')}"),
        ):
            yield Row(
                f"content-range-{name}-{method}",
                method,
                target,
                status,
                "BLOB_UPLOAD_INVALID",
                headers=headers,
                body=b"efgh",
            )
    unknown = (404, "BLOB_UPLOAD_UNKNOWN")
    for name, target in {
        "foreign": "{foreign-session}",
        "invented": f"/v2/{{repo}}/blobs/uploads/{'0' * 64}",
        "capital": "{SESSION}",
        "dots": "/v2/{repo}/blobs/uploads/..",
        "short": "/v2/{repo}/blobs/uploads/a",
        "key": "/v2/{repo}/blobs/uploads/data%2Faa",
    }.items():
        yield Row(f"session-get-{name}", "GET", target, *unknown)
        yield Row(f"session-patch-{name}", "PATCH", target, *unknown, body=b"efgh")
        put = f"{target}?digest={digest_of(b'efgh')}"
        yield Row(f"session-put-{name}", "PUT", put, *unknown, body=b"efgh")
        yield Row(f"session-delete-{name}", "DELETE", target, *unknown)


# --- bodies ---------------------------------------------------------------------------------


def _cut(method: str, target: str, announced: int, sent: bytes) -> Sender:
    """Announce more than is sent, and leave."""

    def send(client: Client, world: World) -> None:
        with client.connect() as connection:
            length = ("Content-Length", str(announced))
            connection.send(connection.head(method, fill(target, world), [length]) + sent)
            time.sleep(0.05)
            connection.reset()

    return send


def _surplus(client: Client, world: World) -> Reply | None:
    """Announce four bytes and send forty: the rest is a request of its own, and no good one."""
    with client.connect() as connection:
        target = fill(f"/v2/{{repo}}/blobs/uploads/?digest=sha256:{HEX}", world)
        head = connection.head("POST", target, [("Content-Length", "4")])
        connection.send(head + b"data" + b"\x01surplus" * 5 + b"\r\n\r\n")
        reply = connection.read("POST").expect(400)
        if not reply.closes:
            connection.read("GET").expect(400).code()
        assert connection.ended()
        return reply


def _bodies() -> Iterator[Row]:
    post = f"/v2/{{repo}}/blobs/uploads/?digest={digest_of(b'data' * 10)}"
    patch = "{session}"
    put = f"{{session}}?digest={digest_of(b'abcd' + b'e' * 1000)}"
    manifest = "/v2/{repo}/manifests/cut"
    for name, sender, keeps in (
        ("post-cut-short", _cut("POST", post, 4000, b"data" * 10), False),
        ("post-cut-before-the-body", _cut("POST", post, 4000, b""), False),
        ("patch-cut-short", _cut("PATCH", patch, 4000, b"e" * 1000), True),
        ("put-cut-short", _cut("PUT", put, 4000, b"e" * 1000), True),
        ("manifest-cut-short", _cut("PUT", manifest, 4000, image(b"{}")), False),
    ):
        yield Row(name, "", "", 0, None, send=sender, keeps_bytes=keeps)
    yield Row("post-longer-than-announced", "", "", 400, None, send=_surplus)

    def two() -> Iterator[bytes]:
        yield b"ef"
        yield b"gh"

    yield Row(
        "chunked-beyond-its-range",
        "PATCH",
        "{session}",
        416,
        "BLOB_UPLOAD_INVALID",
        headers=(("Content-Range", "4-6"),),
        body=two,
        keeps_bytes=True,
    )
    yield Row(
        "chunked-short-of-its-range",
        "PATCH",
        "{session}",
        416,
        "BLOB_UPLOAD_INVALID",
        headers=(("Content-Range", "4-99"),),
        body=two,
        keeps_bytes=True,
    )


# --- manifests ------------------------------------------------------------------------------


def _nest(depth: int) -> bytes:
    return b'{"schemaVersion":2,"x":' + b"[" * depth + b"]" * depth + b"}"


def _image_with(**fields: object) -> bytes:
    return encode(json.loads(image(b"{}")) | fields)


def _layer(**fields: object) -> bytes:
    layer = descriptor(BLOB, OCI_LAYER) | fields
    return _image_with(layers=[layer])


def _text(manifest: bytes, old: str, new: str) -> bytes:
    assert old in manifest.decode(), (old, manifest)
    return manifest.decode().replace(old, new).encode()


BAD_MANIFESTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "array": b"[]",
    "number": b"1",
    "null": b"null",
    "empty-object": b"{}",
    "no-utf-8": _text(image(b"{}"), "{", "{").replace(
        b'"schemaVersion"', b'"\xff":1,"schemaVersion"'
    ),
    "byte-order-mark": b"\xef\xbb\xbf" + image(b"{}"),
    "zero-byte": image(b"{}") + b"\0",
    "trailing-garbage": image(b"{}") + b"{}",
    "cut": image(b"{}")[:-1],
    "gzip": gzip.compress(image(b"{}")),
    "depth-1000": _nest(1000).replace(b'"x"', b'"layers"'),
    "depth-bomb": _nest(200_000),
    "depth-bomb-of-objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "depth-bomb-in-a-known-field": _text(image(b"{}"), '"layers":[]', '"layers":' + "[" * 9000),
    "image-and-index": _image_with(manifests=[]),
    "image-and-null-index": _image_with(manifests=None),
    "fs-layers": _image_with(fsLayers=[]),
    "another-media-type-inside": _image_with(mediaType=OCI_INDEX),
    "media-type-twice-last-counts": _text(
        image(b"{}"), '"config"', f'"mediaType":"{OCI_INDEX}","config"'
    ),
    "media-type-no-string": _image_with(mediaType=5),
    "media-type-with-line-feed": _image_with(mediaType=OCI_MANIFEST + "\n"),
    "schema-version-1": _image_with(schemaVersion=1),
    "schema-version-text": _image_with(schemaVersion="2"),
    "no-schema-version": _text(image(b"{}"), '"schemaVersion":2,', ""),
    "no-config": _text(image(b"{}"), '"config"', '"confg"'),
    "config-null": _image_with(config=None),
    "layers-no-list": _image_with(layers={}),
    "layers-of-text": _image_with(layers=["x"]),
    "layer-twice-as-key-last-counts": _text(
        image(b"{}"), '"layers":[]', '"layers":[],"layers":[1]'
    ),
    "no-size": _text(_layer(), f'"size":{len(BLOB)}', '"sise":1'),
    "size-negative": _layer(size=-1),
    "size-minus-zero-point-five": _layer(size=-0.5),
    "size-float": _layer(size=1.5),
    "size-text": _layer(size="22"),
    "size-true": _layer(size=True),
    "size-null": _layer(size=None),
    "size-nan": _text(_layer(), f'"size":{len(BLOB)}', '"size":NaN'),
    "size-infinite": _text(_layer(), f'"size":{len(BLOB)}', '"size":Infinity'),
    "size-1e400": _text(_layer(), f'"size":{len(BLOB)}', '"size":1e400'),
    "size-beyond-64-bits": _layer(size=2**63),
    "size-of-400-digits": _layer(size=10**400),
    "digest-no-text": _layer(digest=5),
    "digest-malformed": _layer(digest="sha256:../../x"),
    "digest-of-another-algorithm": _layer(digest=f"md5:{'a' * 32}"),
    "layer-type-malformed": _layer(mediaType="../x"),
    "layer-type-missing": _text(_layer(), f'"mediaType":"{OCI_LAYER}"', '"x":1'),
    "data-of-other-content": _layer(data="AAAA"),
    "data-no-base64": _layer(data="%%%"),
    "urls-no-list": _layer(urls="https://example.com"),
    "annotations-of-numbers": _image_with(annotations={"a": 1}),
    "annotations-no-object": _image_with(annotations=[]),
    "subject-malformed": _image_with(subject={"digest": "x"}),
    "subject-no-object": _image_with(subject="x"),
    "subject-with-negative-size": _image_with(subject=descriptor(b"", OCI_MANIFEST) | {"size": -1}),
    "artifact-type-with-line-feed": _image_with(artifactType="a/b\r\nX-Evil: 1"),
    "30000-descriptors": _image_with(
        layers=[{"mediaType": "a/b", "digest": f"sha256:{HEX}", "size": 1}] * 30_000
    ),
}


def _manifests() -> Iterator[Row]:
    put = "/v2/{repo}/manifests/bad"
    typed = (("Content-Type", OCI_MANIFEST),)
    for name, body in BAD_MANIFESTS.items():
        yield Row(f"manifest-{name}", "PUT", put, 400, "MANIFEST_INVALID", headers=typed, body=body)
    for name, value in {
        "index": OCI_INDEX,
        "no-type": "json",
        "line": "application/",
        "list": "application/json, text/plain",
        "long": "application/" + "x" * 400,
        "schema-1": "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }.items():
        yield Row(
            f"content-type-{name}",
            "PUT",
            put,
            400,
            "MANIFEST_INVALID",
            headers=(("Content-Type", value),),
            body=image(b"{}"),
        )
    bare = encode({"schemaVersion": 2, "x": 1})
    yield Row("nothing-tells-the-type", "PUT", put, 400, "MANIFEST_INVALID", body=bare)
    missing = (404, "MANIFEST_BLOB_UNKNOWN")
    for name, body in {
        "missing-layer": image(b"{}", [b"never pushed"]),
        "missing-config": image(b"never pushed"),
        "layer-of-another-tenant": image(b"{}", [FOREIGN]),
        "missing-child": index([b"never pushed"]),
        "blob-as-child": encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [descriptor(BLOB, OCI_MANIFEST)],
            }
        ),
        "index-that-names-a-digest-nobody-can-know": encode(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [{"mediaType": OCI_INDEX, "digest": f"sha256:{HEX}", "size": 300}],
            }
        ),
    }.items():
        kind = (("Content-Type", json.loads(body)["mediaType"]),)
        yield Row(f"manifest-{name}", "PUT", put, *missing, headers=kind, body=body)
    wrong_size = ((400, 404), ("MANIFEST_INVALID", "SIZE_INVALID", "MANIFEST_BLOB_UNKNOWN"))
    yield Row(
        "layer-size-is-not-the-stored-one",
        "PUT",
        put,
        *wrong_size,
        headers=typed,
        body=_layer(size=len(BLOB) + 1),
    )
    yield Row(
        "config-size-is-not-the-stored-one",
        "PUT",
        put,
        *wrong_size,
        headers=typed,
        body=_image_with(config=descriptor(b"{}", OCI_CONFIG) | {"size": 1}),
    )
    yield Row("child-size-is-not-the-stored-one", "", "", *wrong_size, send=_child_of_wrong_size)
    too_large = (413, "SIZE_INVALID")
    filler = image(b"{}") + b" " * (MAX_MANIFEST + 1 - len(image(b"{}")))
    yield Row("4-MiB-and-1-byte", "PUT", put, *too_large, headers=typed, body=filler)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(filler), 65536):
            yield filler[at : at + 65536]

    yield Row("4-MiB-and-1-byte-chunked", "PUT", put, *too_large, headers=typed, body=pieces)

    def endless() -> Iterator[bytes]:
        for _ in range(2000):
            yield b" " * 65536

    yield Row("125-MiB-chunked", "PUT", put, *too_large, headers=typed, body=endless)
    hundred_thousand = _image_with(
        layers=[{"mediaType": "a/b", "digest": f"sha256:{HEX}", "size": 1}] * 100_000
    )
    yield Row("100000-descriptors", "PUT", put, *too_large, headers=typed, body=hundred_thousand)
    for header in ("If-Match", "If-None-Match"):
        for name, value in {
            "bare": "abc",
            "open": '"abc',
            "201-tags": ",".join(['"a"'] * 201),
        }.items():
            yield Row(
                f"condition-{header}-{name}",
                "PUT",
                put,
                400,
                "UNSUPPORTED",
                headers=(*typed, (header, value)),
                body=image(b"{}"),
            )
    yield Row(
        "condition-that-does-not-hold",
        "PUT",
        put,
        412,
        "DENIED",
        headers=(*typed, ("If-Match", f'"sha256:{HEX}"')),
        body=image(b"{}"),
    )


def _child_of_wrong_size(client: Client, world: World) -> Reply:
    child = descriptor(world.manifest, OCI_MANIFEST) | {"size": len(world.manifest) + 1}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}
    return put_manifest(client, world.repo, "bad", encode(document))


# --- ranges ---------------------------------------------------------------------------------


def _ranges() -> Iterator[Row]:
    target = "/v2/{repo}/blobs/{blob}"
    for name, value in {
        "past-the-end": "bytes=9999-",
        "suffix-0": "bytes=-0",
        "reversed": "bytes=9-1",
    }.items():
        yield Row(f"range-{name}", "GET", target, 416, "SIZE_INVALID", headers=(("Range", value),))
    for count in (1000, 5000):
        flood = "bytes=" + ",".join(["0-0"] * count)
        yield Row(f"range-flood-{count}", "GET", target, 200, None, headers=(("Range", flood),))
    flood = "bytes=" + ",".join(["0-0"] * 10_000)
    yield Row(
        "range-flood-10000", "GET", target, (200, 400, 431), None, headers=(("Range", flood),)
    )


# --- the test -------------------------------------------------------------------------------


def fill(text: str, world: World) -> str:
    """Put what is there into a template."""
    session = world.session
    for old, new in {
        "{repo}": world.repo,
        "{blob}": world.blob,
        "{foreign-session}": session.replace(world.repo, "other/app"),
        "{SESSION}": session[:-32] + session[-32:].upper(),
        "{session}": session,
    }.items():
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module", params=["memory", "filesystem"])
def world(request, tmp_path_factory) -> Iterator[World]:
    """A registry with one image, another project's blob, and an open session of four bytes."""
    with serving(request.param, tmp_path_factory.mktemp("bad")) as registry, registry.client() as c:
        repo = "project/app"
        manifest = push_image(c, repo, 0, "v1")
        for data in (b"{}", BLOB):
            push_blob(c, repo, data)
        push_image(c, "other/app", 1, "v1")
        push_blob(c, "other/app", FOREIGN)
        yield World(registry, repo, manifest, four_bytes(c, repo))


def four_bytes(client: Client, repo: str) -> str:
    """Open a session of four bytes, one whose id is another in capitals."""
    session = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    while not set(session[-32:]) & set("abcdef"):
        session = client.post(f"/v2/{repo}/blobs/uploads/").expect(202)["Location"]
    client.patch(session, body=b"abcd").expect(202)
    return session


def everything(world: World, *, but_session: bool) -> dict[str, object]:
    """Give all that is kept."""
    kept = world.registry.census()
    if but_session:
        kept = {key: value for key, value in kept.items() if world.session[-64:-32] not in key}
    return kept


TABLE = list(rows())


def test_the_rows_have_names_of_their_own():
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))
    assert len(names) > 500


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_is_refused_and_nothing_is_stored(world, row):
    client = world.registry.client()
    before = everything(world, but_session=row.keeps_bytes)
    tasks = world.registry.tasks()
    try:
        if row.send is not None:
            reply = row.send(client, world)
        else:
            body = row.body() if callable(row.body) else row.body
            headers = tuple((name, fill(value, world)) for name, value in row.headers)
            reply = client.request(row.method, fill(row.target, world), headers, body)
    finally:
        client.close()
    if reply is not None:
        check(reply, row)
    deadline = time.monotonic() + 60
    while True:
        after = everything(world, but_session=row.keeps_bytes)
        running = world.registry.tasks()
        if (after == before and running <= tasks) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert after == before
    assert running <= tasks
    if row.keeps_bytes:  # the next row, whichever it is, finds four bytes again
        with world.registry.client() as client:
            world.session = four_bytes(client, world.repo)


def check(reply: Reply, row: Row) -> None:
    """Check the refusal."""
    statuses = row.status if isinstance(row.status, tuple) else (row.status,)
    assert reply.status in statuses, reply
    assert reply.get("X-Evil") is None
    if reply.status == 200:
        assert reply.body == BLOB
        return
    code = reply.code()
    if row.code is not None:
        assert code in (row.code if isinstance(row.code, tuple) else (row.code,)), reply
    assert len(reply.body) < 32 * 1024, "the refusal repeats what was sent"


def test_what_was_there_is_as_it_was(world):
    """Run after any number of rows, in any order."""
    with world.registry.client() as client:
        assert client.get(f"/v2/{world.repo}/manifests/v1").expect(200).body == world.manifest
        assert client.get(f"/v2/{world.repo}/tags/list").json()["tags"] == ["v1"]
        assert client.get(f"/v2/{world.repo}/blobs/{world.blob}").expect(200).body == BLOB
        catalog = client.get("/v2/_catalog").expect(200).json()
        assert catalog == {"repositories": ["other/app", "project/app"]}


# --- cycles, and what takes time ------------------------------------------------------------


def test_a_fallback_tag_that_lists_its_subject_and_itself_ends(client, repo):
    """Digests can't be cyclic; tags can."""
    subject = push_image(client, repo, repo, "v1")
    tag = digest_of(subject).replace(":", "-")
    listing = index([subject], subject=descriptor(subject, OCI_MANIFEST))
    for _ in range(3):
        put_manifest(client, repo, tag, listing).expect(201)
        listing = index(
            [subject],
            manifests=[descriptor(listing, OCI_INDEX), descriptor(subject, OCI_MANIFEST)],
            subject=descriptor(subject, OCI_MANIFEST),
        )
    reply = client.get(f"/v2/{repo}/referrers/{digest_of(subject)}").expect(200)
    digests = [each["digest"] for each in reply.json()["manifests"]]
    assert len(digests) == len(set(digests))


def test_a_chain_of_subjects_is_walked_by_nobody(client, repo):
    """Each manifest is the referrer of the one before it; deleting the first deletes one."""
    push_blob(client, repo, b"{}")
    chain = [image(b"{}")]
    for _ in range(30):
        chain.append(image(b"{}", subject=descriptor(chain[-1], OCI_MANIFEST)))
    for manifest in reversed(chain):
        put_manifest(client, repo, digest_of(manifest), manifest).expect(201)
    for subject, referrer in pairwise(chain):
        reply = client.get(f"/v2/{repo}/referrers/{digest_of(subject)}").expect(200)
        assert [each["digest"] for each in reply.json()["manifests"]] == [digest_of(referrer)]
    client.delete(f"/v2/{repo}/manifests/{digest_of(chain[0])}").expect(202)
    client.get(f"/v2/{repo}/manifests/{digest_of(chain[1])}").expect(200)


def test_the_largest_manifest_is_accepted(client, repo):
    push_blob(client, repo, b"{}")
    manifest = image(b"{}") + b" " * (MAX_MANIFEST - len(image(b"{}")))
    put_manifest(client, repo, "large", manifest).expect(201)
    assert client.get(f"/v2/{repo}/manifests/large").expect(200).body == manifest


def test_a_head_that_never_ends_is_given_408(serve):
    local = serve("memory", config=ServerConfig(head_seconds=0.5))
    with local.client() as client, client.connect() as connection:
        connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        connection.socket.settimeout(0.1)
        reply = None
        while reply is None and time.monotonic() < began + 5:
            try:
                connection.send(b"X-Slow: 1\r\n")
                reply = connection.read()
            except TimeoutError:
                continue
            except (ClosedError, BrokenPipeError):
                break
        assert reply is not None
        reply.expect(408).code()
        assert client.get("/v2/").expect(200)


def test_a_hundred_stalled_uploads_end_and_the_rest_is_served(serve):
    """Slow loris: each stalls in its body; all are gone after the limit, nothing is stored."""
    local = serve("filesystem", limits=Limits(idle_seconds=3.0))
    with local.client() as client:
        client.get("/v2/").expect(200)
        before, tasks = local.census(), local.tasks()
        stalled = [client.connect() for _ in range(100)]
        for connection in stalled:
            target = f"/v2/a/b/blobs/uploads/?digest=sha256:{HEX}"
            head = connection.head("POST", target, [("Content-Length", "1000000")])
            connection.send(head + b"x" * 100)
        client.get("/v2/").expect(200)
        assert local.observed.running > 0, "it was served after them, not beside them"
        for connection in stalled:
            reply = connection.read("POST").refused(408, "SIZE_INVALID")
            assert reply.closes, "RFC 9110 §15.5.9: 408 ends the connection"
            connection.close()
        deadline = time.monotonic() + 60
        while (local.census() != before or local.tasks() > tasks) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert local.census() == before
        assert local.tasks() <= tasks
