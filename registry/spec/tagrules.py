"""Which tags never move: patterns, and exceptions from them."""

import re
from collections.abc import Iterable
from fnmatch import translate


class TagRules:
    """Says of a tag's name whether the tag is immutable.

    Patterns are shell globs (``*``, ``?``, ``[…]``) that match the whole tag, case and all.
    """

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


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(translate(each) for each in patterns)
    return re.compile(joined) if joined else None


NO_RULES = TagRules()
