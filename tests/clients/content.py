"""Images to push, as OCI layouts on disk, and the hashing of what a client gives back."""

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MIB = 1 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME = "org.opencontainers.image.ref.name"
_BUFFER_BYTES = 4 * MIB
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout with one image or one index, under the name `image`.

    `digest` is that of the top manifest; `layers` gives, for each platform, the digests of the
    uncompressed layers (an image configuration's diff_ids), which survive every client.
    """

    directory: Path
    digest: str
    layers: Mapping[str, Sequence[str]]

    def images(self) -> list["Layout"]:
        """The images of an index, each with its platform; an image is its own only one."""
        manifest = json.loads(self.blob(self.digest).read_bytes())
        if "manifests" not in manifest:
            return [self]
        found = []
        for child in manifest["manifests"]:
            platform = f"{child['platform']['os']}/{child['platform']['architecture']}"
            layers = {platform: self.layers[platform]}
            found.append(Layout(self.directory, child["digest"], layers))
        return found

    def blob(self, digest: str) -> Path:
        """Path of a blob by its digest."""
        return self.directory / "blobs" / digest.replace(":", "/")

    def write_archive(self, output: IO[bytes], name: str) -> None:
        """Write the layout as a tar, the image named `name` (an `oci-archive`, for containerd)."""
        index = json.loads((self.directory / "index.json").read_bytes())
        index["manifests"][0]["annotations"] = {"io.containerd.image.name": name}
        with tarfile.open(fileobj=output, mode="w|") as archive:
            archive.add(self.directory / "oci-layout", "oci-layout")
            archive.add(self.directory / "blobs", "blobs")
            _add_file(archive, "index.json", json.dumps(index).encode())

    def write_docker_archive(self, output: IO[bytes], name: str) -> None:
        """Write the image the way `docker save` does, for `docker load`."""
        manifest = json.loads(self.blob(self.digest).read_bytes())
        layers = [layer["digest"] for layer in manifest["layers"]]
        config = manifest["config"]["digest"]
        names = [f"{digest[7:]}/layer.tar" for digest in layers]
        about = [{"Config": f"{config[7:]}.json", "RepoTags": [name], "Layers": names}]
        with tarfile.open(fileobj=output, mode="w|") as archive:
            archive.add(self.blob(config), f"{config[7:]}.json")
            for digest, member in zip(layers, names, strict=True):
                archive.add(self.blob(digest), member)
            _add_file(archive, "manifest.json", json.dumps(about).encode())


class LayoutWriter:
    """Builds a Layout in a directory. The same `seed` gives the same bytes."""

    def __init__(self, directory: Path, seed: int | str = 0) -> None:
        self._directory = directory
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        (directory / "blobs" / "sha256").mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def image(self, sizes: Sequence[int], *, compress: bool = True) -> Layout:
        """One image for this machine's architecture, a layer for each size in bytes."""
        platform = {"os": "linux", "architecture": _architecture()}
        descriptor, layers = self._manifest(platform, sizes, compress=compress)
        return self._finish(descriptor, {f"linux/{platform['architecture']}": layers})

    def index(self, sizes: Sequence[int]) -> Layout:
        """Return an index of an amd64 and an arm64 image, each with layers of these sizes."""
        descriptors, layers = [], {}
        for architecture in ("amd64", "arm64"):
            platform = {"os": "linux", "architecture": architecture}
            descriptor, digests = self._manifest(platform, sizes, compress=True)
            descriptors.append(descriptor | {"platform": platform})
            layers[f"linux/{architecture}"] = digests
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}
        return self._finish(self._json(INDEX, body), layers)

    def packed(self, tars: Sequence[Path]) -> Layout:
        """One image for this machine's architecture, of tars that are moved into it as they are."""
        layers = [self._keep(path, LAYER, hash_file(path)) for path in tars]
        platform = {"os": "linux", "architecture": _architecture()}
        plain = [layer["digest"] for layer in layers]
        descriptor = self._described(platform, layers, plain)
        return self._finish(descriptor, {f"linux/{platform['architecture']}": plain})

    def _manifest(self, platform, sizes, *, compress):
        layers, plain = [], []
        for number, size in enumerate(sizes):
            descriptor, digest = self._layer(f"file-{number}", size, compress=compress)
            layers.append(descriptor)
            plain.append(digest)
        return self._described(platform, layers, plain), plain

    def _described(self, platform, layers, plain):
        config = self._json(
            CONFIG, {**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": plain}}
        )
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        return self._json(MANIFEST, body)

    def _layer(self, name, size, *, compress):
        path = self._directory / "layer"
        hashed = hashlib.sha256()
        member = tarfile.TarInfo(name)
        member.size = size
        with gzip.open(path, "wb", compresslevel=1) if compress else path.open("wb") as output:
            # A tar by hand: a GiB through tarfile takes three times as long.
            for piece in (member.tobuf(), *self._noise(size), bytes(-size % 512 + 1024)):
                hashed.update(piece)
                output.write(piece)
        plain = f"sha256:{hashed.hexdigest()}"
        if compress:
            return self._keep(path, f"{LAYER}+gzip", hash_file(path)), plain
        return self._keep(path, LAYER, plain), plain

    def _noise(self, size):
        """Bytes that do not compress, no two MiB alike, made at the speed of a copy."""
        block = memoryview(self._random.randbytes(MIB) * 2)
        for start in range(0, size, MIB):
            turn = start // MIB * 8191 % MIB
            yield block[turn : turn + min(MIB, size - start)]

    def _json(self, media_type, body):
        path = self._directory / "document"
        path.write_text(json.dumps(body))
        return self._keep(path, media_type, hash_file(path))

    def _keep(self, path, media_type, digest):
        size = path.stat().st_size
        path.rename(self._directory / "blobs" / digest.replace(":", "/"))
        return {"mediaType": media_type, "digest": digest, "size": size}

    def _finish(self, descriptor, layers):
        named = descriptor | {"annotations": {_NAME: "image"}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        (self._directory / "index.json").write_text(json.dumps(index))
        return Layout(self._directory, descriptor["digest"], layers)


def hash_file(path: Path) -> str:
    """Return the sha256 digest of a file."""
    with path.open("rb") as source:
        return "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()


def hash_plain(path: Path, digest: str) -> str:
    """Return the sha256 digest of a gzip's content; of another file `digest`, which is its own."""
    with path.open("rb") as source:
        packed = source.read(2) == _GZIP_MAGIC
    if not packed:
        return digest
    with gzip.open(path) as content:
        return _hash_stream(content)


def layers_of_layout(directory: Path, digest: str | None = None) -> dict[str, list[str]]:
    """Hash the layers that an OCI layout on disk holds, for each platform.

    `digest` names the manifest to start from, by default the one called `image`, or the first.
    Every manifest's and configuration's bytes are checked against the digest that named them.
    """

    def document(name: str) -> dict:
        path = directory / "blobs" / name.replace(":", "/")
        assert hash_file(path) == name
        return json.loads(path.read_bytes())

    if digest is None:
        entries = json.loads((directory / "index.json").read_bytes())["manifests"]
        named = [entry for entry in entries if entry.get("annotations", {}).get(_NAME) == "image"]
        digest = (named or entries)[0]["digest"]
    manifest = document(digest)
    if "manifests" in manifest:
        found = {}
        for child in manifest["manifests"]:
            found |= layers_of_layout(directory, child["digest"])
        return found
    config = document(manifest["config"]["digest"])
    digests = []
    for layer in manifest["layers"]:
        path = directory / "blobs" / layer["digest"].replace(":", "/")
        assert hash_file(path) == layer["digest"]
        digests.append(hash_plain(path, layer["digest"]))
    return {f"{config['os']}/{config['architecture']}": digests}


def layers_of_docker_archive(source: IO[bytes]) -> list[str]:
    """Hash the layers in the stream that `docker save` or `podman save` writes, lowest first."""
    digests, order = {}, []
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            if not member.isfile():
                continue
            content = archive.extractfile(member)
            if member.name == "manifest.json":
                order = json.loads(content.read())[0]["Layers"]
            else:
                digests[member.name] = _hash_stream(content)
    return [digests[name] for name in order]


def _hash_stream(source: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := source.read(_BUFFER_BYTES):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
