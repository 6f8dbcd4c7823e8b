"""Scopes: what a caller asks a token for, and what a token or a secret is good for at most.

::

    scope  = type [ "(" class ")" ] ":" name ":" action *( "," action )
    scopes = scope *( " " scope )

as Docker's token specification has it, read the way its clients write it: the name may hold one
``:`` (``host:port/…``), so a scope is cut at its first and at its last one; the class is ignored
(``repository(plugin)`` is ``repository``); ``*`` stands for every action of the type; and what is
not known here is dropped, never an error, since a token service that refuses what it does not know
locks out clients that are newer than it.

A *ceiling* is the same text with patterns for names: ``demo/*`` is every repository under
``demo/``, ``*`` is every repository, or every project. Patterns are read by
``Scopes.parse_ceiling`` only: in what a client asks for, or a token carries, a star in a name is
no name and is dropped.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self

from auth.identity import Ceiling
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName

MAX_TEXT: Final = 32 * 1024
"""Longest text that is read as scopes, in characters."""

MAX_SCOPES: Final = 256
"""Most scopes of one text."""

ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "repository": ("pull", "push", "delete"),
    "registry": ("*",),
    "project": ("manage",),
}
"""The types that there are, and the actions of each, in the order in which they are written.

The one scope of type ``registry`` is ``registry:catalog:*``: list the repositories. Those of type
``project`` are for the management API, and hold a project's name, the first part of the names of
its repositories.
"""

CATALOG: Final = "catalog"

_TYPE: Final = re.compile(r"([a-z]+)(?:\([a-z0-9]+\))?", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}:[0-9]{1,5}/(?P<name>.*)", re.ASCII | re.DOTALL)

_Names = Callable[[str], bool]


class TooManyScopes(ValueError):
    """More text, or more scopes in it, than anyone has a use for."""

    def __init__(self) -> None:
        super().__init__(f"more than {MAX_SCOPES} scopes or {MAX_TEXT} characters of them")


class Resource(NamedTuple):
    """What actions are done to: a repository, or the registry's catalog."""

    type: str
    name: str


