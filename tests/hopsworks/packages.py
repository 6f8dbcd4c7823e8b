"""Layers as an installer makes them: tars of the packages that this very environment has."""

import io
import itertools
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PYTHON = f"opt/conda/lib/python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"{PYTHON}/site-packages"
HISTORY = "opt/conda/conda-meta/history"


@dataclass(frozen=True)
class Library:
    """A distribution, and the module by which programs know it; it needs no other."""

    name: str
    module: str

    @property
    def version(self) -> str:
        """The version that is installed."""
        return metadata.version(self.name)

    def layer(self, path: Path, line: str) -> None:
        """Write what an installer adds: the library's files, and a line in conda's history."""
        with tarfile.open(path, "w") as tar:
            for found, at in _files(metadata.distribution(self.name)):
                tar.add(found, at)
            history = tarfile.TarInfo(HISTORY)
            history.size = len(line.encode())
            tar.addfile(history, io.BytesIO(line.encode()))


LIBRARIES = tuple(
    Library(name, module)
    for name, module in (
        ("idna", "idna"),
        ("iniconfig", "iniconfig"),
        ("sortedcontainers", "sortedcontainers"),
        ("pluggy", "pluggy"),
        ("certifi", "certifi"),
        ("packaging", "packaging.version"),
    )
)
"""What projects add to the base, which has none of them."""


def base(directory: Path, size: int) -> list[Path]:
    """Write the base environment, so many bytes and more: some eight tars."""
    sources, made, total = _base(), [], 0
    while total < size:
        path = directory / f"layer-{len(made)}.tar"
        with path.open("wb") as output, tarfile.open(fileobj=output, mode="w") as tar:
            for found, at in sources:
                tar.add(found, at)
                if output.tell() >= size // 8:
                    break
        assert path.stat().st_size > tarfile.RECORDSIZE, "this environment is too small for a base"
        total += path.stat().st_size
        made.append(path)
    return made


def base_packages() -> list[dict[str, str]]:
    """What `conda list --json` prints of it."""
    return [_listed(each.name, each.version) for each in _others()]


def listed(library: Library) -> dict[str, str]:
    """What it prints of a library beside that."""
    return _listed(library.name, library.version)


def _listed(name: str, version: str) -> dict[str, str]:
    return {"name": name, "version": version, "channel": "pypi"}


def _base() -> Iterator[tuple[Path, str]]:
    """The packages, and then the interpreter's own modules: files, and where they belong."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    modules = (each for each in sorted(stdlib.iterdir()) if each.name != "site-packages")
    return itertools.chain(
        itertools.chain.from_iterable(map(_files, _others())),
        ((each, f"{PYTHON}/{each.name}") for each in modules),
    )


def _others() -> list[metadata.Distribution]:
    """All distributions that are no library, the smallest first."""
    added = {library.name for library in LIBRARIES}
    others = [each for each in metadata.distributions() if each.name not in added]
    return sorted(others, key=lambda each: (len(each.files or ()), each.name))


def _files(distribution: metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """A distribution's files, and where they belong in an image."""
    for file in distribution.files or ():
        found = Path(str(distribution.locate_file(file)))
        # Scripts are not below the site's directory, and an editable one's files are elsewhere.
        if ".." not in file.parts and found.is_file():
            yield found, f"{SITE}/{file}"
