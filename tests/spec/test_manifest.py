"""Manifests: what is accepted, what it refers to, and every trick that is refused."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import manifest as m
from registry.spec import mediatype as t
from registry.spec.digest import Digest
from registry.spec.errors import ManifestInvalid, ManifestTooLarge
from registry.spec.manifest import Descriptor, parse, referrer_descriptor
from tests.spec.strategies import digests, media_types

ARTIFACT = "application/vnd.example.sbom.v1"


def descriptor(media_type=t.OCI_LAYER_GZIP, content=b"layer", **more):
    return {
        "mediaType": media_type,
        "digest": Digest.of(content),
        "size": len(content),
        **more,
    }


CONFIG = descriptor(t.OCI_CONFIG, b"{}")
LAYER = descriptor()
CHILD = descriptor(t.OCI_MANIFEST, b"child", platform={"os": "linux", "architecture": "amd64"})
SUBJECT = descriptor(t.OCI_MANIFEST, b"missing content")


def image(**changes):
    whole = {"schemaVersion": 2, "mediaType": t.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def index(**changes):
    whole = {"schemaVersion": 2, "mediaType": t.OCI_INDEX, "manifests": [CHILD]}
    return {key: value for key, value in (whole | changes).items() if value is not ...}


def read(document, content_type=None):
    return parse(json.dumps(document).encode(), content_type)


def digests_of(descriptors):
    return [each.digest for each in descriptors]


def refused(document, content_type=None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(ManifestInvalid) as caught:
        parse(body, content_type)
    return caught.value.message


# --- what is accepted: the data sets of the official conformance suite, and clients' own --------


def test_an_image():
    body = json.dumps(image(annotations={"k": "v"})).encode()
    manifest = parse(body, t.OCI_MANIFEST)
    assert (manifest.media_type, manifest.kind, manifest.size) == (
        t.OCI_MANIFEST,
        "image",
        len(body),
    )
    assert set(digests_of(manifest.blobs)) == {CONFIG["digest"], LAYER["digest"]}
    assert manifest.manifests == manifest.foreign == ()
    assert (manifest.subject, manifest.artifact_type) == (None, t.OCI_CONFIG)
    assert manifest.annotations == {"k": "v"}
    assert all(type(each.digest) is Digest for each in manifest.blobs)


def test_a_docker_image():
    docker = image(
        mediaType=t.DOCKER_MANIFEST,
        config=descriptor(t.DOCKER_CONFIG, b"{}"),
        layers=[descriptor(t.DOCKER_LAYER_GZIP)],
    )
    manifest = read(docker, t.DOCKER_MANIFEST)
    assert (manifest.kind, len(manifest.blobs)) == ("image", 2)


def test_an_index_with_platforms():
    manifest = read(index(), t.OCI_INDEX)
    assert (manifest.kind, manifest.blobs) == ("index", ())
    assert digests_of(manifest.manifests) == [CHILD["digest"]]
    assert manifest.manifests[0].platform == CHILD["platform"]


def test_a_nested_index_and_a_docker_list():
    inner = descriptor(t.OCI_INDEX, b"inner")
    assert digests_of(read(index(manifests=[inner])).manifests) == [inner["digest"]]
    docker = index(mediaType=t.DOCKER_LIST, manifests=[descriptor(t.DOCKER_MANIFEST)])
    assert read(docker).kind == "index"


@pytest.mark.parametrize("empty", [[], None])
def test_an_index_may_be_empty_and_an_image_without_layers(empty):
    assert read(index(manifests=empty)).manifests == ()
    assert digests_of(read(image(layers=empty)).blobs) == [CONFIG["digest"]]
    assert digests_of(read(image(layers=...)).blobs) == [CONFIG["digest"]]


def test_an_artifact_with_the_empty_config():
    artifact = image(
        artifactType=ARTIFACT,
        config=descriptor(t.OCI_EMPTY, b"{}"),
        layers=[descriptor(t.OCI_EMPTY, b"{}")],
    )
    manifest = read(artifact)
    assert (manifest.kind, manifest.artifact_type) == ("image", ARTIFACT)


def test_an_artifact_manifest_of_the_release_candidates():
    artifact = {
        "mediaType": t.OCI_ARTIFACT,
        "artifactType": ARTIFACT,
        "blobs": [LAYER],
        "subject": SUBJECT,
    }
    manifest = read(artifact, t.OCI_ARTIFACT)
    assert (manifest.kind, digests_of(manifest.blobs)) == ("artifact", [LAYER["digest"]])
    assert (manifest.subject.digest, manifest.artifact_type) == (SUBJECT["digest"], ARTIFACT)


@pytest.mark.parametrize("make", [image, index])
def test_a_subject_is_read_and_need_not_be_among_the_references(make):
    manifest = read(make(subject=SUBJECT))
    assert manifest.subject.digest == SUBJECT["digest"]
    assert SUBJECT["digest"] not in digests_of((*manifest.blobs, *manifest.manifests))


@pytest.mark.parametrize("foreign", sorted(t.FOREIGN))
def test_non_distributable_layers_may_be_missing(foreign):
    layer = descriptor(foreign, b"windows", urls=["https://example.com/layer"])
    manifest = read(image(layers=[layer, LAYER]))
    assert digests_of(manifest.foreign) == [layer["digest"]]
    assert layer["digest"] not in digests_of(manifest.blobs)
    assert manifest.foreign[0].urls == ("https://example.com/layer",)


def test_urls_alone_do_not_make_a_layer_foreign():
    layer = descriptor(urls=["https://example.com/layer"])
    assert layer["digest"] in digests_of(read(image(layers=[layer])).blobs)


def test_buildkits_cache_is_an_index_of_blobs():
    layer, foreign = descriptor(), descriptor(t.DOCKER_FOREIGN_GZIP, b"x")
    cache = descriptor(t.BUILDKIT_CACHE_CONFIG, b"cache")
    manifest = read(index(manifests=[layer, cache, foreign, CHILD]))
    assert digests_of(manifest.blobs) == [layer["digest"], cache["digest"]]
    assert digests_of(manifest.manifests) == [CHILD["digest"]]
    assert digests_of(manifest.foreign) == [foreign["digest"]]


def test_sha512_descriptors():
    digest = Digest.of(b"layer", "sha512")
    assert digest in digests_of(read(image(layers=[{**LAYER, "digest": digest}])).blobs)


def test_embedded_data_that_is_the_content():
    for content in (b"layer", b""):
        layer = descriptor(content=content, data=base64.b64encode(content).decode())
        assert read(image(layers=[layer])).blobs[1].data == content


def test_fields_that_nobody_knows_are_kept_out_of_the_way():
    manifest = read(image(**{"org.example.x": [{"layers": 1}], "history": None}))
    assert manifest.kind == "image"


def test_a_sigstore_bundle_has_a_type_with_parameters():
    media_type = "application/vnd.dev.sigstore.bundle+json;version=0.2"
    assert read(image(artifactType=media_type, layers=[descriptor(media_type)])).artifact_type == (
        media_type
    )


def test_a_large_manifest_of_annotations():
    """The conformance suite's: 390 annotations of 10,000 characters."""
    annotations = {f"large-annotation-{i}": "A" * 10_000 for i in range(390)}
    assert read(image(annotations=annotations)).annotations == annotations


