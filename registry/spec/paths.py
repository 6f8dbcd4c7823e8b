"""Path templates of the management API, such as ``/projects/{project}/robots/{robot}``.

The one place that reads a path of that API into its parts, and builds one of them. A path is split
at its slashes as it came, so no part can bring a slash of its own but by percent signs (RFC 3986
§2.1); each part is resolved once, and then read by the type of its parameter.

The last parameter of a template may take all that follows, slashes too: ``{principal*}``. Names
from other issuers have slashes in them, and some proxies resolve ``%2F`` on the way. What a path
means does not depend on it: both spellings are one name.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

import msgspec

_PART = re.compile(r"\{([a-z_]+)(\*?)\}").fullmatch
_LITERAL = re.compile(r"[a-z0-9._-]+").fullmatch
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*").fullmatch

MAX_PATH = 2048
"""Longest path that is looked at, in characters."""


class Template(msgspec.Struct, frozen=True):
    """A path's parts: texts, and names of parameters in braces."""

    text: str
    parts: tuple[tuple[str, str], ...]
    """For each part the text that it has to be, or ``""`` and the parameter's name."""

    rest: bool = False
    """Whether the last parameter takes all that follows."""

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template; ``ValueError`` if it is none."""
        parts: list[tuple[str, str]] = []
        rest = False
        if not text.startswith("/"):
            raise ValueError(text)
        for part in text[1:].split("/"):
            found = _PART(part)
            if rest or (found is None and _LITERAL(part) is None):
                raise ValueError(text)
            parts.append(("", found[1]) if found else (part, ""))
            rest = bool(found and found[2])
        return cls(text, tuple(parts), rest)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(name for literal, name in self.parts if not literal)

    @property
    def shown(self) -> str:
        """The template as OpenAPI has it."""
        return self.text.replace("*}", "}")

    def match(self, raw: str) -> dict[str, str] | None:
        """Return the values of the parameters in a raw path, or ``None`` if it is another's.

        Empty parts, text that is no UTF-8 and control characters match nothing.
        """
        if len(raw) > MAX_PATH or not raw.startswith("/"):
            return None
        given = raw[1:].split("/", len(self.parts) - 1 if self.rest else -1)
        if len(given) != len(self.parts):
            return None
        found: dict[str, str] = {}
        for (literal, name), part in zip(self.parts, given, strict=True):
            if literal:
                if part != literal:
                    return None
                continue
            value = _resolved(part)
            if value is None:
                return None
            found[name] = value
        return found

    def url(self, **values: str) -> str:
        """Build the path: the inverse of ``match``. ``KeyError`` if a parameter has no value."""
        parts = [literal or quote(values[name], safe=":@") for literal, name in self.parts]
        return "/" + "/".join(parts)


def _resolved(part: str) -> str | None:
    if not part or _ENCODED(part) is None:
        return None
    if "%" not in part:
        return part
    try:
        value = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return None
    return value if value.isprintable() else None
