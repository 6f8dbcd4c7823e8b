"""Lineage by layers, and what images share."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import manifest as grammar
from registry.spec.digest import Digest
from registry.spec.environments import (
    Bases,
    ImageFacts,
    added,
    facts_of,
    facts_of_index,
    representative,
    sharing,
)
from registry.spec.mediatype import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

LAYERS = [Digest.of(b"%d" % number) for number in range(4)]
stacks = st.lists(st.sampled_from(LAYERS), max_size=5).map(tuple)
contents = st.dictionaries(st.sampled_from(LAYERS), st.just(1)).map(
    lambda found: {digest: 10 + LAYERS.index(digest) for digest in found}
)
images = st.lists(contents.map(lambda found: ImageFacts(tuple(found), found)), max_size=5)


@given(st.lists(stacks, max_size=6), stacks)
def test_the_base_is_the_longest_image_that_the_layers_begin_with(known, layers):
    bases: Bases[int] = Bases()
    for number, each in enumerate(known):
        bases.add(each, number)
    fitting = [each for each in known if each and layers[: len(each)] == each]
    longest = max(fitting, key=len, default=None)
    wanted = None if longest is None else (known.index(longest), len(longest))
    assert bases.under(layers) == wanted


@given(images, contents)
def test_what_is_stored_is_the_union_and_each_byte_has_one_reason(images, base):
    found = sharing(images, base)
    union = {digest: size for each in images for digest, size in each.content.items()}
    assert found.physical == sum(union.values())
    assert found.logical == sum(each.size for each in images)
    assert found.with_base == sum(size for digest, size in union.items() if digest in base)
    alone = [d for d in union if sum(d in each.content for each in images) == 1 and d not in base]
    assert found.unique == sum(union[digest] for digest in alone)


@given(images)
def test_what_versions_add_one_after_another_is_what_they_take_together(images):
    total = sum(added(each, *images[:number]) for number, each in enumerate(images))
    assert total == sharing(images, {}).physical


def manifest(*layers, config=OCI_CONFIG, **more):
    def describe(data, kind):
        return {"mediaType": kind, "digest": Digest.of(data), "size": len(data)}

    return grammar.parse(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": describe(b"config", config),
                "layers": [describe(each, OCI_LAYER) for each in layers],
                **more,
            }
        ).encode(),
        None,
    )


def test_facts_are_of_images_only():
    annotations = {
        "org.opencontainers.image.base.name": "base:1",
        "org.opencontainers.image.base.digest": "sha256:1",
    }
    found = facts_of(manifest(b"one", b"other", annotations=annotations))
    assert found is not None
    assert found.layers == (Digest.of(b"one"), Digest.of(b"other"))
    assert found.size == len(b"configoneother")
    assert (found.base_name, found.base_digest) == ("base:1", "sha256:1")
    assert facts_of(manifest(b"sbom", config="application/vnd.oci.empty.v1+json")) is None
    assert facts_of(manifest(b"sbom", artifactType="application/spdx+json")) is None


def child(name, **platform):
    return {
        "mediaType": OCI_MANIFEST,
        "digest": Digest.of(name),
        "size": 1,
        **({"platform": platform} if platform else {}),
    }


ARM = child(b"arm", os="linux", architecture="arm64")
AMD = child(b"amd", os="linux", architecture="amd64")
PROOF = child(b"proof", os="unknown", architecture="unknown")
PLAIN = child(b"plain")


@pytest.mark.parametrize(
    ("children", "wanted"),
    [
        ([ARM, AMD], AMD),
        ([PROOF, ARM], ARM),
        ([PLAIN, ARM], PLAIN),
        ([PROOF], {"digest": None}),
        ([], {"digest": None}),
    ],
)
def test_an_index_is_stood_for_by_one_image(children, wanted):
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
    index = grammar.parse(json.dumps(body).encode(), None)
    assert representative(index.manifests) == wanted["digest"]


def test_an_index_consists_of_all_its_images():
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child(b"a", os="linux", architecture="amd64"), child(b"b"), child(b"gone")],
    }
    index = grammar.parse(json.dumps(body).encode(), None)
    children = {Digest.of(b"a"): manifest(b"one"), Digest.of(b"b"): manifest(b"two")}
    found = facts_of_index(index, children)
    assert found is not None
    assert found.layers == (Digest.of(b"one"),)
    assert set(found.content) == {Digest.of(each) for each in (b"config", b"one", b"two")}
    assert facts_of_index(index, {}) is None