def test_optional_fields_may_be_null():
    manifest = read(image(annotations=None, subject=None, artifactType=None))
    assert (manifest.annotations, manifest.subject) == ({}, None)


def test_a_key_given_twice_counts_as_its_last_value():
    body = json.dumps(image()).encode()
    twice = body[:-1] + b', "layers": []}'
    assert digests_of(parse(twice, None).blobs) == [CONFIG["digest"]]


# --- the media type ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "content_type", "expected"),
    [
        (image(), None, t.OCI_MANIFEST),
        (image(), "", t.OCI_MANIFEST),
        (image(), t.OCI_MANIFEST + "; charset=utf-8", t.OCI_MANIFEST),
        (image(), t.OCI_MANIFEST.upper(), t.OCI_MANIFEST),
        (image(mediaType=t.OCI_MANIFEST.upper()), t.OCI_MANIFEST, t.OCI_MANIFEST),
        (image(mediaType=...), t.OCI_MANIFEST, t.OCI_MANIFEST),
        (image(mediaType=""), t.DOCKER_MANIFEST, t.DOCKER_MANIFEST),
        (image(mediaType=None), None, t.OCI_MANIFEST),
        (image(mediaType=...), None, t.OCI_MANIFEST),
        (index(mediaType=...), None, t.OCI_INDEX),
        (index(mediaType=...), t.DOCKER_LIST, t.DOCKER_LIST),
    ],
)
def test_the_media_type_is_what_header_and_body_agree_on(document, content_type, expected):
    assert read(document, content_type).media_type == expected


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(), t.OCI_INDEX),
        (image(), t.DOCKER_MANIFEST),
        (image(), "application/json"),
        (image(), "nonsense"),
        (image(mediaType=t.OCI_INDEX), t.OCI_MANIFEST),
        (image(mediaType=t.OCI_INDEX), None),
        (index(mediaType=t.OCI_MANIFEST), None),
        (image(mediaType=...), t.OCI_INDEX),
        (index(mediaType=...), t.OCI_MANIFEST),
        (image(mediaType="nonsense"), None),
        (image(mediaType=5), None),
    ],
)
def test_types_that_disagree_are_refused(document, content_type):
    refused(document, content_type)


