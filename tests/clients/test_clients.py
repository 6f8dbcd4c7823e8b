"""Real clients against the registry: two workers, file-system store."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.relay import Relay
from tests.clients import raw
from tests.clients.conftest import OTHER_REGISTRY
from tests.clients.content import MIB, LayoutWriter

pytestmark = pytest.mark.timeout(400)

SMALL = 200_000
"""Bytes: more than manifests, configurations and requests take, much less than a layer."""


@pytest.fixture
def repository(client, request):
    """A repository that no other test uses, nor an earlier run on a registry that was left on."""
    test = request.function.__name__.removeprefix("test_").replace("_", "-")
    return f"{client.name}-{os.getpid()}/{test}"


@pytest.fixture
def reference(relay, repository):
    return f"{relay.address}/{repository}:first"


def test_what_is_pulled_is_what_was_pushed(client, relay, image, repository, reference):
    client.push(image, reference)
    assert client.pull(reference, image.layers) == image.layers
    raw.check_image(relay.address, repository, "first")


def test_second_push_sends_no_layer(client, relay, image, reference):
    client.push(image, reference)
    relay.reset()
    client.run(*client.push_arguments(image, reference))
    assert 0 < relay.sent < SMALL


def test_tag_names_the_same_manifest(client, relay, image, repository, reference):
    client.push(image, reference)
    relay.reset()
    client.tag(reference, f"{relay.address}/{repository}:second")
    assert relay.sent < SMALL
    first, _ = raw.manifest(relay.address, repository, "first")
    assert raw.manifest(relay.address, repository, "second")[0] == first
    assert raw.tags(relay.address, repository) == ["first", "second"]


@pytest.mark.parametrize("client", ["docker", "podman", "crane"], indirect=True)
def test_a_deleted_repository_is_gone_and_can_be_pushed_again(
    client, relay, image, repository, reference
):
    if OTHER_REGISTRY:
        pytest.skip("only this registry has that route")
    client.push(image, reference)
    assert raw.delete_repository(relay.address, repository)["tags"] == 1
    assert repository not in raw.repositories(relay.address)
    assert not raw.has_manifest(relay.address, repository, "first")
    client.push(image, reference)
    assert repository in raw.repositories(relay.address)
    assert client.pull(reference, image.layers) == image.layers


@pytest.mark.parametrize("client", ["skopeo", "crane", "regctl", "oras"], indirect=True)
def test_deleted_tag_is_gone(client, relay, image, repository, reference):
    client.push(image, reference)
    client.delete(reference)
    assert raw.tags(relay.address, repository) == []
    assert not raw.has_manifest(relay.address, repository, "first")


def test_index_of_two_platforms(client, relay, index, repository, reference):
    client.push_index(index, reference)
    assert client.pull(reference, index.layers) == index.layers
    content = raw.check_image(relay.address, repository, "first")
    assert len(content["manifests"]) == 2


def test_killed_push_is_repeated(client, relay, big_image, repository, reference):
    """A client killed in mid-layer leaves nothing visible; pushing again brings the whole."""
    client.load(big_image, reference)
    client.kill_when_sent(32 * MIB, relay, client.push_arguments(big_image, reference))
    assert not raw.has_manifest(relay.address, repository, "first")
    assert raw.tags(relay.address, repository) == []

    client.run(*client.push_arguments(big_image, reference))
    assert client.pull(reference, big_image.layers) == big_image.layers
    raw.check_image(relay.address, repository, "first")


def test_a_layer_of_a_gib_is_pulled_as_it_was_pushed(client, huge_image, reference):
    client.push(huge_image, reference)
    assert client.pull(reference, huge_image.layers) == huge_image.layers


@pytest.mark.parametrize("client", ["docker"], indirect=True)
def test_push_outlives_a_killed_server(client, registry_server, contents, repository):
    """The server dies in mid-layer and is started again: the push that runs brings the whole.

    Of these clients only docker tries a broken upload again by itself.
    """
    server = registry_server("filesystem", workers=2)
    layout = LayoutWriter(contents / f"outlived-{client.name}", seed=client.name)
    image = layout.image([48 * MIB], compress=False)
    with Relay(server.address) as relay:
        reference = f"{relay.address}/{repository}:first"
        client.load(image, reference)
        relay.hold_after(16 * MIB)
        with ThreadPoolExecutor() as beside:
            push = beside.submit(client.run, *client.push_arguments(image, reference))
            assert relay.wait_until_held(60)
            server.kill()
            relay.cut()
            relay.release()
            server.start()
            push.result()
        assert client.pull(reference, image.layers) == image.layers
