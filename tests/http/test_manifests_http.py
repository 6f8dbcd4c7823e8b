"""Manifests over the wire: end-3, end-7, end-9."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.oracle.content import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
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
    random_bytes,
)


def url(repo: str, reference: str) -> str:
    return f"/v2/{repo}/manifests/{reference}"


def many_images(client, repo: str, count: int) -> list[bytes]:
    """Give manifests of different digests whose content is there, not pushed yet."""
    config = encode({})
    push_blob(client, repo, config)
    return [image(config, annotations={"number": str(number)}) for number in range(count)]


# --- end-7a, end-3 --------------------------------------------------------------------------


def test_put_by_tag_answers_with_the_digest_and_where_it_is(client, repo):
    manifest = many_images(client, repo, 1)[0]
    digest = digest_of(manifest)
    reply = put_manifest(client, repo, "v1", manifest).expect(201)
    assert reply["Location"] == url(repo, digest)
    assert reply["Docker-Content-Digest"] == digest
    assert client.get(reply["Location"]).expect(200).body == manifest


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_get_and_head_give_the_exact_bytes_and_type(client, repo, by):
    manifest = push_image(client, repo, repo, "v1")
    reference = "v1" if by == "tag" else digest_of(manifest)
    got = client.get(url(repo, reference)).expect(200)
    head = client.head(url(repo, reference)).expect(200)
    assert got.body == manifest
    for reply in (got, head):
        assert reply["Content-Type"] == OCI_MANIFEST
        assert reply["Docker-Content-Digest"] == digest_of(manifest)
        assert reply["Content-Length"] == str(len(manifest))
        assert reply["ETag"] == f'"{digest_of(manifest)}"'


def test_bytes_are_kept_exactly_whatever_their_form(client, repo):
    """Custom fields, white space and a line feed at the end are part of the digest."""
    push_blob(client, repo, b"{}")
    document = json.loads(image(b"{}")) | {"com.example.custom": [1, None, {"é": "ü"}]}
    manifest = b"  " + json.dumps(document, indent=3, ensure_ascii=False).encode() + b" \n\n"
    put_manifest(client, repo, "v1", manifest).expect(201)
    assert client.get(url(repo, "v1")).expect(200).body == manifest


def test_a_manifest_comes_chunked_too(client, repo):
    """Go's clients send it without a length."""
    manifest = many_images(client, repo, 1)[0]
    content_type = ("Content-Type", OCI_MANIFEST)
    client.put(url(repo, "v1"), content_type, body=iter([manifest[:7], manifest[7:]])).expect(201)
    assert client.get(url(repo, "v1")).expect(200).body == manifest


def test_a_charset_in_the_content_type_is_stripped(client, repo):
    manifest = many_images(client, repo, 1)[0]
    content_type = ("Content-Type", f"{OCI_MANIFEST}; charset=utf-8")
    client.put(url(repo, "v1"), content_type, body=manifest).expect(201)
    assert client.get(url(repo, "v1")).expect(200)["Content-Type"] == OCI_MANIFEST


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_without_media_type_has_that_of_the_request(client, repo, media_type):
    push_blob(client, repo, b"{}")
    manifest = encode({"schemaVersion": 2, "config": descriptor(b"{}", OCI_CONFIG), "layers": []})
    client.put(url(repo, "v1"), ("Content-Type", media_type), body=manifest).expect(201)
    assert client.get(url(repo, "v1")).expect(200)["Content-Type"] == media_type


def test_docker_types_are_stored_as_they_are(client, repo):
    push_blob(client, repo, b"{}")
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(b"{}", "application/vnd.docker.container.image.v1+json"),
            "layers": [],
        }
    )
    put_manifest(client, repo, "v1", manifest).expect(201)
    listing = encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_LIST,
            "manifests": [
                descriptor(manifest, DOCKER_MANIFEST)
                | {"platform": {"architecture": "amd64", "os": "linux"}}
            ],
        }
    )
    put_manifest(client, repo, "all", listing).expect(201)
    assert client.get(url(repo, "all")).expect(200)["Content-Type"] == DOCKER_LIST
    assert client.get(url(repo, "v1")).expect(200).body == manifest


