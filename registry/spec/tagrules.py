"""Which tags stay what they are: of the whole registry by patterns, of a project by rules.

Patterns are shell globs (``*``, ``?``, ``[…]``) that match the whole text, case and all. A rule's
pattern with a colon is of ``<repository>:<tag>``, where ``*`` takes slashes too; one without is of
the tag alone, in every repository of the project.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import Annotated, Final

import msgspec
from msgspec import Meta

NOBODY: Final = "nobody"

CHANGERS: Final = ("guest", "developer", "maintainer", "owner", NOBODY)
"""The roles in a project, from least to most, and behind them nobody."""

MAX_RULES: Final = 50
"""Most rules of a project."""

_WILD: Final = re.compile(r"[*?\[]")

Pattern = Annotated[str, Meta(min_length=1, max_length=256)]
Patterns = Annotated[tuple[Pattern, ...], Meta(max_length=50)]


class TagRules:
    """Says of a tag's name whether the tag is immutable, in every repository of the registry."""

    __slots__ = ("_except", "_immutable")

    def __init__(self, immutable: Iterable[str] = (), exceptions: Iterable[str] = ()) -> None:
        """Tags that match one of ``immutable`` and none of ``exceptions`` are immutable."""
        self._immutable = _any_of(immutable)
        self._except = _any_of(exceptions)

    def __bool__(self) -> bool:
        """Whether any tag can be immutable."""
        return self._immutable is not None

    def immutable(self, tag: str) -> bool:
        """Whether the tag, once it is there, may neither point elsewhere nor be deleted."""
        if self._immutable is None or self._immutable.match(tag) is None:
            return False
        return self._except is None or self._except.match(tag) is None


class TagRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule of a project: tags that match, once they are there, stay what they are.

    Only who has the role ``changed_by`` in the project, or a higher one, may move or delete them;
    with ``nobody`` they are immutable. Tags that match one of ``exceptions`` are not meant.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w .-]*\Z")]
    tags: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=50)]
    exceptions: Patterns = ()
    changed_by: Annotated[str, Meta(pattern=r"^(maintainer|owner|nobody)\Z")] = NOBODY

    def lets(self, role: str) -> bool:
        """Whether a caller with this role, ``""`` for none, may change what the rule covers."""
        if role not in CHANGERS:
            return False
        return CHANGERS.index(role) >= CHANGERS.index(self.changed_by)


class Globs:
    """Patterns that are looked for all at once."""

    __slots__ = ("_tags", "_whole")

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile the patterns of a rule."""
        self._whole = _any_of(each for each in patterns if ":" in each)
        self._tags = _any_of(each for each in patterns if ":" not in each)

    def match(self, repository: str, tag: str) -> bool:
        """Whether one of them is of this tag of the repository."""
        if self._tags is not None and self._tags.match(tag) is not None:
            return True
        return self._whole is not None and self._whole.match(f"{repository}:{tag}") is not None


class ProjectRules:
    """The rules of a project, ready to be asked."""

    __slots__ = ("_rules", "project")

    def __init__(self, project: str = "", rules: Sequence[TagRule] = ()) -> None:
        """``project`` is the project's name."""
        self.project = project
        self._rules = [(rule, Globs(rule.tags), Globs(rule.exceptions)) for rule in rules]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rules)

    def covering(self, repository: str, tag: str, role: str = "") -> TagRule | None:
        """The first rule by which a caller with this role may not change the tag, if there is one.

        ``repository`` is the whole name of one of the project's.
        """
        for rule, globs, exceptions in self._rules:
            if rule.lets(role) or not globs.match(repository, tag):
                continue
            if not exceptions.match(repository, tag):
                return rule
        return None


def faults(project: str, rules: Sequence[TagRule]) -> str:
    """Say what is wrong with the rules of a project of this name; ``""``: nothing.

    Names of rules differ, and no pattern is of another project's repositories only: a slip that
    would leave tags open that were meant to be kept.
    """
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            return f"two rules are called {rule.name!r}: give each a name of its own"
        names.add(rule.name)
        if not rule.tags:
            return f"rule {rule.name!r} has no pattern: say which tags it is about"
        for pattern in (*rule.tags, *rule.exceptions):
            wrong = pattern_fault(project, pattern)
            if wrong:
                return f"rule {rule.name!r}: {wrong}"
    return ""


def pattern_fault(project: str, pattern: str) -> str:
    """Say why a pattern can match no tag of the project; ``""``: it can, as far as that shows."""
    repository, colon, _ = pattern.partition(":")
    if not colon:
        return "a tag has no /: write repository:tag" if "/" in pattern else ""
    wild = _WILD.search(repository)
    literal = repository[: wild.start()] if wild else repository
    if wild is None and repository == project:
        return ""
    inside = f"{project}/"
    if literal.startswith(inside) or (wild is not None and inside.startswith(literal)):
        return ""
    return (
        f"{pattern!r} is of no repository of {project}: begin it with {project}/ or {project}:, "
        "or with *"
    )


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(translate(each) for each in patterns)
    return re.compile(joined) if joined else None


NO_RULES = TagRules()
NO_PROJECT_RULES = ProjectRules()
