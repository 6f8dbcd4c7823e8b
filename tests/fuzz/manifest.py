"""Any body is a JSON object that is understood, or a 400; the standard library agrees."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

import json

from registry.spec.errors import ManifestInvalid
from registry.spec.manifest import parse

_D = "sha256:" + "0a" * 32
_LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _D, "size": 5}
_IMAGE = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {**_LAYER, "mediaType": "application/vnd.oci.empty.v1+json", "size": 2},
    "layers": [_LAYER],
    "annotations": {"a": "b"},
    "subject": {**_LAYER, "mediaType": "application/vnd.oci.image.manifest.v1+json"},
}
_INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [{**_LAYER, "platform": {"os": "linux"}, "data": "aGVsbG8=", "urls": ["x"]}],
}

SEEDS = tuple(
    content_type + b"\n" + json.dumps(document).encode()
    for document in (_IMAGE, _INDEX, {"mediaType": "a/b", "x": [1.5, None, True, '\u20ac\\"']})
    for content_type in (
        b"",
        b"a/b",
        b"application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        b"application/vnd.oci.image.index.v1+json",
    )
)


def _refuse(text: str) -> None:
    raise AssertionError(f"{text} was accepted")


def check(data: bytes) -> None:
    """The first line is the Content-Type."""
    header, _, body = data.partition(b"\n")
    try:
        manifest = parse(body, header.decode("latin-1") or None)
    except ManifestInvalid as error:
        assert error.message
        return
    document = json.JSONDecoder(parse_constant=_refuse).decode(body.decode())
    assert isinstance(document, dict)
    if manifest.kind == "image":
        names = [
            document["config"],
            *(document.get("layers") or ()),
            *(document.get("blobs") or ()),
        ]
        found = (*manifest.blobs, *manifest.foreign)
    elif manifest.kind == "index":
        names = [*(document["manifests"] or ()), *(document.get("blobs") or ())]
        found = (*manifest.blobs, *manifest.foreign, *manifest.manifests)
    else:
        return
    assert sorted(each["digest"] for each in names) == sorted(each.digest for each in found)
