"""How backups lie in a store: one OCI image layout for all. Every name and media type of it.

::

    oci-layout             says that this is an image layout (image-spec, image-layout.md)
    index.json             one descriptor for each backup that is whole; named by its id
    blobs/<alg>/<hex>      all else, by its digest; backups share what they have in common

A backup is a tree of indexes, which any tool that knows indexes can copy::

    backup (index)
    ├── records of the registry (artifact): accounts, access tokens, the registry's webhooks
    └── project (index)
        ├── records of the project (artifact): itself, members, robots, rules, webhooks, limits
        └── repository (index)
            └── image, index or artifact, as it was pushed; once for each of its tags, and once
                without a name where it has none

A layer of a ``records`` artifact is a JSON object: keys as in ``storage.keys``, and what the
registry keeps there. Descriptors have these annotations:

- ``org.opencontainers.image.ref.name``: in ``index.json`` the id of the backup, in a repository
  the tag;
- ``io.moorage.project`` and ``io.moorage.tenant`` of a project: its name, and the id that its
  content is kept under; ``io.moorage.repository`` of a repository: its name;
- ``io.moorage.tag``: the record of a tag as the registry keeps it;
- ``io.moorage.lacks`` of an image: digests, separated by spaces, of what it describes and the
  repository did not hold;
- ``io.moorage.backup``: what a backup came to (``Summary``).
"""

from collections.abc import Mapping
from typing import Final, Self

import msgspec

from registry.service.records import Corrupt, Record
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.mediatype import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST

MARKER: Final = "oci-layout"
MARKED: Final = b'{"imageLayoutVersion":"1.0.0"}'
INDEX: Final = "index.json"
BLOBS: Final = "blobs/"

BACKUP: Final = "application/vnd.moorage.backup.v1"
PROJECT: Final = "application/vnd.moorage.project.v1"
REPOSITORY: Final = "application/vnd.moorage.repository.v1"
RECORDS: Final = "application/vnd.moorage.records.v1"
RECORDS_LAYER: Final = "application/vnd.moorage.records.v1+json"

REF_NAME: Final = "org.opencontainers.image.ref.name"
NAME: Final = "io.moorage.project"
TENANT: Final = "io.moorage.tenant"
REPOSITORY_NAME: Final = "io.moorage.repository"
TAG: Final = "io.moorage.tag"
LACKS: Final = "io.moorage.lacks"
SUMMARY: Final = "io.moorage.backup"

EMPTY: Final = b"{}"
"""The config of an artifact (image-spec, manifest.md, "Guidance for an Empty Descriptor")."""


def blob(digest: Digest) -> str:
    """Where content lies."""
    return f"{BLOBS}{digest.algorithm}/{digest.hex}"


def blob_digest(key: str) -> Digest | None:
    """The inverse of ``blob``; ``None`` for any other key below ``BLOBS``."""
    try:
        _, algorithm, hex_ = key.split("/")
        return Digest.parse(f"{algorithm}:{hex_}")
    except (ValueError, RegistryError):
        return None


class Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """JSON of an image layout. Fields that this version does not know are passed over."""

    def encode(self) -> bytes:
        """The bytes to store: equal documents, equal bytes."""
        return msgspec.json.encode(self, enc_hook=str)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``. ``Corrupt`` where it can't be."""
        try:
            return msgspec.json.decode(data, type=cls, dec_hook=_digest)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Corrupt(f"{cls.__name__}: {error}") from error


class Descriptor(Document, frozen=True):
    """A reference to content, as the specification has it."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """The tag, or the id of a backup; ``""`` for none."""
        return self.annotations.get(REF_NAME, "")

    @property
    def lacks(self) -> frozenset[str]:
        """Digests of what the repository did not hold."""
        return frozenset(self.annotations.get(LACKS, "").split())


class Index(Document, frozen=True):
    """An index, of whatever sort."""

    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = {}


class Artifact(Document, frozen=True):
    """A manifest whose layers are records."""

    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Summary(Record, frozen=True):
    """What a backup came to. Times are in Unix seconds.

    Every tag is as it was at one moment from ``began`` to ``read``. ``projects`` are the names
    that were asked for, none for all. ``blobs`` and ``bytes`` were copied: what was there already
    does not count. ``missing``: so much was not there, unreadable, or not what its digest says.
    """

    began: float
    read: float
    ended: float
    projects: tuple[str, ...] = ()
    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0
    bytes: int = 0
    missing: int = 0


def index_of(kind: str, manifests: tuple[Descriptor, ...]) -> Index:
    """Make an index that says what sort it is."""
    return Index(
        schema_version=2,
        media_type=OCI_INDEX,
        artifact_type=kind,
        manifests=manifests,
    )


def artifact_of(layers: tuple[Descriptor, ...]) -> Artifact:
    """Make the manifest of records."""
    config = Descriptor(media_type=OCI_EMPTY, digest=Digest.of(EMPTY), size=len(EMPTY))
    return Artifact(
        schema_version=2,
        media_type=OCI_MANIFEST,
        artifact_type=RECORDS,
        config=config,
        layers=layers,
    )


def _digest(_kind: type, text: object) -> Digest:
    try:
        return Digest.parse(str(text))
    except RegistryError as error:
        raise ValueError(error.message) from None
