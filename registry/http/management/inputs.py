"""The parameters of paths and queries: their types, and reading them."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Self, TypeVar, get_origin, get_type_hints
from urllib.parse import quote

import msgspec
from msgspec import Meta

from registry.service.projects.names import MAX_PROJECT, project_name
from registry.spec.digest import Digest
from registry.spec.errors import Unsupported, shown
from registry.spec.names import MAX_NAME, RepositoryName, Tag
from registry.spec.paths import Template
from registry.spec.problems import RequestInvalid
from registry.spec.query import read_query

T = TypeVar("T", bound=msgspec.Struct)

MAX_LIMIT: Final = 100
"""Most items of one page."""


class ProjectName(str):
    """A project's name in a path: in lower case, whatever the spelling; that is kept too."""

    __slots__ = ("spelling",)
    spelling: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name; ``ProjectNameInvalid``."""
        name = cls(project_name(text))
        name.spelling = text
        return name


class RepositoryParameter(RepositoryName):
    """A repository's name in a path, where a colon may stand for each of its slashes."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name; ``NameInvalid``."""
        return super().parse(text.replace(":", "/"))


PARAMETERS: Final[Mapping[type, tuple[Callable[[str], object], dict[str, Any]]]] = {
    ProjectName: (
        ProjectName.parse,
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_PROJECT,
            "pattern": "^[A-Za-z0-9]+(([._]|__|-+)[A-Za-z0-9]+)*$",
            "description": "Name of the project; case makes no difference.",
            "examples": ["demo"],
        },
    ),
    RepositoryParameter: (
        RepositoryParameter.parse,
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "pattern": "^[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
            "([/:][a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*$",
            "description": "Whole name of the repository; in a path, each slash is written as a "
            "colon, or as %2F.",
            "examples": ["demo:app"],
        },
    ),
    Tag: (
        Tag.parse,
        {
            "type": "string",
            "pattern": "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$",
            "description": "Name of the tag.",
            "examples": ["v1"],
        },
    ),
    Digest: (
        Digest.parse,
        {
            "type": "string",
            "pattern": "^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$",
            "description": "Digest of the content.",
            "examples": [f"sha256:{'0' * 64}"],
        },
    ),
}
"""The types of parameters that are more than a text or a number: how one is read, its schema."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No parameters."""


class OfProject(Nothing, frozen=True, kw_only=True):
    """What is asked of a project."""

    project: ProjectName


class OfRepository(Nothing, frozen=True, kw_only=True):
    """What is asked of a repository."""

    repository: RepositoryParameter


Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Most items of the page.")]
After = Annotated[
    str,
    Meta(max_length=1024, description="Where the page begins: `next` of the one before it."),
]


class Pages(Nothing, frozen=True, kw_only=True):
    """Which page of a list is asked for."""

    limit: Limit = MAX_LIMIT
    after: After = ""


class PagesOfProject(Pages, frozen=True, kw_only=True):
    """Which page of a list of the project's is asked for."""

    project: ProjectName


class PagesOfRepository(Pages, frozen=True, kw_only=True):
    """Which page of a list of the repository's is asked for."""

    repository: RepositoryParameter


def decode(wanted: type[Any], value: object) -> object:
    """``msgspec``'s ``dec_hook`` for parameters and bodies."""
    if wanted not in PARAMETERS:
        raise NotImplementedError(wanted)  # pragma: no cover
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return PARAMETERS[wanted][0](value)


def read(wanted: type[T], path: Mapping[str, str], raw_query: str) -> T:
    """Read the parameters of a path and a query.

    ``RequestInvalid`` for unknown ones, for those given twice, and for values out of their bounds;
    and what the types of names raise.
    """
    try:
        query = read_query(raw_query)
    except Unsupported as error:
        raise RequestInvalid(error.message) from None
    values: dict[str, object] = {}
    hints = get_type_hints(wanted) if query else {}
    for name, given in query.items():
        if name in path or name not in hints:
            raise RequestInvalid(f"there is no query parameter {shown(name)} here", parameter=name)
        many = get_origin(hints[name]) is tuple
        if not many and len(given) > 1:
            raise RequestInvalid(f"{name} is given more than once", parameter=name)
        if hints[name] is int and _NUMBER(given[0]) is None:
            raise RequestInvalid(f"{name}={shown(given[0])} is no number", parameter=name)
        values[name] = given if many else given[0]
    try:
        return msgspec.convert({**values, **path}, wanted, strict=False, dec_hook=decode)
    except msgspec.ValidationError as error:
        message, name = _where(str(error))
        raise RequestInvalid(f"{name}: {message}", parameter=name) from None


_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII).fullmatch
_AT: Final = re.compile(r"(?P<message>.*) - at `\$\.?(?P<where>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>\w+)`")


def _where(text: str) -> tuple[str, str]:
    """Split what ``msgspec`` says into what is wrong and where."""
    if missing := _MISSING.fullmatch(text):
        return "it has to be given", missing["name"]
    found = _AT.fullmatch(text)
    return (found["message"], found["where"]) if found else (text, "")


def read_body(wanted: type[T], data: bytes) -> T:
    """Read a JSON body. ``RequestInvalid`` says what is wrong where."""
    try:
        return msgspec.json.decode(data, type=wanted, dec_hook=decode)
    except msgspec.ValidationError as error:
        message, pointer = _where(str(error))
        place = f"{pointer}: " if pointer else ""
        raise RequestInvalid(
            f"{place}{message}", pointer="/" + pointer.replace(".", "/") if pointer else ""
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestInvalid(f"the body is no JSON document: {error}") from None


def in_path(name: str) -> str:
    """Write a repository's name for a path: some proxies resolve ``%2F`` on the way."""
    return name.replace("/", ":")


def next_url(prefix: str, template: Template, given: msgspec.Struct, after: str) -> str:
    """Return the path and query of the next page."""
    builtins = msgspec.to_builtins(given, enc_hook=str, str_keys=True)
    path = template.url(**{name: in_path(builtins.pop(name)) for name in template.parameters})
    defaults = {each.name: each.default for each in msgspec.structs.fields(type(given))}
    pairs = [
        (name, value)
        for name, values in {**builtins, "after": after}.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None and value != defaults.get(name)
    ]
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in pairs)
    return f"{prefix}{path}?{query}"
