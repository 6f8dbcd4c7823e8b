"""Real clients in the one repository that all projects of a platform are shown in.

After the platform's `DockerImageController` with `settings.isManagedDockerRegistry()`: a project's
images are told apart by a prefix of the tag. The layout has no project of its own here: all that
there is in it are the images of demo and other.
"""

import json
import tempfile
from pathlib import Path

import pytest

from tests.clients.secured import make_client, running, said
from tests.fixtures.projects import PASSWORD

pytestmark = pytest.mark.timeout(300)

SHARED = "hops/app"
CLIENTS = ["docker", "containerd", "crane"]


@pytest.fixture(scope="module")
def registry():
    with running(f'[platform]\nshared_repository = "{SHARED}"\n') as made:
        made.put_secret(SHARED, "other__v1")
        yield made


@pytest.fixture(params=CLIENTS)
def client(request, registry):
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield make_client(request.param, request, Path(home), registry)


def tags_of(registry, who):
    return json.loads(registry.ask("GET", f"/v2/{SHARED}/tags/list", who)[1])["tags"]


def test_an_image_is_pushed_pulled_and_deleted_by_a_projects_tag(
    client, registry, image, other_image
):
    own = f"{registry.address}/{SHARED}:demo__1-{client.name}.0"
    tag = own.rpartition(":")[2]
    client.login("alice", PASSWORD)  # an owner of two projects
    client.load(image, own)
    client.run(*client.push_arguments(image, own))
    assert client.pull(own, image.layers) == image.layers
    assert tag in tags_of(registry, "alice")
    assert tags_of(registry, "bob") == ["other__v1"]
    assert registry.ask("GET", f"/v2/demo/app/manifests/{tag}", "alice")[0] == 200
    client.login("demo+pull", registry.robots["demo+pull"])
    assert client.pull(own, image.layers) == image.layers
    for tag in ("demo__by-robot", "other__v1", "absent__v1", "latest"):
        name = f"{registry.address}/{SHARED}:{tag}"
        client.load(other_image, name)
        assert said(client.run, *client.push_arguments(other_image, name))
    for tag in ("other__v1", "absent__v1"):
        assert said(client.pull, f"{registry.address}/{SHARED}:{tag}", image.layers)
    if client.name == "crane":
        client.login("alice", PASSWORD)
        client.tag(own, "demo__1-tagged.0")
        small = f"{registry.address}/{SHARED}:small__1-copied.0"
        assert "quota of 1000 B has" in said(client.run, "copy", own, small)
        client.delete(own)
        assert [each for each in tags_of(registry, "alice") if "crane" in each] == []
        assert "demo__1-tagged.0" in tags_of(registry, "alice")