def test_a_manifest_is_read_only_in_its_own_repository(client, repo, another):
    manifest = push_image(client, repo, repo, "v1")
    for reference in ("v1", digest_of(manifest)):
        client.get(url(another, reference)).refused(404, "MANIFEST_UNKNOWN")
        client.head(url(another, reference)).expect(404)
        client.delete(url(another, reference)).refused(404, "MANIFEST_UNKNOWN")


def test_sha512_is_what_the_tag_answers_when_it_was_pushed_so(client, repo):
    manifest = many_images(client, repo, 1)[0]
    digest = digest_of(manifest, "sha512")
    reply = put_manifest(client, repo, digest, manifest, tags=["v1"]).expect(201)
    assert reply["Docker-Content-Digest"] == digest
    for reference in (digest, "v1"):
        assert client.head(url(repo, reference)).expect(200)["Docker-Content-Digest"] == digest
        assert client.get(url(repo, reference)).expect(200).body == manifest


def test_pushing_again_changes_nothing(client, repo):
    manifest = push_image(client, repo, repo, "v1")
    for reference in ("v1", digest_of(manifest)):
        put_manifest(client, repo, reference, manifest).expect(201)
    assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == ["v1"]
    assert client.get(url(repo, "v1")).body == manifest


def test_a_tag_moves_and_the_old_manifest_stays(client, repo):
    first, second = many_images(client, repo, 2)
    put_manifest(client, repo, "v1", first).expect(201)
    put_manifest(client, repo, "v1", second).expect(201)
    assert client.get(url(repo, "v1")).body == second
    assert client.get(url(repo, digest_of(first))).expect(200).body == first


# --- Accept, conditions, ranges -------------------------------------------------------------


def test_accept_with_qualities_wildcards_and_two_lines_is_understood(client, repo):
    push_image(client, repo, repo, "v1")
    for accept in (
        [f"{OCI_INDEX}", f"{OCI_MANIFEST}"],
        [f"{OCI_INDEX};q=0.9, {OCI_MANIFEST};q=0.5"],
        ["application/*;q=0.1"],
        ["*/*"],
        [""],
    ):
        reply = client.get(url(repo, "v1"), *(("Accept", value) for value in accept)).expect(200)
        assert reply["Content-Type"] == OCI_MANIFEST
        assert reply.get("Warning") is None


def test_a_warning_says_that_the_type_is_not_among_the_accepted(client, repo):
    push_image(client, repo, repo, "v1")
    reply = client.get(url(repo, "v1"), ("Accept", DOCKER_MANIFEST)).expect(200)
    assert reply["Warning"].startswith('299 - "')
    assert OCI_MANIFEST in reply["Warning"]


def test_if_none_match_gives_304(client, repo):
    manifest = push_image(client, repo, repo, "v1")
    etag = f'"{digest_of(manifest)}"'
    for reference in ("v1", digest_of(manifest)):
        for method in ("GET", "HEAD"):
            reply = client.request(method, url(repo, reference), [("If-None-Match", etag)])
            assert reply.expect(304)["ETag"] == etag
    assert client.get(url(repo, "v1"), ("If-None-Match", '"x"')).expect(200).body == manifest


def test_if_match_with_another_etag_refuses_the_read(client, repo):
    """RFC 9110 §13.1.1."""
    manifest = push_image(client, repo, repo, "v1")
    client.get(url(repo, "v1"), ("If-Match", '"other"')).refused(412, "DENIED")
    client.get(url(repo, "v1"), ("If-Match", f'"{digest_of(manifest)}"')).expect(200)


def test_a_range_of_a_manifest_is_right_or_ignored(client, repo):
    """RFC 9110 §14.2 allows to ignore it; what must not be is a part with 200."""
    manifest = push_image(client, repo, repo, "v1")
    reply = client.get(url(repo, "v1"), ("Range", "bytes=5-9"))
    if reply.status == 206:
        assert reply.body == manifest[5:10]
        assert reply["Content-Range"] == f"bytes 5-9/{len(manifest)}"
    else:
        assert reply.expect(200).body == manifest


