"""Reading the configuration: files in order, then the environment, then flags.

- A file is TOML; of several, a later one wins, key by key.
- ``MOORAGE__SECTION__KEY`` sets ``[section] key``, ``MOORAGE__SECTION__PART__KEY`` sets
  ``[section.part] key``. For a secret, ``MOORAGE__SECTION__KEY_FILE`` names a file that holds it
  (a mounted Kubernetes Secret). A list is written with commas. Sections of which there may be
  several are for files only.
- What the command line says wins over all.

A key that is not known is refused wherever it stands, and the nearest known one is named.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from registry.config.checks import ConfigError, check
from registry.config.sections import Config
from registry.config.values import Address, Secret, decode, encode

PREFIX: Final = "MOORAGE__"

_Table = dict[str, Any]
_PATH: Final = re.compile(r"^(?P<message>.*) - at `(?P<path>\$.*)`$", re.DOTALL)
_ELEMENT: Final = re.compile(r"\[[0-9]+\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set: ``section.key``, its type, default, and what it does.

    A section may lie within another: ``auth.token``. Of some there may be several, in
    tables with names of their own (``auth.oidc.NAME``) or in a list (``auth.rules[]``).
    ``holder`` is the Struct that it is a field of.
    """

    section: str
    key: str
    type: Any
    default: object
    description: str
    holder: Any

    @property
    def name(self) -> str:
        """``section.key``."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it; ``""`` where the section has no one place."""
        if "NAME" in self.section or "[]" in self.section:
            return ""
        return PREFIX + "__".join(self.name.upper().split("."))

    @property
    def choices(self) -> list[str]:
        """The texts that it may be, where the list is closed."""
        parts = _parts(self.type)
        return [str(arg) for part in parts if get_origin(part) is Literal for arg in get_args(part)]

    @property
    def secret(self) -> bool:
        """Whether it may come from a file that a ``…_FILE`` variable names."""
        return any(part is Secret for part in _parts(self.type))


def _parts(annotation: Any) -> Iterator[Any]:
    """Walk an annotation: itself and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def settings() -> list[Setting]:
    """Return everything that can be set, in the order of the sections."""
    return list(_walk(Config, ""))


def _walk(holder: type[Any], path: str) -> Iterator[Setting]:
    hints = get_type_hints(holder, include_extras=True)
    for item in msgspec.structs.fields(holder):
        inner = _section(hints[item.name])
        if inner is not None:
            kind, several = inner
            yield from _walk(kind, f"{path}.{item.name}".removeprefix(".") + several)
        else:
            yield Setting(
                section=path,
                key=item.name,
                type=hints[item.name],
                default=item.default
                if item.default_factory is msgspec.NODEFAULT
                else item.default_factory(),
                description=_description(hints[item.name]),
                holder=holder,
            )


def _section(annotation: Any) -> tuple[type[Any], str] | None:
    """Return the Struct of a section, and how its path goes on where there may be several."""
    structs = [part for part in _parts(annotation) if _is_struct(part)]
    if not structs:
        return None
    origins = {get_origin(part) for part in _parts(annotation)}
    return structs[0], ".NAME" if dict in origins else "[]" if tuple in origins else ""


def _is_struct(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, msgspec.Struct)


def _description(annotation: Any) -> str:
    found = [part.description for part in _parts(annotation) if isinstance(part, msgspec.Meta)]
    return next((text for text in found if text), "")


def load(
    files: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Return the configuration that the files, the environment and the flags add up to.

    ``flags`` maps ``section.key`` to a value. ``ConfigError`` on the first thing that is wrong.
    """
    merged: _Table = {}
    for file in files:
        table = _read(file)
        _convert(table, str(file))
        _merge(merged, table)
    _merge(merged, _from_environment(environment or {}))
    for name, value in (flags or {}).items():
        _set(merged, name, value)
    config = _convert(merged, "configuration")
    check(config)
    return config


def _read(file: Path) -> _Table:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error


def _merge(into: _Table, table: _Table) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            standing = into.get(key)
            into[key] = standing if isinstance(standing, dict) else {}
            _merge(into[key], value)
        else:
            into[key] = value


def _set(table: _Table, name: str, value: object) -> None:
    *sections, key = name.split(".")
    for section in sections:
        table = table.setdefault(section, {})
    table[key] = value


