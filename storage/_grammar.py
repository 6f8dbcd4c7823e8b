"""The grammar of keys, prefixes and values that every driver checks before any I/O."""

import re

from storage.ports import MAX_KEY, MAX_VALUE, InvalidKey, Items

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._:=!-]{1,255}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*").fullmatch
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)+").fullmatch


def check_key(key: str) -> None:
    """Raise ``InvalidKey`` unless ``key`` keeps the grammar of ``storage.ports``."""
    if len(key) > MAX_KEY or _KEY(key) is None:
        raise InvalidKey(key)


def check_prefix(prefix: str) -> None:
    """Raise ``InvalidKey`` unless ``prefix`` is some segments, each followed by ``/``."""
    if len(prefix) > MAX_KEY or _PREFIX(prefix) is None:
        raise InvalidKey(prefix)


def check_value(key: str, data: bytes) -> None:
    """Raise ``ValueError`` if ``data`` is larger than one value may be."""
    if len(data) > MAX_VALUE:
        raise ValueError(f"{key}: {len(data)} bytes are too many for one value; append them")


def check_items(*steps: Items) -> None:
    """Raise ``InvalidKey`` or ``ValueError`` unless each item of each step can be written."""
    for items in steps:
        for key, data in items:
            check_key(key)
            check_value(key, data)


def check_range(key: str, start: int, end: int | None) -> None:
    """Raise ``ValueError`` unless ``start`` and ``end`` bound a range."""
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"{key}: bytes {start} up to {end} are no range")


def parse_progress(key: str, progress: str) -> int:
    """Return the bytes that ``progress`` tells of; ``ValueError`` if no writer gave it."""
    if progress == "":
        return 0
    if not (progress.isascii() and progress.isdecimal()):
        raise ValueError(f"{key}: {progress!r} is no writer's progress")
    return int(progress)