# --- end-7b: several tags -------------------------------------------------------------------


def test_a_put_by_digest_sets_several_tags(client, repo):
    manifest = many_images(client, repo, 1)[0]
    tags = [f"v{number}" for number in range(12)]
    reply = put_manifest(client, repo, digest_of(manifest), manifest, tags=tags).expect(201)
    named = [tag.strip() for value in reply.all("OCI-Tag") for tag in value.split(",")]
    assert sorted(named) == sorted(tags)
    for tag in tags:
        assert client.head(url(repo, tag))["Docker-Content-Digest"] == digest_of(manifest)


def test_a_child_of_an_index_gets_a_tag_by_parameter(client, repo):
    child = many_images(client, repo, 1)[0]
    put_manifest(client, repo, digest_of(child), child, tags=["amd64"]).expect(201)
    put_manifest(client, repo, "all", index([child])).expect(201)
    assert client.get(url(repo, "amd64")).body == child


def test_a_tag_given_twice_counts_once(client, repo):
    manifest = many_images(client, repo, 1)[0]
    reply = put_manifest(client, repo, digest_of(manifest), manifest, tags=["a", "a"]).expect(201)
    assert reply.all("OCI-Tag") == ["a"]


def test_child_manifests_pushed_to_the_parents_tag_do_no_harm(client, repo):
    """C15: some clients push each child under the tag before the index."""
    children = many_images(client, repo, 3)
    for child in children:
        put_manifest(client, repo, "latest", child).expect(201)
    parent = index(children)
    put_manifest(client, repo, "latest", parent).expect(201)
    assert client.get(url(repo, "latest")).body == parent
    for child in children:
        assert client.get(url(repo, digest_of(child))).body == child


# --- content that is missing ----------------------------------------------------------------


def test_an_image_whose_content_is_missing_is_refused_and_each_digest_named(client, repo):
    config, layer = encode({"seed": repo}), random_bytes(repo, 50)
    manifest = image(config, [layer])
    reply = put_manifest(client, repo, "v1", manifest).refused(404, "MANIFEST_BLOB_UNKNOWN")
    named = {error["detail"]["digest"] for error in reply.json()["errors"]}
    assert named == {digest_of(config), digest_of(layer)}
    client.get(url(repo, "v1")).refused(404, "MANIFEST_UNKNOWN")
    client.get(url(repo, digest_of(manifest))).refused(404, "MANIFEST_UNKNOWN")


def test_content_that_only_another_repository_has_is_missing(client, repo, another):
    manifest = push_image(client, another, repo)
    put_manifest(client, repo, "v1", manifest).refused(404, "MANIFEST_BLOB_UNKNOWN")


def test_an_index_whose_child_is_missing_is_refused(client, repo):
    child = many_images(client, repo, 1)[0]
    put_manifest(client, repo, "all", index([child])).refused(404, "MANIFEST_BLOB_UNKNOWN")


