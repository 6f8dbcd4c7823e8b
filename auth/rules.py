"""Claim rules: which workload a token or a certificate speaks for, and what that may do at most.

A rule says which values some claims must have, as patterns that match a whole value, never a part
of one. In a pattern ``*`` stands for any characters but ``/`` and ``:``, which separate the parts
of such values, and ``**`` for any at all: ``repo:acme/*:ref:refs/heads/main`` fits no
``repo:acme/x:environment:y:ref:refs/heads/main``, nor a repository of ``acme-evil``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from auth.identity import Ceiling, Identity, Kind, Scheme
from auth.scopes import Scopes

MAX_NAME: Final = 200
MAX_GROUPS: Final = 256

_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_WILD: Final = re.compile(r"\*\*|\*")

Claims = Mapping[str, Any]
"""What a token or certificate says: texts, numbers, or lists of these, by claim."""


class NoRule(Exception):
    """No rule lets this in, or the one that does makes no proper name of it."""


def pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern; it is for ``fullmatch``."""
    parts = []
    at = 0
    for wild in _WILD.finditer(text):
        parts += [re.escape(text[at : wild.start()]), ".*" if wild[0] == "**" else "[^/:]*"]
        at = wild.end()
    return re.compile("".join([*parts, re.escape(text[at:])]), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """Who it is for: what each claim must be. And what it makes of it.

    ``name`` and ``groups`` may hold claims in braces: ``{repository}``. Of a claim with several
    values it is the one that matched.
    """

    match: Mapping[str, re.Pattern[str]]
    name: str
    groups: Sequence[str] = ()
    ceiling: Ceiling | None = None
    kind: Kind = Kind.WORKLOAD

    @classmethod
    def of(
        cls,
        match: Mapping[str, str],
        name: str,
        groups: Sequence[str] = (),
        scopes: str = "",
        kind: Kind = Kind.WORKLOAD,
    ) -> Self:
        """Make a rule of its texts. ``ValueError`` says which of them means nothing."""
        ceiling = Scopes.parse_ceiling(scopes) if scopes else None
        if ceiling is not None and len(ceiling) != len(scopes.split()):
            raise ValueError(f"a part of the scopes {scopes!r} means nothing")
        return cls(
            {claim: pattern(text) for claim, text in match.items()}, name, groups, ceiling, kind
        )

    def fits(self, claims: Claims) -> dict[str, str] | None:
        """Return the values that matched, by claim, or ``None`` if not all claims do."""
        found = {}
        for claim, wanted in self.match.items():
            value = next(filter(wanted.fullmatch, values(claims, claim)), None)
            if value is None:
                return None
            found[claim] = value
        return found


class Rules:
    """The rules of one issuer; the first that fits counts."""

    def __init__(self, prefix: str, rules: Sequence[Rule]) -> None:
        """Names and groups that rules make begin with ``prefix``."""
        self._prefix = prefix
        self._rules = rules

    def identity(self, claims: Claims, scheme: Scheme, credential: str) -> Identity:
        """Return who it is. ``NoRule`` says that it is nobody."""
        for rule in self._rules:
            matched = rule.fits(claims)
            if matched is not None:
                fill = partial(_fill, claims, matched)
                name = named(self._prefix, fill(rule.name))
                groups = frozenset(named(self._prefix, fill(group)) for group in rule.groups)
                return Identity(
                    f"{rule.kind}:{name}", rule.kind, groups, rule.ceiling, None, scheme, credential
                )
        raise NoRule("no rule lets this in")


def values(claims: Claims, claim: str) -> Iterable[str]:
    """Return the texts that a claim holds.

    A claim within others is named by the way to it: ``realm_access.roles``. One whose own name
    has dots in it comes before.
    """
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for step in claim.split("."):
            found = found.get(step) if isinstance(found, dict) else None
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list | tuple):
        return tuple(each for each in found if isinstance(each, str))
    if isinstance(found, int) and not isinstance(found, bool):
        return (str(found),)
    return ()


def _fill(claims: Claims, matched: Mapping[str, str], template: str) -> str:
    def value(field: re.Match[str]) -> str:
        if field[1] in matched:
            return matched[field[1]]
        found = tuple(values(claims, field[1]))
        if len(found) != 1:
            raise NoRule(f"the claim {field[1]!r}, which a rule makes a name of, is not one text")
        return found[0]

    return _FIELD.sub(value, template)


def named(prefix: str, name: str) -> str:
    """Return the two in one if that can be the name of a user, group or workload; else ``NoRule``.

    ``name`` must be a name by itself: the prefix alone is none.
    """
    whole = prefix + name
    if not name or len(whole) > MAX_NAME or _VISIBLE.fullmatch(whole) is None:
        raise NoRule(f"{whole[:40]!a} can be no name here: {MAX_NAME} visible characters at most")
    return whole