class Scopes:
    """An immutable set of permitted actions on resources.

    Two are equal if they permit the same: ``demo/a`` beside ``demo/*`` with the same actions adds
    nothing, and is not kept.
    """

    __slots__ = ("_actions", "_hash")

    def __init__(self, actions: Mapping[Resource, Iterable[str]]) -> None:
        """Permit these actions. They must be known ones; a resource without any is dropped."""
        given = {resource: frozenset(some) for resource, some in actions.items()}
        self._actions = {
            resource: rest
            for resource in sorted(given)
            if (rest := given[resource].difference(*_above(given, resource)))
        }
        self._hash = hash(frozenset(self._actions.items()))

    @classmethod
    def parse(cls, *texts: str) -> Self:
        """Read what a client asks for: each text is any number of scopes with spaces between.

        What is malformed or unknown is dropped; only ``TooManyScopes`` is raised.
        """
        return cls._read(texts, _is_name)

    @classmethod
    def parse_ceiling(cls, text: str) -> Self:
        """Read the text of a ceiling, where names may be patterns. Raises as ``parse`` does."""
        return cls._read((text,), _is_pattern)

    @classmethod
    def _read(cls, texts: Iterable[str], is_name: _Names) -> Self:
        texts = tuple(texts)
        if sum(map(len, texts)) > MAX_TEXT:
            raise TooManyScopes
        words = [word for text in texts for word in text.split(" ") if word]
        if len(words) > MAX_SCOPES:
            raise TooManyScopes
        found: dict[Resource, frozenset[str]] = {}
        for word in words:
            kind, _, rest = word.partition(":")
            name, colon, actions = rest.rpartition(":")
            type_ = _TYPE.fullmatch(kind)
            resource = _resource(type_[1], name, is_name) if type_ and colon else None
            if resource is not None:
                found[resource] = found.get(resource, frozenset()) | _actions(resource, actions)
        return cls(found)

    @classmethod
    def from_access(cls, access: Iterable[tuple[str, str, Iterable[str]]]) -> Self:
        """Read the ``access`` claim of a token, as (type, name, actions). No patterns.

        What is unknown is dropped; ``TooManyScopes`` as ``parse`` does.
        """
        found: dict[Resource, frozenset[str]] = {}
        for count, (kind, name, actions) in enumerate(access):
            if count >= MAX_SCOPES:
                raise TooManyScopes
            resource = _resource(kind, name, _is_name)
            if resource is not None:
                known = frozenset(actions) & frozenset(ACTIONS[kind])
                found[resource] = found.get(resource, frozenset()) | known
        return cls(found)

    def actions(self, resource: Resource) -> frozenset[str]:
        """Every action that is permitted on ``resource``, by its name or by a pattern.

        For a pattern: on everything that it stands for.
        """
        own = self._actions.get(resource, frozenset())
        return own.union(*_above(self._actions, resource))

    def permits(self, kind: str, name: str, action: str) -> bool:
        """Whether ``action`` is permitted on the resource; this makes it a ``Ceiling``."""
        resource = Resource(kind, name)
        own = self._actions.get(resource)
        return (own is not None and action in own) or action in self.actions(resource)

    def __or__(self, other: Self) -> Self:
        """What either permits."""
        found = dict(self._actions)
        for resource, actions in other._actions.items():
            found[resource] = found.get(resource, frozenset()) | actions
        return type(self)(found)

    def __and__(self, other: Self) -> Self:
        """What both permit."""
        found = {each: actions & other.actions(each) for each, actions in self._actions.items()}
        for each, actions in other._actions.items():
            found[each] = found.get(each, frozenset()) | (actions & self.actions(each))
        return type(self)(found)

    def __ge__(self, other: Self) -> bool:
        """Whether everything that ``other`` permits is permitted here."""
        return all(actions <= self.actions(each) for each, actions in other._actions.items())

    def __le__(self, other: Self) -> bool:
        return other >= self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scopes) and other._actions == self._actions

    def __hash__(self) -> int:
        return self._hash

    def __len__(self) -> int:
        """Count the resources."""
        return len(self._actions)

    def __iter__(self) -> Iterator[tuple[Resource, tuple[str, ...]]]:
        """Yield each resource with its actions, both in a fixed order."""
        for resource, actions in self._actions.items():
            yield resource, tuple(each for each in ACTIONS[resource.type] if each in actions)

    def __str__(self) -> str:
        """Write it so that the reader of it gives an equal one."""
        return " ".join(f"{each.type}:{each.name}:{','.join(actions)}" for each, actions in self)

    def __repr__(self) -> str:
        return f"Scopes({str(self)!r})"


def _is_name(text: str) -> bool:
    """Whether ``text`` is a repository's name, by itself or behind a host and port."""
    found = _HOST.fullmatch(text)
    try:
        RepositoryName.parse(found["name"] if found else text)
    except NameInvalid:
        return False
    return True


def _is_pattern(text: str) -> bool:
    return text == "*" or _is_name(text.removesuffix("/*"))


def _resource(kind: str, name: str, is_name: _Names) -> Resource | None:
    """The resource that a type and a name mean; ``None`` for what there is not."""
    match kind:
        case "repository":
            known = is_name(name)
        case "project":
            known = "/" not in name and is_name(name)
        case "registry":
            known = name == CATALOG
        case _:
            known = False
    return Resource(kind, name) if known else None


def _actions(resource: Resource, text: str) -> frozenset[str]:
    known = frozenset(ACTIONS[resource.type])
    asked = frozenset(text.split(","))
    return known if "*" in asked else asked & known


def _above(
    given: Mapping[Resource, frozenset[str]], resource: Resource
) -> Iterator[frozenset[str]]:
    """Yield the actions of each pattern that stands for more than ``resource``, and for it too."""
    kind, name = resource
    if kind == "registry" or name == "*":
        return
    if every := given.get(Resource(kind, "*")):
        yield every
    at = len(name.removesuffix("/*"))
    while (at := name.rfind("/", 0, at)) > 0:
        if found := given.get(Resource(kind, f"{name[:at]}/*")):
            yield found


NONE: Final = Scopes({})
"""Permits nothing."""

_: type[Ceiling] = Scopes