def test_a_missing_subject_and_missing_foreign_layers_are_fine(client, repo):
    push_blob(client, repo, b"{}")
    foreign = descriptor(b"far away", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    layers = {"layers": [foreign | {"urls": ["https://example.com/layer"]}]}
    subject = {"subject": descriptor(b"not there", OCI_MANIFEST)}
    manifest = encode(json.loads(image(b"{}")) | layers | subject)
    reply = put_manifest(client, repo, "v1", manifest).expect(201)
    assert reply["OCI-Subject"] == digest_of(b"not there")


def test_a_registry_that_allows_it_takes_sparse_manifests(serve):
    local = serve("memory", allow_sparse=True)
    with local.client() as client:
        push_blob(client, "a/b", b"{}")
        child = image(b"{}", [b"never pushed"])
        put_manifest(client, "a/b", "v1", child).expect(201)
        put_manifest(client, "a/b", "all", index([image(b"{}", [b"other"])])).expect(201)


def test_special_shapes_are_taken(client, repo):
    """No layers, an empty index, a nested one, an artifact with the empty config, embedded data."""
    push_blob(client, repo, b"{}")
    plain = image(b"{}")
    empty = index([])
    nested = index([], manifests=[descriptor(empty, OCI_INDEX), descriptor(plain, OCI_MANIFEST)])
    artifact = encode(
        json.loads(plain)
        | {
            "artifactType": "application/vnd.example+type",
            "config": descriptor(b"{}", OCI_EMPTY) | {"data": "e30="},
            "layers": [descriptor(b"{}", OCI_EMPTY)],
        }
    )
    for tag, manifest in {
        "plain": plain,
        "empty": empty,
        "nested": nested,
        "artifact": artifact,
    }.items():
        put_manifest(client, repo, tag, manifest).expect(201)
        assert client.get(url(repo, tag)).expect(200).body == manifest


def test_oci_subject_is_answered_by_tag_and_by_digest(client, repo):
    subject = descriptor(push_image(client, repo, repo, "v1"), OCI_MANIFEST)
    push_blob(client, repo, b"{}")
    referrer = image(b"{}", subject=subject)
    for reference in ("sig", digest_of(referrer)):
        reply = put_manifest(client, repo, reference, referrer).expect(201)
        assert reply["OCI-Subject"] == subject["digest"]
    assert put_manifest(client, repo, "plain", image(b"{}")).expect(201).get("OCI-Subject") is None


# --- end-9 ----------------------------------------------------------------------------------


def test_deleting_a_tag_keeps_the_manifest_and_the_other_tags(client, repo):
    manifest = push_image(client, repo, repo, "v1")
    put_manifest(client, repo, "v2", manifest).expect(201)
    client.delete(url(repo, "v1")).expect(202)
    client.head(url(repo, "v1")).expect(404)
    client.delete(url(repo, "v1")).refused(404, "MANIFEST_UNKNOWN")
    assert client.get(url(repo, "v2")).body == manifest
    assert client.get(url(repo, digest_of(manifest))).body == manifest
    assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == ["v2"]


def test_deleting_a_manifest_takes_its_tags_along_and_no_other(client, repo):
    first, second = many_images(client, repo, 2)
    put_manifest(client, repo, digest_of(first), first, tags=["a", "b", "moved"]).expect(201)
    put_manifest(client, repo, digest_of(second), second, tags=["c", "moved"]).expect(201)
    client.delete(url(repo, digest_of(first))).expect(202)
    for gone in ("a", "b", digest_of(first)):
        client.head(url(repo, gone)).expect(404)
        client.get(url(repo, gone)).refused(404, "MANIFEST_UNKNOWN")
    for stays in ("c", "moved", digest_of(second)):
        assert client.get(url(repo, stays)).expect(200).body == second
    assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == ["c", "moved"]


def test_a_deleted_manifest_can_be_pushed_again(client, repo):
    manifest = many_images(client, repo, 1)[0]
    for _ in range(3):
        put_manifest(client, repo, "v1", manifest).expect(201)
        client.delete(url(repo, digest_of(manifest))).expect(202)
        client.head(url(repo, "v1")).expect(404)
        client.delete(url(repo, digest_of(manifest))).refused(404, "MANIFEST_UNKNOWN")


def test_deleting_an_index_keeps_its_children(client, repo):
    child = many_images(client, repo, 1)[0]
    put_manifest(client, repo, digest_of(child), child).expect(201)
    parent = index([child])
    put_manifest(client, repo, "all", parent).expect(201)
    client.delete(url(repo, digest_of(parent))).expect(202)
    assert client.get(url(repo, digest_of(child))).expect(200).body == child


# --- compare-and-swap -----------------------------------------------------------------------


def test_a_swap_from_the_current_digest_succeeds_and_from_an_older_one_fails(client, repo):
    first, second, third = many_images(client, repo, 3)
    put_manifest(client, repo, "v1", first).expect(201)
    etag = client.head(url(repo, "v1"))["ETag"]
    put_manifest(client, repo, "v1", second, ("If-Match", etag)).expect(201)
    reply = put_manifest(client, repo, "v1", third, ("If-Match", etag)).refused(412, "DENIED")
    assert reply["ETag"] == f'"{digest_of(second)}"'
    assert client.get(url(repo, "v1")).body == second
    client.get(url(repo, digest_of(third))).refused(404, "MANIFEST_UNKNOWN")


def test_if_none_match_star_creates_a_tag_only_where_there_is_none(client, repo):
    first, second = many_images(client, repo, 2)
    absent = ("If-None-Match", "*")
    put_manifest(client, repo, "v1", first, absent).expect(201)
    put_manifest(client, repo, "v1", second, absent).refused(412, "DENIED")
    assert client.get(url(repo, "v1")).body == first
    client.delete(url(repo, "v1")).expect(202)
    put_manifest(client, repo, "v1", second, absent).expect(201)


def test_if_match_star_moves_a_tag_only_where_there_is_one(client, repo):
    first, second = many_images(client, repo, 2)
    present = ("If-Match", "*")
    reply = put_manifest(client, repo, "v1", first, present).refused(412, "DENIED")
    assert reply.get("ETag") is None
    put_manifest(client, repo, "v1", first).expect(201)
    put_manifest(client, repo, "v1", second, present).expect(201)


def test_a_weak_etag_never_lets_a_write_through(client, repo):
    first, second = many_images(client, repo, 2)
    put_manifest(client, repo, "v1", first).expect(201)
    weak = ("If-Match", f'W/"{digest_of(first)}"')
    put_manifest(client, repo, "v1", second, weak).refused(412, "DENIED")


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["", "sha256:abc", '"a" "b"', '"open', "*, *", ","])
def test_a_malformed_condition_refuses_the_write(client, repo, header, value):
    manifest = many_images(client, repo, 1)[0]
    put_manifest(client, repo, "v1", manifest, (header, value)).refused(400, "UNSUPPORTED")
    client.get(url(repo, "v1")).refused(404, "MANIFEST_UNKNOWN")
    put_manifest(client, repo, "v1", manifest).expect(201)
    client.delete(url(repo, "v1"), (header, value)).refused(400, "UNSUPPORTED")


