"""Storage trees as Distribution writes them, made without it."""

from pathlib import Path

from registry.spec.digest import Digest

ROOT = "docker/registry/v2"


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
