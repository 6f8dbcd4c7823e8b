"""What Hopsworks and its scripts rely on from a registry in the place of Distribution.

Each test is named after the behaviour that it keeps.
"""

import json

import pytest

from tests.oracle.content import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
)


class TestHopsworksConsulHealthCheck:
    def test_the_root_answers_2xx_without_credentials(self, client):
        assert client.get("/").expect(200)

    def test_the_api_root_answers_200(self, client):
        assert client.get("/v2/").expect(200).json() == {}


class TestHopsworksTagListing:
    def test_the_list_without_n_is_whole(self, client, repo):
        push_blob(client, repo, b"{}")
        manifest = image(b"{}")
        tags = [f"project-{number}-base-1.2.{number}" for number in range(250)]
        for at in range(0, 250, 50):
            some = tags[at : at + 50]
            put_manifest(client, repo, digest_of(manifest), manifest, tags=some).expect(201)
        reply = client.get(f"/v2/{repo}/tags/list").expect(200)
        assert reply.json() == {"name": repo, "tags": sorted(tags)}
        assert reply.get("Link") is None

    def test_a_content_type_on_the_get_does_no_harm(self, client, repo):
        push_image(client, repo, repo, "v1")
        header = ("Content-Type", "application/json")
        assert client.get(f"/v2/{repo}/tags/list", header).expect(200).json()["tags"] == ["v1"]

    def test_a_repository_without_tags_has_an_empty_list_never_null(self, client, repo):
        push_image(client, repo, repo)
        assert client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"] == []

    def test_an_unknown_repository_is_name_unknown(self, client, repo):
        client.get(f"/v2/{repo}/tags/list").refused(404, "NAME_UNKNOWN")

    def test_the_delete_loop_that_reads_the_first_tag_each_time_ends(self, client, repo):
        """The script lists, deletes the first tag's digest, and lists again until none is left."""
        for number in range(6):
            push_image(client, repo, number // 2, f"v{number}")
        for _ in range(10):
            tags = client.get(f"/v2/{repo}/tags/list").expect(200).json()["tags"]
            if not tags:
                break
            digest = client.head(f"/v2/{repo}/manifests/{tags[0]}")["Docker-Content-Digest"]
            client.delete(f"/v2/{repo}/manifests/{digest}").expect(202)
        assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == []


class TestHopsworksDigestLookup:
    @pytest.mark.parametrize("accept", [DOCKER_MANIFEST, f"{DOCKER_MANIFEST}, {DOCKER_LIST}"])
    @pytest.mark.parametrize("method", ["HEAD", "GET"])
    def test_accepting_only_docker_types_still_gives_an_oci_manifests_digest(
        self, client, repo, accept, method
    ):
        manifest = push_image(client, repo, repo, "v1")
        listing = index([manifest])
        put_manifest(client, repo, "all", listing).expect(201)
        for tag, stored in (("v1", manifest), ("all", listing)):
            reply = client.request(method, f"/v2/{repo}/manifests/{tag}", [("Accept", accept)])
            assert reply.expect(200)["Docker-Content-Digest"] == digest_of(stored)


class TestHopsworksImageDeletion:
    def test_deleting_a_digest_removes_all_its_tags(self, client, repo):
        manifest = push_image(client, repo, repo, "v1")
        put_manifest(client, repo, "v2", manifest).expect(201)
        push_image(client, repo, "other", "v3")
        client.delete(f"/v2/{repo}/manifests/{digest_of(manifest)}").expect(202)
        assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == ["v3"]

    def test_deleting_it_again_is_404(self, client, repo):
        manifest = push_image(client, repo, repo, "v1")
        client.delete(f"/v2/{repo}/manifests/{digest_of(manifest)}").expect(202)
        again = client.delete(f"/v2/{repo}/manifests/{digest_of(manifest)}")
        again.refused(404, "MANIFEST_UNKNOWN")

    def test_an_empty_reference_matches_nothing(self, client, repo):
        manifest = push_image(client, repo, repo, "v1")
        for target in (
            f"/v2/{repo}/manifests/",
            f"/v2/{repo}/manifests",
            f"/v2/{repo}/",
            f"/v2/{repo}",
        ):
            client.delete(target).expect(404).code()
        assert client.get(f"/v2/{repo}/manifests/v1").expect(200).body == manifest

    def test_a_head_of_null_is_404(self, client, repo):
        push_image(client, repo, repo, "v1")
        client.head(f"/v2/{repo}/manifests/null").expect(404)

    def test_deleting_one_project_leaves_those_with_like_names(self, client, repo):
        """A prefix of a name is not the name: demo, demo_x, demo1, base, hopsworks-base/python."""
        stem = repo.replace("/", "-")
        others = [f"{stem}_x", f"{stem}1", f"{stem}/a", f"x-{stem}", f"hopsworks-base/{stem}"]
        kept = {other: push_image(client, other, other, "v1") for other in others}
        manifest = push_image(client, stem, stem, "v1")
        client.delete(f"/v2/{stem}/manifests/{digest_of(manifest)}").expect(202)
        for blob in json.loads(manifest)["layers"] + [json.loads(manifest)["config"]]:
            client.delete(f"/v2/{stem}/blobs/{blob['digest']}").expect(202)
        assert client.get(f"/v2/{stem}/tags/list").expect(200).json()["tags"] == []
        for other, stored in kept.items():
            assert client.get(f"/v2/{other}/manifests/v1").expect(200).body == stored
            for layer in json.loads(stored)["layers"]:
                client.get(f"/v2/{other}/blobs/{layer['digest']}").expect(200)


class TestHopsworksCloneEnvironment:
    def test_a_clone_is_mounts_and_a_manifest_with_no_bytes_moved(self, client, repo):
        manifest = push_image(client, repo, repo, "v1")
        clone = f"{repo}/clone/of/environment"
        document = json.loads(manifest)
        for blob in [document["config"], *document["layers"]]:
            mount = f"/v2/{clone}/blobs/uploads/?mount={blob['digest']}&from={repo}"
            client.post(mount).expect(201)
        put_manifest(client, clone, "v1", manifest).expect(201)
        assert client.get(f"/v2/{clone}/manifests/v1").body == manifest

    def test_a_tag_is_copied_by_putting_its_manifest_again(self, client, repo):
        """What `crane tag` does."""
        manifest = push_image(client, repo, repo, "v1")
        put_manifest(client, repo, "prod", manifest).expect(201)
        assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == ["prod", "v1"]

    @pytest.mark.parametrize("depth", [3, 5, 20])
    def test_nested_names_work(self, client, repo, depth):
        name = "/".join([repo, *(f"p{number}" for number in range(depth - 2))])
        manifest = push_image(client, name, name, "v1")
        assert client.get(f"/v2/{name}/manifests/v1").body == manifest
        assert client.get(f"/v2/{name}/tags/list").json() == {"name": name, "tags": ["v1"]}


class TestHopsworksNames:
    def test_an_upper_case_project_is_name_invalid(self, client):
        client.post("/v2/My_Project/app/blobs/uploads/").refused(400, "NAME_INVALID")
        client.post("/v2/my_project/app/blobs/uploads/").expect(202)

    def test_a_project_named_as_a_part_of_the_api_works(self, client, repo):
        """`manifests`, `blobs`, `tags`, `uploads` and `list` are names like others."""
        for name in ("manifests", "blobs/uploads", "tags/list", "list/tags", "referrers/blobs"):
            full = f"{repo}/{name}"
            manifest = push_image(client, full, full, "list")
            assert client.get(f"/v2/{full}/manifests/list").expect(200).body == manifest
            assert client.get(f"/v2/{full}/tags/list").expect(200).json()["tags"] == ["list"]


class TestHopsworksSharedLayers:
    def test_two_projects_share_the_bytes_of_a_layer_and_outlive_each_other(self, serve):
        local = serve("filesystem")
        data = random_bytes(0, 500_000)
        with local.client() as client:
            digest = push_blob(client, "one/app", data)
            before = [key for key in local.census() if key.startswith("data/")]
            push_blob(client, "two/app", data)
            local.flush()
            assert [key for key in local.census() if key.startswith("data/")] == before
            client.delete(f"/v2/one/app/blobs/{digest}").expect(202)
            assert client.get(f"/v2/two/app/blobs/{digest}").expect(200).body == data
