"""An image's config: what it runs on and what it runs (image-spec, config.md; Docker's is alike).

What clients push may be anything, so it is read leniently: a field that is not as it should be
counts as missing, and nothing here is trusted for more than being shown.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from registry.spec.manifest import Manifest

T = TypeVar("T")

MAX_CONFIG = 1024 * 1024
"""Largest config that is looked into, in bytes."""

_MAX_WORD = 64


class ImageConfig(msgspec.Struct, frozen=True):
    """What a config says. Texts and lists are as they were pushed; what is missing is empty."""

    platform: str = ""
    created: str = ""
    author: str = ""
    user: str = ""
    working_dir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    labels: dict[str, str] = {}


def read(data: bytes) -> ImageConfig | None:
    """Read a config; ``None`` for what is no JSON object."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    inner = _as(document.get("config"), dict[str, Any], {})
    return ImageConfig(
        platform_text(document),
        _as(document.get("created"), str, ""),
        _as(document.get("author"), str, ""),
        _as(inner.get("User"), str, ""),
        _as(inner.get("WorkingDir"), str, ""),
        _as(inner.get("Entrypoint"), tuple[str, ...], ()),
        _as(inner.get("Cmd"), tuple[str, ...], ()),
        _as(inner.get("Env"), tuple[str, ...], ()),
        tuple(_as(inner.get("ExposedPorts"), dict[str, Any], {})),
        _as(inner.get("Labels"), dict[str, str], {}),
    )


def platform_text(platform: dict[str, Any] | None) -> str:
    """Write a platform as people do, ``linux/arm64/v8``; ``""`` for one that says nothing.

    ``unknown/unknown`` is what BuildKit gives attestations.
    """
    if not platform:
        return ""
    words = [_as(platform.get(name), str, "") for name in ("os", "architecture", "variant")]
    text = "/".join(word[:_MAX_WORD] for word in words if word)
    return "" if text == "unknown/unknown" else text


def platforms_of_index(index: Manifest) -> tuple[str, ...]:
    """The platforms of the images that an index lists, each once, in its order."""
    found = (platform_text(each.platform) for each in index.manifests)
    return tuple(dict.fromkeys(text for text in found if text))


def _as(value: object, kind: type[T], missing: T) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return missing