def test_conditions_in_two_header_lines_count_as_one_list(client, repo):
    first, second = many_images(client, repo, 2)
    put_manifest(client, repo, "v1", first).expect(201)
    lines = [("If-Match", '"other"'), ("If-Match", f'"{digest_of(first)}"')]
    put_manifest(client, repo, "v1", second, *lines).expect(201)
    lines = [("If-None-Match", '"other"'), ("If-None-Match", f'"{digest_of(second)}"')]
    put_manifest(client, repo, "v1", first, *lines).refused(412, "DENIED")


def test_delete_of_a_tag_obeys_if_match(client, repo):
    first, second = many_images(client, repo, 2)
    put_manifest(client, repo, "v1", first).expect(201)
    old = ("If-Match", f'"{digest_of(first)}"')
    put_manifest(client, repo, "v1", second).expect(201)
    client.delete(url(repo, "v1"), old).refused(412, "DENIED")
    assert client.get(url(repo, "v1")).body == second
    client.delete(url(repo, "v1"), ("If-Match", f'"{digest_of(second)}"')).expect(202)
    client.delete(url(repo, "v1"), ("If-Match", "*")).refused(412, "DENIED")


def test_of_many_swaps_from_one_digest_exactly_one_wins(registry, repo):
    count = 12
    with registry.client() as client:
        base, *rivals = many_images(client, repo, count + 1)
        put_manifest(client, repo, "v1", base).expect(201)
    ready = threading.Barrier(count)

    def swap(rival: bytes) -> int:
        with registry.client() as client:
            client.head("/v2/")
            ready.wait()
            condition = ("If-Match", f'"{digest_of(base)}"')
            return put_manifest(client, repo, "v1", rival, condition).status

    with ThreadPoolExecutor(count) as threads:
        statuses = list(threads.map(swap, rivals))
    assert sorted(statuses) == [201] + [412] * (count - 1)
    with registry.client() as client:
        assert client.get(url(repo, "v1")).body == rivals[statuses.index(201)]


