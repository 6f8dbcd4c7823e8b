"""The names of a Hopsworks platform, and what they are here. Pure.

A project ``My_Project`` of the platform is the project ``my_project`` here: it owns the repository
``my_project`` (the platform's releases up to 3.x keep all of a project's images there, by tags) and
all below ``my_project/`` (a repository for each environment). Its pods run in the namespace
``my-project``.

The platform keeps names apart whatever their case (``Project.findByNameCaseInsensitive``), and each
name here can only come from one there: so can each namespace, since no name has a ``-``.

With a registry that knows no projects the platform has one repository for all of them, and its tags
tell whose they are (``Settings.isManagedDockerRegistry``): ``demo__<ms>-<version>.<n>`` is an image
of ``demo``, ``__backup_<id>_demo__…`` a copy of it, and what has no ``__`` is the platform's own. A
name has no ``__``, so ``demo__…`` is none of ``demo_x``.
"""

import re
from collections.abc import Collection
from typing import Final

from registry.service.projects.names import project_name
from registry.spec.names import RepositoryName
from registry.spec.problems import Invalid, ProjectNameInvalid

BASES: Final = (
    *("base", "python37", "python38", "python39", "python310", "hopsworks-base"),
    *("git", "testconnector", "filebeat", "onlinefs", "sklearnserver"),
)
"""Where a platform keeps images of its own, as its installers push them. Shared by all projects."""

MAX_NAME: Final = 88
"""Longest name of a project (the column of its table)."""

MAX_ID: Final = 2**31 - 1
"""Highest id of a project: they count up, and none is used twice."""

_NAME: Final = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*", re.ASCII)
_TAG: Final = re.compile(
    rf"(?:__backup_[A-Za-z0-9.-]+_)?({_NAME.pattern})__[A-Za-z0-9._-]+", re.ASCII
)
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}", re.ASCII)


def namespace(name: str, bases: Collection[str] = BASES) -> str:
    """Return the name here of the project ``name`` there.

    ``ProjectNameInvalid`` for what the platform would not have either (``FolderNameValidator``:
    letters, digits and single ``_`` between them; not digits only), for the names of its own images
    (``bases``), and for those that this registry reserves.
    """
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
        raise ProjectNameInvalid(
            name,
            f"a platform's project has up to {MAX_NAME} letters and digits, joined by single _, "
            "and not only digits",
        )
    found = project_name(name)
    if found in bases:
        raise ProjectNameInvalid(name, "the platform's own images are kept under this name")
    return found


def kubernetes_namespace(name: str) -> str:
    """Return the namespace of the project's pods (``KubeClientService.getKubeProjectName``)."""
    return re.sub(r"[^a-z0-9-]", "-", name.lower())


def repository(name: str, environment: str = "", bases: Collection[str] = BASES) -> RepositoryName:
    """Return where the images of an environment are: below the project's name.

    Without one it is the repository that has the project's name, where tags tell environments and
    their versions apart. ``NameInvalid``; ``ProjectNameInvalid``.
    """
    project = namespace(name, bases)
    return RepositoryName.parse(f"{project}/{environment}" if environment else project)


def tag_project(tag: str, bases: Collection[str] = BASES) -> str | None:
    """Return the name here of the project that a tag of the shared repository belongs to.

    ``""``: the platform's own image. ``None``: nobody's; whatever has a ``__`` in it and does not
    begin as a project's tag does is none of the platform's either, since all may read those. The id
    of a backup has no ``_``.
    """
    if "__" not in tag:
        return ""
    found = _TAG.fullmatch(tag)
    try:
        return namespace(found[1], bases) if found else None
    except ProjectNameInvalid:
        return None


def user_name(text: str) -> str:
    """Return ``text`` if it can be the name of a user there; ``Invalid`` for any other."""
    if _USER.fullmatch(text) is None:
        raise Invalid(f"{text[:80]!a} can be no user of the platform")
    return text
