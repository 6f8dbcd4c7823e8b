"""A node of Kubernetes, as far as images go: the real containerd, with the logins of a kubelet."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hopsworks.packages import SITE, Library

_SERVE = """
import importlib, json, sys
from importlib import metadata
site, module, name = sys.argv[1:]
sys.path.insert(0, site)
found = importlib.import_module(module)
version = metadata.version(name)
print(json.dumps([version, found.__file__]))
"""


class Node:
    """Pulls with `client`, a `Containerd` with logins; keeps apart from others by a namespace."""

    def __init__(self, client) -> None:
        self._client = client
        client.environment["CONTAINERD_NAMESPACE"] = "node"
        plugins = [line.split() for line in client.run("plugins", "list").splitlines()]
        # Where the file system can't do overlays: copies.
        overlays = any(words[1:2] == ["overlayfs"] and words[-1] == "ok" for words in plugins)
        self._snapshotter = f"--snapshotter={'overlayfs' if overlays else 'native'}"

    def pull(self, reference: str, login: tuple[str, str]) -> None:
        """Pull and unpack an image."""
        self._client.login(*login)
        self._client.run("images", "pull", self._snapshotter, reference)

    def digests(self) -> dict[str, str]:
        """The digests of the images that it has, by their names."""
        _, *lines = self._client.run("images", "list").splitlines()
        return {line.split()[0]: line.split()[2] for line in lines}

    def refused(self, reference: str, login: tuple[str, str]) -> str:
        """What it says of an image that it can't pull, in which the image's name is NAME."""
        self._client.login(*login)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            self._client.run("images", "pull", self._snapshotter, reference)
        said = next(line for line in caught.value.output.splitlines() if line.startswith("ctr:"))
        repository, _, tag = reference.rpartition(":")
        path = repository.partition("/")[2]
        return said.replace(path, "NAME").replace(f":{tag}", ":TAG").replace(f"/{tag}", "/TAG")

    @contextlib.contextmanager
    def unpacked(self, reference: str) -> Iterator[Path]:
        """The root of a container of the image, for reading."""
        root = self._client.scratch("mounted")
        root.mkdir()
        self._client.run("images", "mount", self._snapshotter, reference, str(root))
        try:
            yield root
        finally:
            self._client.run("images", "unmount", "--rm", self._snapshotter, str(root))

    def empty(self) -> None:
        """Forget all images: nothing of them stays."""
        names = self._client.run("images", "list", "--quiet").split()
        if names:
            self._client.run("images", "remove", "--sync", *names)
        assert not self._client.run("content", "list", "--quiet").split()
        listed = self._client.run("snapshots", self._snapshotter, "list").splitlines()
        assert len(listed) == 1, listed


def serve(root: Path, library: Library) -> None:
    """Do what a model's server does first: import the library out of the image."""
    site = root / SITE
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _SERVE, str(site), library.module, library.name],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version, file = json.loads(done.stdout)
    assert version == library.version
    assert Path(file).is_relative_to(site)
