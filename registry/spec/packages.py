"""Lists of packages that come with images: SPDX, CycloneDX, and what ``conda list --json`` prints.

Read leniently, since many tools write them: what has no name and version is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias
from urllib.parse import unquote

import msgspec

SPDX: Final = "application/spdx+json"
CYCLONEDX: Final = "application/vnd.cyclonedx+json"
CONDA: Final = "application/vnd.conda.list+json"

TYPES: Final = (SPDX, CYCLONEDX, CONDA)
"""Artifact types of referrers that list an image's packages, the best known first."""

MAX_PACKAGES: Final = 20_000
"""Most packages of one list, each version of one counted."""

MAX_OBJECTS: Final = 300_000
"""Most objects of one document: the smallest take a hundred times their text to read."""

_MAX_TEXT: Final = 256
_Text: TypeAlias = str | None


class PackagesInvalid(ValueError):
    """A list that can't be read; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package's name, and what kind it is of: ``pypi``, ``conda``, ``deb`` …, or ``""``."""

    name: str
    kind: str = ""


Packages: TypeAlias = Mapping[Package, tuple[str, ...]]
"""The versions of each package, in order; nearly always one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How one list of packages differs from another. No version: it is not there."""

    package: Package
    before: tuple[str, ...]
    after: tuple[str, ...]


def differences(before: Packages, after: Packages) -> list[Difference]:
    """What is different, by name."""
    return [
        Difference(package, before.get(package, ()), after.get(package, ()))
        for package in sorted({*before, *after})
        if before.get(package) != after.get(package)
    ]


def read(artifact_type: str, document: bytes) -> Packages:
    """Read a document of one of the ``TYPES``. ``PackagesInvalid``.

    Which it is, the document decides where it is JSON of another of these.
    """
    decode = {SPDX: _spdx, CYCLONEDX: _cyclonedx, CONDA: _conda}.get(artifact_type)
    if decode is None:
        raise PackagesInvalid(f"{artifact_type} is no list of packages that is known here")
    if document.count(b"{") > MAX_OBJECTS:
        raise PackagesInvalid(f"it has more than {MAX_OBJECTS:,} objects")
    try:
        found = list(decode(document))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PackagesInvalid(f"no {artifact_type}: {error}") from None
    versions: dict[Package, set[str]] = {}
    for package, version in found:
        if package.name and version and len(package.name) + len(version) <= _MAX_TEXT:
            versions.setdefault(package, set()).add(version)
    if sum(map(len, versions.values())) > MAX_PACKAGES:
        raise PackagesInvalid(f"it lists more than {MAX_PACKAGES:,} packages")
    return {package: tuple(sorted(each)) for package, each in versions.items()}


class _Reference(msgspec.Struct, rename="camel"):
    reference_type: _Text = None
    reference_locator: _Text = None


class _SpdxPackage(msgspec.Struct, rename="camel"):
    name: _Text = None
    version_info: _Text = None
    external_refs: list[_Reference] | None = None


class _Spdx(msgspec.Struct):
    # Required, so that another document is not taken for one without packages.
    spdx_version: Annotated[str, msgspec.Meta(pattern="^SPDX-2")] = msgspec.field(
        name="spdxVersion"
    )
    packages: list[_SpdxPackage] | None = None


class _Component(msgspec.Struct):
    name: _Text = None
    version: _Text = None
    purl: _Text = None
    type: _Text = None
    components: "list[_Component] | None" = None


class _CycloneDx(msgspec.Struct):
    bom_format: Annotated[str, msgspec.Meta(pattern="^CycloneDX$")] = msgspec.field(
        name="bomFormat"
    )
    components: list[_Component] | None = None


class _CondaPackage(msgspec.Struct):
    name: _Text = None
    version: _Text = None
    channel: _Text = None


def _spdx(document: bytes) -> Iterable[tuple[Package, str]]:
    for each in msgspec.json.decode(document, type=_Spdx).packages or ():
        purl = next(
            (
                reference.reference_locator
                for reference in each.external_refs or ()
                if reference.reference_type == "purl"
            ),
            None,
        )
        yield Package(each.name or "", _kind(purl)), each.version_info or ""


def _cyclonedx(document: bytes) -> Iterable[tuple[Package, str]]:
    waiting = list(msgspec.json.decode(document, type=_CycloneDx).components or ())
    while waiting:
        each = waiting.pop()
        waiting += each.components or ()
        if each.type != "file":
            yield Package(each.name or "", _kind(each.purl)), each.version or ""


def _conda(document: bytes) -> Iterable[tuple[Package, str]]:
    for each in msgspec.json.decode(document, type=list[_CondaPackage]):
        kind = "pypi" if each.channel == "pypi" else "conda"
        yield Package(each.name or "", kind), each.version or ""


def _kind(purl: str | None) -> str:
    """The type of a package URL (``pkg:pypi/numpy@2.1``)."""
    if not purl or not purl.startswith("pkg:"):
        return ""
    return unquote(purl[4:].partition("/")[0])[:32]
