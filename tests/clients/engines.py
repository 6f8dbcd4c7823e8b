"""Clients with an image store of their own: what they pull has to be forgotten first."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from tests.clients.client import Client, Layers
from tests.clients.content import Layout, layers_of_docker_archive, layers_of_layout
from tests.fixtures.daemons import Daemon


class Engine(Client):
    """A client that pushes what it has loaded, under the reference it was loaded as."""

    tagging: ClassVar[Sequence[str]] = ("tag",)
    pushing: ClassVar[Sequence[str]]

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        return [*self.pushing, reference]

    def tag(self, reference: str, other: str) -> None:
        self.run(*self.tagging, reference, other)
        self.run(*self.pushing, other)


class Docker(Engine):
    """The docker command with an engine of its own (classic image store)."""

    name = "docker"
    pushing = ("push",)

    def __init__(self, program: str, home: Path, engine: Daemon) -> None:
        super().__init__(program, home)
        self.environment["DOCKER_HOST"] = f"unix://{engine.socket}"

    def load(self, image: Layout, reference: str) -> None:
        self.run("load", feed=lambda stdin: image.write_docker_archive(stdin, reference))

    def push_index(self, index: Layout, reference: str) -> None:
        parts = []
        for image in index.images():
            (platform,) = image.layers
            parts.append(f"{reference}-{platform.replace('/', '-')}")
            self.push(image, parts[-1])
        self.run("manifest", "create", "--insecure", reference, *parts)
        self.run("manifest", "push", "--insecure", reference)

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        self.run("image", "prune", "--all", "--force")
        found: dict[str, list[str]] = {}
        for platform in platforms:
            self.run("pull", "--platform", platform, reference)
            found[platform] = layers_of_saved(self, "save", reference)
            self.run("rmi", "--force", reference)
        return found


class _Containers(Engine):
    """What podman and buildah have in common: containers/storage, `vfs`, in a directory of ours."""

    def command(self, *arguments: str) -> list[str]:
        store = ["--storage-driver=vfs", f"--root={self.home}/root", f"--runroot={self.home}/run"]
        return [self.program, *store, *arguments]

    def load(self, image: Layout, reference: str) -> None:
        archive = self.home / "image.tar"
        with archive.open("wb") as output:
            image.write_docker_archive(output, reference)
        self.run("pull", f"docker-archive:{archive}")
        archive.unlink()

    def push_index(self, index: Layout, reference: str) -> None:
        self.run("manifest", "create", reference)
        for image in index.images():
            (platform,) = image.layers
            part = f"{reference}-{platform.replace('/', '-')}"
            self.load(image, part)
            self.run("manifest", "add", reference, f"containers-storage:{part}")
        options = ["--all", "--tls-verify=false"]
        self.run("manifest", "push", *options, reference, f"docker://{reference}")


class Podman(_Containers):
    """podman."""

    name = "podman"
    pushing = ("push", "--tls-verify=false")

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        self.run("rmi", "--all", "--force")
        found: dict[str, list[str]] = {}
        for platform in platforms:
            self.run("pull", "--tls-verify=false", "--platform", platform, reference)
            found[platform] = layers_of_saved(self, "save", reference)
            self.run("rmi", "--force", reference)
        return found


class Buildah(_Containers):
    """buildah; pushes uncompressed, in OCI form, what the others push as docker made it."""

    name = "buildah"
    pushing = ("push", "--tls-verify=false", "--disable-compression", "--format=oci")

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        self.run("rmi", "--all", "--force")
        found: dict[str, list[str]] = {}
        for platform in platforms:
            self.run("pull", "--tls-verify=false", "--platform", platform, reference)
            directory = self.scratch("pulled")
            self.run("push", "--disable-compression", reference, f"oci:{directory}:image")
            found |= layers_of_layout(directory)
            self.run("rmi", "--force", reference)
        return found


class Containerd(Engine):
    """ctr with a containerd of its own: the code by which a kubelet pulls."""

    name = "containerd"
    tagging = ("images", "tag")
    pushing = ("images", "push", "--plain-http")

    def __init__(self, program: str, home: Path, engine: Daemon) -> None:
        super().__init__(program, home)
        self._engine = engine

    def command(self, *arguments: str) -> list[str]:
        return [self.program, "--address", str(self._engine.socket), *arguments]

    def load(self, image: Layout, reference: str) -> None:
        self.run(
            *["images", "import", "--all-platforms", "--no-unpack", "--index-name", reference, "-"],
            feed=lambda stdin: image.write_archive(stdin, reference),
        )

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        blobs = self._engine.root / "root" / "io.containerd.content.v1.content" / "blobs" / "sha256"
        names = self.run("images", "list", "--quiet").split()
        if names:
            self.run("images", "remove", "--sync", *names)
        assert list(blobs.iterdir()) == []
        options = ["--plain-http", "--all-platforms", "--snapshotter=native"]
        self.run("images", "pull", *options, reference)
        (line,) = self.run("images", "list", f"name=={reference}").splitlines()[1:]
        return layers_of_layout(blobs.parent.parent, line.split()[2])


def layers_of_saved(client: Client, *arguments: str) -> list[str]:
    """Hash the layers that a command writes as a docker archive to its standard output."""
    with subprocess.Popen(
        client.command(*arguments),
        env=client.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        layers = layers_of_docker_archive(process.stdout)
        process.stdout.read()
    assert process.returncode == 0
    return layers
