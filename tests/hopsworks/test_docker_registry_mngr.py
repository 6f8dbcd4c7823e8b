"""What the platform's `DockerRegistryMngrImpl`, `DockerImageController`, `ProjectUtils` and
`LibraryInstaller` do with images, by a platform whose projects are kept here.

Its scripts are played as they are: a list without `n`, the first tag's digest by an `Accept` of
Docker's schema 2 alone, a deletion by digest, until the list is empty. Members log in with API keys
that the platform is asked about. What a registry without projects does of it is in
`tests/http/test_hopsworks_contract.py`; that another replica tells the same at once, in
`tests/http/test_two_replicas.py`.
"""

import json

import pytest

from auth.roles import Visibility
from tests.auth.tenants import basic, bearer, tenants
from tests.hopsworks.platform import running_apart
from tests.management.api import Api, problem
from tests.oracle.content import (
    DOCKER_MANIFEST,
    image,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
)

BASE = {"repository": "base", "reference": "3.7.0"}
TAG = "1611136370296-3.7.0.0"


@pytest.fixture(scope="module")
def there():
    with running_apart() as platform:
        yield platform


@pytest.fixture(scope="module")
def registry(there):
    settings = {
        "auth.hopsworks.url": there.url,
        "auth.hopsworks.cache_seconds": 0.0,
        "auth.hopsworks.grace_seconds": 0.0,
        "platform.service": "user:platform",
    }
    with tenants(settings=settings) as registry:
        registry.user("adm")
        registry.user("platform")
        for name in ("base", "python310", "hopsworks-base"):
            registry.project(name, Visibility.INTERNAL, adm="owner")
        with registry.caller(basic("adm")) as caller:
            for name in ("base", "python310", "hopsworks-base/torch/inference"):
                push_image(caller, name, name, "3.7.0")
        yield registry


@pytest.fixture
def service(registry):
    return Api(registry, basic("platform"))


@pytest.fixture
def made(there, registry, service):
    """Make a project there and, with its environment, here; return its number."""

    def make(name, environment="", **team):
        number = there.project(name, **team)
        wanted = {**BASE, "environment": environment, "tag": TAG}
        path = f"/platform/projects/{number}"
        service.put(path, {"name": name, "environment": wanted}).expect(200)
        return number

    return make


@pytest.fixture
def delete(there, service):
    """Delete a project there, and tell."""

    def end(number):
        there.delete(number)
        service.delete(f"/platform/projects/{number}").expect(204)

    return end


@pytest.fixture
def member(there, registry):
    """A client of a user, who logs in with an API key of the platform."""
    return lambda username: registry.caller(basic("any", there.api_key(username)))


def tags_of(client, repository):
    kind = ("Content-Type", "application/json")
    return client.get(f"/v2/{repository}/tags/list", kind).expect(200).json()["tags"]


def delete_images(client, repository):
    """`dockerImage.sh delete`, once for each tag that was there."""
    for _ in tags_of(client, repository):
        tags = tags_of(client, repository)
        if not tags:
            return
        accept = ("Accept", DOCKER_MANIFEST)
        found = client.head(f"/v2/{repository}/manifests/{tags[0]}", accept).expect(200)
        digest = found["Docker-Content-Digest"]
        client.delete(f"/v2/{repository}/manifests/{digest}").expect(202)


def test_each_library_is_a_version_on_top_of_the_one_before(registry, made, member):
    """`LibraryInstaller.getNextDockerImageName`: `<ms>-<version>.<n>`, all in one repository."""
    made("Libraries", ann10000="Data scientist")
    with member("ann10000") as ann:
        body = ann.get(f"/v2/libraries/manifests/{TAG}").expect(200).body
        assert json.loads(body)["layers"]
        for number in range(1, 4):
            layer = random_bytes(number, 1000)
            push_blob(ann, "libraries", layer)
            grown = image(b"{}", [layer])
            push_blob(ann, "libraries", b"{}")
            put_manifest(ann, "libraries", f"{TAG[:-1]}{number}", grown).expect(201)
        assert tags_of(ann, "libraries") == [f"{TAG[:-1]}{number}" for number in range(4)]


