"""Pull secrets as Kubernetes keeps them, and real clients that log in with nothing else."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.clients.kubernetes import Namespace
from tests.clients.secured import Registry, make_client, said
from tests.fixtures.projects import PASSWORD

pytestmark = pytest.mark.timeout(300)

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def registry():
    with tempfile.TemporaryDirectory(prefix="secrets-") as home:
        made = Registry(Path(home), public=True)
        made.process.start()
        try:
            made.put_secret()
            yield made
        finally:
            made.process.kill()
        made.process.check_log()


@pytest.fixture
def client(request, registry):
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield make_client(request.param, request, Path(home), registry)


@pytest.fixture
def pushed(client, registry, image):
    """An image of the project, by its whole name."""
    name = f"{registry.address}/demo/env-{client.name}:v1"
    client.login("alice", PASSWORD)
    client.push(image, name)
    return name


def moorage(registry, *arguments):
    """Run a command as alice; return what it printed."""
    told = {
        "MOORAGE_URL": f"https://{registry.address}",
        "MOORAGE_CA_FILE": str(registry.ca_file),
        "MOORAGE_TOKEN": f"alice:{PASSWORD}",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-m", "registry", *arguments],
        env=told, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def issued(registry, name, overlap):
    """A new pull secret, by the API."""
    body = json.dumps({"overlap_seconds": overlap}).encode()
    path = f"/api/v1/projects/demo/pull-secrets/{name}"
    status, answer = registry.ask("POST", path, "alice", body, JSON)
    assert status == 201, answer
    return json.loads(answer)["manifest"]


@pytest.mark.parametrize("client", ["containerd", "skopeo", "crane"], indirect=True)
def test_the_secret_pulls_until_it_is_revoked(client, registry, image, pushed):
    namespace = Namespace("demo")
    namespace.apply(yaml.safe_load(moorage(registry, "pull-secret", "issue", "demo")))
    show(client, namespace, registry.address)
    assert client.pull(pushed, image.layers) == image.layers
    assert said(client.pull, f"{registry.address}/other/secret:v1", image.layers)
    other = f"{registry.address}/demo/by-{client.name}:v1"
    client.load(image, other)
    assert said(client.run, *client.push_arguments(image, other))
    moorage(registry, "pull-secret", "revoke", "demo")
    for _ in range(6):  # both workers
        assert said(client.pull, pushed, image.layers)


def show(client, namespace, address):
    """Let the client have the Secret's content, as it is, and no other login."""
    if client.name == "containerd":
        client.login(*namespace.login(address))
        return
    (client.home / "auth.json").write_bytes(namespace.docker_config())
    docker = client.home / ".docker"
    docker.mkdir(exist_ok=True)
    (docker / "config.json").write_bytes(namespace.docker_config())


@pytest.mark.parametrize("client", ["containerd"], indirect=True)
def test_a_rotation_in_the_midst_of_pulls_fails_none(client, registry, image, pushed):
    """Each new Secret reaches the cluster late, and what was read of the old one is used later."""
    namespace = Namespace("demo")
    namespace.apply(issued(registry, "kubelet", 60))
    first = namespace.login(registry.address)
    pulls, failures, over = [], [], threading.Event()

    def pull():
        while not over.is_set():
            login = namespace.login(registry.address)
            time.sleep(0.1)
            client.login(*login)
            try:
                assert client.pull(pushed, image.layers) == image.layers
                pulls.append(login)
            except (subprocess.CalledProcessError, AssertionError) as error:
                failures.append(error)

    puller = threading.Thread(target=pull)
    puller.start()
    with contextlib.ExitStack() as stack:
        stack.callback(puller.join)
        stack.callback(over.set)
        for _ in range(3):
            enough = len(pulls) + 2
            manifest = issued(registry, "kubelet", 60)
            eventually(lambda enough=enough: len(pulls) >= enough or failures)
            namespace.apply(manifest)
            eventually(lambda enough=enough: len(pulls) >= enough + 2 or failures)
    assert not failures
    assert len(set(pulls)) == 4  # the first one, and each of the new
    # Without a window all older ones end.
    namespace.apply(issued(registry, "kubelet", 0))
    client.login(*namespace.login(registry.address))
    assert client.pull(pushed, image.layers) == image.layers
    for login in (first, *set(pulls)):
        client.login(*login)
        assert said(client.pull, pushed, image.layers)


def eventually(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
