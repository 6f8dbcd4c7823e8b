"""A registry with two workers on the file system, the clients, and images to push."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.relay import Relay
from tests.clients.client import Client, Crane, Oras, Regctl, Skopeo
from tests.clients.content import MIB, Layout, LayoutWriter
from tests.clients.engines import Buildah, Containerd, Docker, Podman
from tests.fixtures.programs import require_program, require_root

CLIENTS = ["docker", "podman", "buildah", "containerd", "skopeo", "crane", "regctl", "oras"]

OTHER_REGISTRY = os.environ.get("TEST_REGISTRY")
"""host:port of a registry that runs already: the same matrix against a peer."""

EVERY_GIB = bool(os.environ.get("MOORAGE_CLIENTS"))
"""Whether each client moves a layer of 1 GiB (`make clients`)."""

WITH_A_GIB = ["crane", "oras"]
"""Who does so in `make test` too. crane sends a layer as one PATCH that streams, as docker, podman,
buildah and skopeo do; oras as the body of the closing PUT, as containerd and regctl do."""


@pytest.fixture(scope="module")
def registry_address(module_registry_server) -> str:
    """host:port of the registry under test."""
    return OTHER_REGISTRY or module_registry_server("filesystem", workers=2).address


@pytest.fixture(scope="module", params=CLIENTS)
def client(request) -> Iterator[Client]:
    """Each client in turn, with an empty home and an empty store."""
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield _client(request, Path(home))


@pytest.fixture(scope="module")
def relay(client, registry_address) -> Iterator[Relay]:
    """A relay to the registry, at whose address clients know it.

    One for each client: skopeo, podman and buildah share a cache that remembers which layers a
    registry (by host and port) has, and would not push what another of them pushed.
    """
    with Relay(registry_address) as relay:
        yield relay


def _client(request, home: Path) -> Client:
    match request.param:
        case "docker":
            engine = request.getfixturevalue("docker_engine")
            return Docker(require_program("docker"), home, engine)
        case "containerd":
            engine = request.getfixturevalue("containerd_engine")
            return Containerd(require_program("ctr"), home, engine)
        case "podman" | "buildah":
            require_root(request.param)
            kind = {"podman": Podman, "buildah": Buildah}[request.param]
            return kind(require_program(request.param), home)
        case name:
            tools = {tool.name: tool for tool in (Skopeo, Crane, Regctl, Oras)}
            return tools[name](require_program(name), home)


@pytest.fixture(scope="session")
def contents() -> Iterator[Path]:
    """A directory for images that many tests push."""
    with tempfile.TemporaryDirectory(prefix="contents-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def image(contents) -> Layout:
    """An image of two compressed layers, 3 MiB together."""
    return LayoutWriter(contents / "image", seed=1).image([2 * MIB, MIB])


@pytest.fixture(scope="session")
def other_image(contents) -> Layout:
    """An image of one small layer that is none of the other's."""
    return LayoutWriter(contents / "other-image", seed=3).image([MIB])


@pytest.fixture(scope="session")
def index(contents) -> Layout:
    """An index of two platforms with a layer each."""
    return LayoutWriter(contents / "index", seed=2).index([MIB])


@pytest.fixture
def big_image(contents, client) -> Iterator[Layout]:
    """An image whose only layer is 96 MiB, not compressed: large enough to be killed in."""
    yield from _uncompressed(contents / "big", client, 96 * MIB)


@pytest.fixture
def huge_image(contents, client) -> Iterator[Layout]:
    """An image whose only layer is 1 GiB, not compressed."""
    if not (EVERY_GIB or client.name in WITH_A_GIB):
        pytest.skip(f"`make clients` moves a layer of 1 GiB with {client.name}")
    yield from _uncompressed(contents / "huge", client, 1024 * MIB)


def _uncompressed(directory: Path, client: Client, size: int) -> Iterator[Layout]:
    # Each client has its own: some would take another client's layer by mounting it.
    yield LayoutWriter(directory, seed=client.name).image([size], compress=False)
    shutil.rmtree(directory)
