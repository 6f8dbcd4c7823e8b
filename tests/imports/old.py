"""Storage trees as Distribution writes them, made without it; and imports that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from registry.service.bounded import each
from registry.spec.digest import Digest
from registry.spec.names import Place
from storage.s3 import S3Store
from tests.service.content import image

LAYERS = int(os.environ.get("MOORAGE_IMPORT_LAYERS", "200"))
"""How many layers an import has that is killed on the way."""

ROOT = "docker/registry/v2"
_PROJECT = Path(__file__).parents[2]
_KILLED = """
import os, signal, sys
from registry.cli import main
from registry.service.ingest import Ingest

left, blob = int(sys.argv[1]), Ingest.blob

def counted(*arguments, **more):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return blob(*arguments, **more)

Ingest.blob = counted
sys.exit(main(sys.argv[2:]))
"""


class Tree:
    """A tree in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, data: bytes) -> Path:
        file = self.root / ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def blob(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.write(f"blobs/sha256/{digest.hex[:2]}/{digest.hex}/data", data)
        return digest

    def data(self, digest: Digest) -> Path:
        return self.root / ROOT / f"blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"

    def link(self, repository: str, kind: str, digest: Digest) -> Path:
        path = f"repositories/{repository}/{kind}/sha256/{digest.hex}/link"
        return self.write(path, digest.encode())

    def push(self, repository: str, manifest: bytes, *blobs: bytes, tag: str = "") -> Digest:
        for data in blobs:
            self.link(repository, "_layers", self.blob(data))
        digest = self.blob(manifest)
        self.link(repository, "_manifests/revisions", digest)
        if tag:
            where = f"repositories/{repository}/_manifests/tags/{tag}"
            self.write(f"{where}/current/link", digest.encode())
            self.write(f"{where}/index/sha256/{digest.hex}/link", digest.encode())
        return digest

    def environments(self, layers: int) -> Mapping[Place, Mapping[str, Digest]]:
        """Push so many layers, ten to an image, each image in a repository of its own.

        One in ten has 70 KB, more than is kept with its pointer, the others 2. Return every
        repository's tags.
        """
        tags = {}
        for number in range(layers // 10):
            own = [f"{number} {layer} ".encode() * 200 for layer in range(9)]
            own.append(f"{number:08}".encode() * 9_000)
            name = f"demo/env{number:05}"
            tags[Place(name)] = {"v1": self.push(name, image(*own), *own, b"{}", tag="v1")}
        return tags


class BucketTree(Tree):
    """A tree that is to be in a bucket."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._files: dict[str, bytes] = {}

    def write(self, path: str, data: bytes) -> Path:
        self._files[f"{ROOT}/{path}"] = data
        return Path(path)

    async def put(self, bucket: S3Store) -> int:
        """Put it there; return how many objects it has."""

        async def put(key: str) -> None:
            await bucket.put(key, self._files[key])

        await each(self._files, put, at_once=32)
        return len(self._files)


def killed(blobs: int, *arguments: str) -> float:
    """Run ``moorage import`` until it takes so many blobs up, and kill it there: after how long."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(blobs), "import", *arguments],
        cwd=_PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return time.monotonic() - began