@pytest.mark.parametrize("document", [{}, {"schemaVersion": 2}, {"layers": []}, {"mediaType": ""}])
def test_a_document_of_no_known_type_needs_a_content_type(document):
    assert "Content-Type" in refused(document)


# --- ambiguity (CVE-2021-41190) ------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        image(manifests=[CHILD]),
        image(manifests=[]),
        image(manifests=None),
        image(mediaType=..., manifests=[CHILD]),
        index(layers=[LAYER]),
        index(layers=[]),
        index(config=CONFIG),
        index(config=None),
        image(config=..., layers=[], manifests=[]),
        {"mediaType": "application/vnd.example+json", "layers": [], "manifests": []},
        image(fsLayers=[]),
        index(fsLayers=[]),
    ],
)
def test_an_image_that_is_also_an_index_is_refused(document):
    assert "ambiguous" in refused(document)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"schemaVersion": 1, "fsLayers": [], "name": "a", "tag": "b"}, None),
        ({"schemaVersion": 1}, t.DOCKER_SCHEMA1),
        ({"schemaVersion": 1}, t.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1, "mediaType": t.DOCKER_SCHEMA1}, None),
    ],
)
def test_docker_schema_1_is_refused_with_a_way_out(document, content_type):
    assert "schema 1" in refused(document, content_type)


# --- unknown types -------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [{}, {"config": 5}, {"layers": "x"}, {"manifests": [1]}])
def test_an_unknown_type_may_be_any_json_object(document):
    manifest = read(document, "application/vnd.example.v1+json")
    assert manifest.kind == "unknown"
    assert manifest.blobs == manifest.manifests == ()


def test_an_unknown_type_keeps_alive_what_it_describes_well():
    document = {"config": CONFIG, "layers": [LAYER], "subject": SUBJECT, "annotations": {"a": "b"}}
    manifest = read(document, "application/vnd.example.v1+json")
    assert set(digests_of(manifest.blobs)) == {CONFIG["digest"], LAYER["digest"]}
    assert (manifest.subject, manifest.artifact_type) == (None, None)
    assert manifest.annotations == {"a": "b"}


@pytest.mark.parametrize(
    "body", [b"[]", b"5", b'"x"', b"null", b"opaque", b"\x89PNG", b"[" * 100_000]
)
def test_an_unknown_type_that_is_no_json_object_is_refused(body):
    """The specification calls a manifest "a JSON document"; a place for any bytes it is not."""
    refused(body, "application/vnd.example.v1+json")


# --- malformed -----------------------------------------------------------------------------------

GOOD = json.dumps(image()).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"{",
        GOOD[:-1],
        GOOD + b"x",
        GOOD.replace(b"{", b"{,", 1),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD[:-1] + b', "x": "\xff"}',
        GOOD[:-1] + b', "x": "\x00"}',
        GOOD[:-1] + b', "x": "\n"}',
        GOOD[:-1] + b', "x": "\\q"}',
        GOOD[:-1] + b', "x": NaN}',
        GOOD[:-1] + b', "x": Infinity}',
        GOOD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        GOOD[:-1] + b', "annotations": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        GOOD[:-1] + b', "subject": {"platform": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_002,
    ],
)
def test_what_is_no_json_document_is_refused(body):
    refused(body, t.OCI_MANIFEST)


@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": 1},
        {"schemaVersion": ...},
        {"schemaVersion": "2"},
        {"config": None},
        {"config": ...},
        {"config": ..., "layers": ...},
        {"config": []},
        {"config": {}},
        {"layers": {}},
        {"layers": [5]},
        {"layers": [None]},
        {"annotations": {"a": 1}},
        {"annotations": []},
        {"artifactType": "nonsense"},
        {"artifactType": 5},
        {"subject": {}},
        {"subject": {**SUBJECT, "digest": "x"}},
        {"layers": [LAYER] * m.MAX_DESCRIPTORS},
    ],
)
def test_a_malformed_image_is_refused(changes):
    refused(image(**changes))