def test_of_many_creations_of_one_tag_exactly_one_wins(registry, repo):
    count = 12
    with registry.client() as client:
        rivals = many_images(client, repo, count)
    ready = threading.Barrier(count)

    def create(rival: bytes) -> int:
        with registry.client() as client:
            client.head("/v2/")
            ready.wait()
            return put_manifest(client, repo, "v1", rival, ("If-None-Match", "*")).status

    with ThreadPoolExecutor(count) as threads:
        statuses = list(threads.map(create, rivals))
    assert sorted(statuses) == [201] + [412] * (count - 1)
    with registry.client() as client:
        assert client.get(url(repo, "v1")).body == rivals[statuses.index(201)]


# --- several at once ------------------------------------------------------------------------


def test_of_concurrent_puts_to_one_tag_one_stands_and_all_manifests_stay(registry, repo):
    """C12: no 201 is a lie, and the loser of a race for the tag is still there by digest."""
    with registry.client() as client:
        rivals = many_images(client, repo, 16)

    def put(rival: bytes) -> int:
        with registry.client() as client:
            return put_manifest(client, repo, "latest", rival).status

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(put, rivals)) == [201] * 16
    with registry.client() as client:
        assert client.get(url(repo, "latest")).expect(200).body in rivals
        for rival in rivals:
            assert client.get(url(repo, digest_of(rival))).expect(200).body == rival


def test_parallel_first_pushes_make_one_repository(registry, repo):
    """C16."""

    def push(number: int) -> None:
        with registry.client() as client:
            push_image(client, repo, number, f"v{number:02}")

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(push, range(20)))
    with registry.client() as client:
        tags = client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]
        assert tags == [f"v{number:02}" for number in range(20)]
        repositories = client.get("/v2/_catalog").expect(200).json()["repositories"]
        assert repositories.count(repo) == 1


def test_the_last_push_wins_though_the_clock_runs_backwards(client, repo, monkeypatch):
    """C25: versions order a tag's changes, wall clocks don't."""
    times = iter(range(10_000, 0, -10))
    monkeypatch.setattr("registry.service.tags.time.time", lambda: float(next(times)))
    for manifest in many_images(client, repo, 5):
        put_manifest(client, repo, "latest", manifest).expect(201)
        assert client.get(url(repo, "latest")).body == manifest


def test_a_tag_that_is_pushed_while_its_manifest_is_deleted_resolves_or_is_gone(registry, repo):
    """Whatever the order, the tag never names a manifest that is not there."""
    with registry.client() as client:
        manifest = many_images(client, repo, 1)[0]
        put_manifest(client, repo, "v0", manifest).expect(201)
    stop = threading.Event()

    def delete() -> None:
        with registry.client() as client:
            while not stop.is_set():
                assert client.delete(url(repo, digest_of(manifest))).status in (202, 404)

    def look() -> None:
        with registry.client() as client:
            while not stop.is_set():
                for tag in client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]:
                    assert client.get(url(repo, tag)).status in (200, 404)

    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(delete), threads.submit(look)]
        with registry.client() as client:
            for number in range(60):
                put_manifest(client, repo, f"v{number % 4}", manifest).expect(201)
        stop.set()
        for worker in workers:
            worker.result(20)
    with registry.client() as client:
        here = client.head(url(repo, digest_of(manifest))).status == 200
        tags = client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]
        assert here or not tags
        for tag in tags:
            assert client.get(url(repo, tag)).expect(200).body == manifest


def test_layers_named_twice_are_fine(client, repo):
    layer = random_bytes(repo, 10)
    push_blob(client, repo, b"{}")
    push_blob(client, repo, layer)
    manifest = image(b"{}", [layer, layer], annotations={"a": "b"})
    put_manifest(client, repo, "v1", manifest).expect(201)
    assert OCI_LAYER in client.get(url(repo, "v1")).body.decode()