def _convert(table: _Table, source: str) -> Config:
    try:
        return msgspec.convert(table, Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        found = _PATH.match(str(error))
        message, path = (found["message"], found["path"]) if found else (str(error), "$")
        if unknown := _UNKNOWN.fullmatch(message):
            key = unknown["key"]
            raise ConfigError(
                f"{source}: {path}.{key}: no such setting{_nearest(path, key)}"
            ) from None
        raise ConfigError(f"{source}: {path}: {message}{_choices(message, path)}") from None


def _choices(message: str, path: str) -> str:
    """Name the values that there are, where one was given that is not among them."""
    if not message.startswith("Invalid enum value"):
        return ""
    found = [item for item in settings() if path == f"$.{item.name}"]
    return "; it is one of " + ", ".join(found[0].choices) if found else ""


def _nearest(path: str, key: str) -> str:
    """Say which known key under ``path`` is nearest to ``key``, or which ones there are."""
    section = _ELEMENT.sub("[]", path.removeprefix("$").removeprefix(".")).replace("[...]", ".NAME")
    known = settings()
    if not section:
        names = list(dict.fromkeys(item.section.partition(".")[0] for item in known))
        if elsewhere := [item.name for item in known if item.key == key]:
            return f"; did you mean {elsewhere[0]!r}?"
        return _suggest(key, names, "the sections are")
    names = [item.key for item in known if item.section == section]
    inner = (item.section for item in known if item.section.startswith(f"{section}."))
    names += dict.fromkeys(each[len(section) + 1 :].partition(".")[0] for each in inner)
    if close := difflib.get_close_matches(key, names, 1):
        return f"; did you mean {close[0]!r}?"
    if elsewhere := [item.name for item in known if item.key == key]:
        return f"; did you mean {elsewhere[0]!r}?"
    return _suggest(key, names, "this section has")


def _suggest(key: str, names: Iterable[str], otherwise: str) -> str:
    names = list(names)
    if close := difflib.get_close_matches(key, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; {otherwise} {', '.join(names)}"


def _from_environment(environment: Mapping[str, str]) -> _Table:
    known = {item.variable: item for item in settings() if item.variable}
    files = {f"{item.variable}_FILE": item for item in known.values() if item.secret}
    table: _Table = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        text = environment[variable]
        if variable in known:
            setting = known[variable]
        elif variable in files:
            setting = files[variable]
            if setting.variable in environment:
                raise ConfigError(f"{variable}: {setting.variable} is set too; set only one")
            text = _read_secret(variable, text)
        else:
            raise ConfigError(
                f"environment: {variable}: no such setting"
                + _suggest(variable, [*known, *files], "see docs/reference/configuration.md, or")
            )
        _set(table, setting.name, _from_text(variable, text, setting))
    return table


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{variable}: {path} can't be read: {error}") from error


def _from_text(variable: str, text: str, setting: Setting) -> object:
    """Give a variable's text the type of its setting, so that it merges as if from a file."""
    if setting.secret:
        return text
    if not text and type(None) in set(_parts(setting.type)):
        return None
    if any(get_origin(part) is tuple for part in _parts(setting.type)):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        value: object = msgspec.convert(text, setting.type, strict=False, dec_hook=decode)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `")[0]
        path = f"$.{setting.name}"
        message += _choices(message, path) or f"; got {text!r}"
        raise ConfigError(f"environment: {variable} ({path}): {message}") from None
    return text if isinstance(value, Address) else value


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""

    def custom(wanted: type[Any]) -> dict[str, Any]:
        if wanted is Address:
            return {"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):[0-9]+$"}
        if wanted is Secret:
            return {"type": "string", "writeOnly": True}
        raise NotImplementedError(wanted)  # pragma: no cover

    found = msgspec.json.schema(Config, schema_hook=custom)
    for item in settings():
        entry = found["$defs"][item.holder.__name__]["properties"][item.key]
        if item.default is not msgspec.NODEFAULT:
            entry["default"] = msgspec.to_builtins(item.default, enc_hook=encode)
    portable: dict[str, Any] = _portable(found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Moorage",
        **portable,
    }


def _portable(part: Any) -> Any:
    r"""Write patterns as JSON Schema has them (ECMA 262): no ``\Z``, and ``$`` means it."""
    if isinstance(part, list):
        return [_portable(each) for each in part]
    if isinstance(part, dict):
        return {
            key: each.removesuffix(r"\Z") + "$"
            if key == "pattern" and str(each).endswith(r"\Z")
            else _portable(each)
            for key, each in part.items()
        }
    return part


def show(config: Config) -> dict[str, Any]:
    """Return the configuration as plain tables, secrets as stars."""
    shown: dict[str, Any] = msgspec.to_builtins(config, enc_hook=encode)
    return shown