def test_deleting_images_one_after_the_other_ends_with_an_empty_list(registry, made):
    """`deleteProjectDockerImage`: tags are read again after each, and are never null."""
    made("Emptied")
    with registry.caller(basic("platform")) as service:
        for number in range(5):
            push_image(service, "emptied", number // 2, f"v{number}")
        delete_images(service, "emptied")
        assert tags_of(service, "emptied") == []
        delete_images(service, "emptied")
        for reference in ("", "null"):
            service.delete(f"/v2/emptied/manifests/{reference}").expect(404)


def test_the_end_of_a_project_takes_nothing_of_others(registry, made, delete, service):
    """HOPSWORKS-2307, HWORKS-156, HWORKS-211: like names, and names of images of the platform."""
    number = made("demo")
    others = ["demo_x", "demo1", "Dem"]
    for name in others:
        made(name)
    delete(number)
    with registry.caller(basic("platform")) as caller:
        caller.get("/v2/demo/tags/list").refused(404, "NAME_UNKNOWN")
        for name in (*map(str.lower, others), "base", "python310"):
            tag = TAG if name not in ("base", "python310") else "3.7.0"
            body = caller.get(f"/v2/{name}/manifests/{tag}").expect(200).body
            for layer in json.loads(body)["layers"]:
                caller.get(f"/v2/{name}/blobs/{layer['digest']}").expect(200)
        caller.get("/v2/hopsworks-base/torch/inference/manifests/3.7.0").expect(200)


@pytest.mark.parametrize("name", ["base", "Base", "PYTHON310", "git", "v2", "onlinefs"])
def test_a_project_is_never_called_as_a_base_is(service, there, name):
    reply = service.put(f"/platform/projects/{there.project('x')}", {"name": name})
    assert problem(reply, 400) == "project-name-invalid"


def test_bases_are_for_all_to_pull_and_for_their_owners_to_push(registry, made, member):
    """Also by a prefix of the tag, as in the layout of managed clouds, which is refused."""
    made("Puller", ann10000="Data owner")
    with member("ann10000") as ann, registry.caller(None) as nobody:
        for repository in ("base", "python310", "hopsworks-base/torch/inference"):
            body = ann.get(f"/v2/{repository}/manifests/3.7.0").expect(200).body
            for tag in ("3.7.0", f"puller__{TAG}"):
                put_manifest(ann, repository, tag, body).refused(403, "DENIED")
            ann.delete(f"/v2/{repository}/manifests/3.7.0").refused(403, "DENIED")
            ann.post(f"/v2/{repository}/blobs/uploads/").refused(403, "DENIED")
            nobody.get(f"/v2/{repository}/manifests/3.7.0").expect(401)


def test_a_project_made_again_has_nothing_of_the_old_one(registry, there, made, delete, member):
    """Tags, blobs, uploads, catalog, and a token that was had before: tenants are numbers."""
    number = made("Again", "env", old10000="Data owner", ann10000="Data owner")
    with member("old10000") as old:
        secret = random_bytes("again", 5000)
        digest = push_blob(old, "again/env", secret)
        push_image(old, "again/env", "old", "mine")
        session = old.post("/v2/again/env/blobs/uploads/").expect(202)["Location"]
    key = basic("any", there.api_key("ann10000"))
    token = bearer(registry.token(key, "repository:again/env:pull,push"))
    delete(number)
    made("AGAIN", ann10000="Data owner")
    with member("ann10000") as ann:
        assert tags_of(ann, "again") == [TAG]
        ann.get("/v2/again/env/tags/list").refused(404, "NAME_UNKNOWN")
        ann.head(f"/v2/again/blobs/{digest}").expect(404)
        ann.get(f"/v2/again/env/blobs/{digest}").refused(404, "BLOB_UNKNOWN")
        ann.get(session).refused(404, "BLOB_UPLOAD_UNKNOWN")
        mount = f"/v2/again/blobs/uploads/?mount={digest}&from=again/env"
        ann.post(mount).expect(202)
        listed = ann.get("/v2/_catalog").expect(200).json()["repositories"]
        assert [name for name in listed if name.startswith("again")] == ["again"]
    with registry.caller(token) as caller:
        caller.get(f"/v2/again/manifests/{TAG}").expect(401)
    with member("old10000") as old:
        old.get("/v2/again/tags/list").refused(404, "NAME_UNKNOWN")


def test_roles_as_the_platform_has_them(registry, there, made, member):
    """`ProjectRoleTypes`; what changes there counts with the next request, with nothing kept."""
    number = made(
        "Roles",
        own10000="Data owner",
        sci10000="Data scientist",
        obs10000="Observer",
        fsr10000="Feature store restricted",
        rem10000="Under removal",
    )

    def may(username):
        with member(username) as client:
            pulls = client.get(f"/v2/roles/manifests/{TAG}").status
            pushes = client.post("/v2/roles/blobs/uploads/").status
            deletes = client.delete("/v2/roles/manifests/none").status
        return pulls, pushes, deletes

    assert may("own10000") == (200, 202, 404)
    assert may("sci10000") == (200, 202, 403)
    assert may("obs10000") == may("fsr10000") == (200, 403, 403)
    assert may("rem10000") == may("stranger") == (404, 404, 404)
    there.teams[number]["sci10000"] = "Observer"
    assert may("sci10000") == (200, 403, 403)
    del there.teams[number]["own10000"]
    assert may("own10000") == (404, 404, 404)


def test_the_case_of_a_name(registry, made, member):
    """`ProjectUtils`: images are lower-cased; a client that does not is told what is wrong."""
    made("My_Project", "gpu/torch/v2", ann10000="Data owner")
    with member("ann10000") as ann:
        ann.get(f"/v2/My_Project/gpu/torch/v2/manifests/{TAG}").refused(400, "NAME_INVALID")
        assert tags_of(ann, "my_project/gpu/torch/v2") == [TAG]


def test_an_environment_is_cloned_and_tagged_without_a_byte(registry, made, member, there):
    """`DockerImageController.tag`, and the clone of an environment: one call each."""
    made("Cloner", "python-app", ann10000="Data scientist")
    ann = Api(registry, basic("any", there.api_key("ann10000")))
    source = {"repository": "cloner/python-app", "reference": TAG}
    for target in ("cloner:clone", "cloner:python-app"):
        path = f"/repositories/{target}/tags/v2"
        assert ann.put(path, source).expect(200).json()["digest"]
    foreign = {"repository": "roles", "reference": TAG}
    assert problem(ann.put("/repositories/cloner:clone/tags/v3", foreign), 404)


def test_the_platform_asks_whether_the_registry_is_alive_without_credentials(registry):
    """Consul's check: `curl --fail https://<host>:<port>` of the root."""
    with registry.caller(None) as nobody:
        nobody.get("/").expect(200)
        assert nobody.get("/v2/").expect(401)["WWW-Authenticate"]
