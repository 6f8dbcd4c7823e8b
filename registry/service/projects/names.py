"""The names of projects, robots, accounts and principals: what is legal, and what is reserved."""

import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from auth.scopes import Scopes, TooManyScopes
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName
from registry.spec.problems import Invalid, PrincipalInvalid, ProjectNameInvalid
from storage import keys

MAX_PROJECT: Final = 100
"""Longest name of a project, in characters: room is left for the repositories below it."""

MAX_NETWORKS: Final = 32

RESERVED: Final = frozenset(
    {
        *("v1", "v2", "v3", "api", "auth", "oauth2", "token", "jwks", "login", "logout", "ui"),
        *("healthz", "readyz", "metrics", "admin", "moorage"),
    }
)
"""Names that would be mistaken for parts of the API's own paths, now or later."""

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_ROBOT: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_USER: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,126}[a-z0-9])?", re.ASCII)
_GROUP: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_PRINCIPAL: Final = re.compile(r"(?:user|group|workload):[!-~]{1,200}", re.ASCII)


def project_name(text: str) -> str:
    """Return the name that a project is kept under: ``text`` in lower case.

    ``ProjectNameInvalid`` unless it is a legal first part of a repository's name, of at most
    ``MAX_PROJECT`` characters, not reserved, and no project's id.
    """
    # Some letters become others in lower case: the Kelvin sign a k.
    name = text.lower() if text.isascii() else ""
    if len(name) > MAX_PROJECT:
        raise ProjectNameInvalid(text, f"it is longer than {MAX_PROJECT} characters")
    try:
        RepositoryName.parse(name)
    except NameInvalid:
        name = ""
    if not name or "/" in name:
        raise ProjectNameInvalid(
            text, "use letters and digits, joined by single . _ - or by __"
        ) from None
    if name in RESERVED:
        raise ProjectNameInvalid(text, "this name is reserved")
    if is_project_id(name):
        raise ProjectNameInvalid(text, "it reads like the id of a project")
    return name


def root_name(text: str, *, projects: bool) -> str:
    """Return the name that a project is kept under, or without ``projects`` what stands for one.

    ``ProjectNameInvalid`` for what can't be the first part of a repository's name.
    """
    if projects:
        return project_name(text)
    try:
        name = RepositoryName.parse(text)
    except NameInvalid:
        name = None
    if name is None or name != name.project:
        raise ProjectNameInvalid(text, "use lower-case letters and digits, joined by . _ - or __")
    return name


def may_be_tenant(text: str) -> bool:
    """Whether content may be kept under ``text``: an id, or the name of a project of old."""
    return _TENANT.fullmatch(text) is not None


def is_project_id(text: str) -> bool:
    """Whether ``text`` reads like the id that projects are given."""
    return _ID.fullmatch(text) is not None


def member_name(text: str) -> str:
    """Return ``text`` if it can be a member: a user, a group or a workload.

    ``PrincipalInvalid`` for any other. A robot of one project is no member of another: share.
    """
    if _PRINCIPAL.fullmatch(text) is None:
        raise PrincipalInvalid(text)
    if keys.principal_of(keys.principal_segment(text)) != text:
        raise PrincipalInvalid(text)
    return text


def robot_name(text: str) -> str:
    """Return ``text`` if it can be a robot account's name; else ``Invalid``."""
    if len(text) > 63 or _ROBOT.fullmatch(text) is None:
        raise Invalid(
            f"{text[:80]!a} can be no robot account's name: use up to 63 lower-case letters and "
            "digits, joined by single . _ -"
        )
    return text


def user_name(text: str) -> str:
    """Return the name that an account is kept under: ``text`` in lower case; else ``Invalid``."""
    name = text.lower() if text.isascii() else ""
    if _USER.fullmatch(name) is None:
        raise Invalid(
            f"{text[:80]!a} can be no user's name: use up to 128 letters, digits and . _ - @, and "
            "begin and end with a letter or digit"
        )
    return name


def group_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of groups, each once, in order; ``Invalid`` for one that can't be."""
    names = sorted(set(texts))
    for name in names:
        if _GROUP.fullmatch(name) is None:
            raise Invalid(f"{name[:80]!a} can be no group's name: use up to 128 visible characters")
    if len(names) > 256:
        raise Invalid("an account is in at most 256 groups")
    return tuple(names)


def networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return networks in their usual spelling; ``Invalid`` for what is none."""
    found = []
    for text in texts:
        try:
            found.append(str(ip_network(text)))
        except ValueError as error:
            raise Invalid(f"{text[:80]!a} is no network such as 10.0.0.0/8: {error}") from None
    if len(found) > MAX_NETWORKS:
        raise Invalid(f"at most {MAX_NETWORKS} networks can be given")
    return tuple(found)


def ceiling(text: str | None) -> str | None:
    """Return scopes in their usual spelling; ``Invalid`` where a part of them means nothing.

    Of what clients ask for, the unknown is dropped. What limits a secret must be meant as it is
    read: a word that was dropped here would be a right that somebody thinks to have given.
    """
    if text is None:
        return None
    try:
        for word in text.split():
            if not _is_meant(word):
                raise Invalid(
                    f"{word[:80]!a} is no scope such as repository:demo/app:pull,push or "
                    "repository:demo/*:pull"
                )
        return str(Scopes.parse_ceiling(" ".join(text.split())))
    except TooManyScopes as error:
        raise Invalid(str(error)) from None


def _is_meant(word: str) -> bool:
    """Whether every action of the scope is one that there is."""
    wanted = set(word.rpartition(":")[2].split(",")) - {"*"}
    found = {action for _, actions in Scopes.parse_ceiling(word) for action in actions}
    return bool(found) and wanted <= found
