"""What commands print: tables for people, JSON for programs."""

# ruff: noqa: T201  printing is what a command does

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

_EMPTY: Final = "-"


def print_items(items: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list: a table with these fields as its columns, or a JSON array of all fields."""
    if as_json:
        print(json.dumps(items, indent=2))
        return
    rows = [[heading(column) for column in columns]]
    rows += [[cell(item.get(column)) for column in columns] for item in items]
    widths = [max(len(row[number]) for row in rows) for number in range(len(columns))]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        print(line.rstrip())
    if not items:
        note("(nothing)")


def print_value(value: dict[str, Any], *, as_json: bool) -> None:
    """Print one thing: its fields line by line, or as JSON."""
    if as_json:
        print(json.dumps(value, indent=2))
        return
    width = max(map(len, map(heading, value)), default=0)
    for key, each in value.items():
        print(f"{heading(key).ljust(width)}  {cell(each)}")


def note(text: str) -> None:
    """Say something that is no output."""
    print(text, file=sys.stderr)


def heading(column: str) -> str:
    """The name of a field, as a heading."""
    return column.replace("_", " ").upper()


def cell(value: Any) -> str:
    """A value as a cell of a table has it: one line, and no character that moves a cursor."""
    if value is None or value in ("", []):
        return _EMPTY
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, dict):
        return " ".join(f"{key}={cell(each)}" for key, each in value.items() if each is not None)
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]