@pytest.mark.parametrize("changes", [{"schemaVersion": 1}, {"manifests": ...}, {"manifests": {}}])
def test_a_malformed_index_is_refused(changes):
    refused(index(**changes), t.OCI_INDEX)


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("size", -1, "$.layers[0].size"),
        ("size", 2**63, "$.layers[0].size"),
        ("size", 10**40, "$.layers[0].size"),
        ("size", "5", "$.layers[0].size"),
        ("size", 5.5, "$.layers[0].size"),
        ("size", None, "$.layers[0].size"),
        ("digest", "sha256:../../x", "$.layers[0].digest"),
        ("digest", "sha256:" + "A" * 64, "$.layers[0].digest"),
        ("digest", "blake3:" + "a" * 64, "sha512"),
        ("digest", 5, "$.layers[0].digest"),
        ("digest", None, "$.layers[0].digest"),
        ("mediaType", "", "media type"),
        ("mediaType", "layer", "media type"),
        ("mediaType", "a/b\n", "media type"),
        ("mediaType", "a/" + "b" * 300, "media type"),
        ("mediaType", None, "$.layers[0].mediaType"),
        ("urls", "https://example.com", "$.layers[0].urls"),
        ("platform", "linux", "$.layers[0].platform"),
        ("data", "!!!", "$.layers[0].data"),
        ("data", base64.b64encode(b"other").decode(), "embeds"),
        ("data", base64.b64encode(b"longer than it says").decode(), "embeds"),
    ],
)
def test_a_malformed_descriptor_is_refused_with_its_place(field, value, hint):
    assert hint in refused(image(layers=[{**LAYER, field: value}]))


@pytest.mark.parametrize("field", ["size", "digest", "mediaType"])
def test_a_descriptor_needs_its_three_fields(field):
    layer = {key: value for key, value in LAYER.items() if key != field}
    assert field in refused(image(layers=[layer]))


def test_the_largest_size_and_the_most_descriptors_are_accepted():
    assert read(image(layers=[{**LAYER, "size": 2**63 - 1}])).blobs[1].size == 2**63 - 1
    layers = [LAYER] * (m.MAX_DESCRIPTORS - 1)
    assert len(read(image(layers=layers)).blobs) == m.MAX_DESCRIPTORS


def test_a_manifest_of_exactly_the_limit_is_accepted():
    body = GOOD + b" " * (m.MAX_SIZE - len(GOOD))
    assert parse(body, None).size == m.MAX_SIZE
    with pytest.raises(ManifestTooLarge):
        parse(body + b" ", None)


# --- referrers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(), t.OCI_CONFIG),
        (image(artifactType=""), t.OCI_CONFIG),
        (image(artifactType=ARTIFACT), ARTIFACT),
        (index(artifactType=ARTIFACT), ARTIFACT),
        (index(), None),
        (index(artifactType=""), None),
    ],
)
def test_a_referrer_is_listed_under_its_artifact_type(document, expected):
    """An image without one is listed by its config's type; an index without one has none."""
    digest = Digest.of(b"manifest")
    manifest = read({**document, "subject": SUBJECT})
    listed = referrer_descriptor(manifest, digest)
    wanted = {"mediaType": document["mediaType"], "digest": digest, "size": manifest.size}
    assert listed == (wanted | {"artifactType": expected} if expected else wanted)


def test_a_referrer_brings_its_annotations():
    manifest = read(image(annotations={"a": "b"}, subject=SUBJECT))
    listed = referrer_descriptor(manifest, Digest.of(b""))
    assert listed["annotations"] == {"a": "b"}
    json.dumps(listed)


def test_a_referrer_without_media_type_is_listed_by_its_shape():
    manifest = read(image(mediaType=..., subject=SUBJECT))
    assert referrer_descriptor(manifest, Digest.of(b""))["mediaType"] == t.OCI_MANIFEST


# --- properties ----------------------------------------------------------------------------------

descriptors = st.fixed_dictionaries(
    {"mediaType": media_types, "digest": digests, "size": st.integers(0, 2**63 - 1)}
)


@given(descriptors, st.lists(descriptors, max_size=5))
def test_everything_an_image_names_is_found_once(config, layers):
    manifest = read(image(config=config, layers=layers))
    found = sorted(digests_of((*manifest.blobs, *manifest.foreign)))
    assert found == sorted(each["digest"] for each in (config, *layers))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | descriptors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["config", "layers", "manifests", "mediaType", "subject", "size", "digest"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    json_values, st.none() | st.sampled_from([t.OCI_MANIFEST, t.OCI_INDEX, "a/b", t.OCI_ARTIFACT])
)
def test_any_json_is_accepted_or_refused(value, content_type):
    body = json.dumps(value).encode()
    try:
        manifest = parse(body, content_type)
    except ManifestInvalid as error:
        assert error.message
    else:
        assert isinstance(value, dict)
        assert all(isinstance(each, Descriptor) for each in (*manifest.blobs, *manifest.manifests))


@pytest.mark.parametrize("field", ["Layers", "MANIFESTS", "mediatype", "Config", "\u017fubject"])
def test_a_field_that_differs_from_ours_in_case_is_refused(field):
    """Clients in Go, which fold case as Unicode does, would read another image."""
    with pytest.raises(ManifestInvalid, match="spelling"):
        read(image(**{field: []}))


def test_a_field_of_somebody_elses_is_kept_whatever_its_case():
    assert read(image(Vendor=1, vendor=2)).kind == "image"
