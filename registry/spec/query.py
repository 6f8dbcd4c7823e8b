"""Reading a URL's query: strictly where two readings would differ, within limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from registry.spec.digest import Digest
from registry.spec.errors import DigestInvalid, Unsupported, shown

Parameters = Mapping[str, list[str]]
"""A query's values by parameter, in the order given."""

MAX_QUERY = 32 * 1024
"""Longest query, in characters."""

MAX_PARAMETERS = 256
"""Most parameters of one query."""


def read_query(text: str) -> Parameters:
    """Read a query into lists of values.

    A plus sign stays one. It would be a space in a form, but no value of this API holds a space,
    while people do type `artifactType=application/spdx+json`.

    Raises Unsupported above the limits, and for text that is not ASCII or not UTF-8 once its
    percent signs are resolved (RFC 3986 §2): it could not be written into a `Link` again.
    """
    if len(text) > MAX_QUERY:
        raise Unsupported(f"the query is too long: it may have {MAX_QUERY} characters")
    return _read(text, Unsupported)


def read_form(text: str, error: Callable[[str], Exception]) -> Parameters:
    """Read a form (`application/x-www-form-urlencoded`), where a plus sign is a space.

    Raises `error` with a message where `read_query` raises Unsupported; it repeats nothing of the
    form, which may hold passwords. The length is the caller's business.
    """
    return _read(text.replace("+", " "), error)


def _read(text: str, error: Callable[[str], Exception]) -> Parameters:
    if not text:
        return {}
    if not text.isascii():
        raise error("the parameters are not ASCII: percent-encode them")
    if text.count("&") >= MAX_PARAMETERS:
        raise error(f"there are too many parameters: {MAX_PARAMETERS} at most")
    parameters: dict[str, list[str]] = {}
    for part in text.split("&"):
        key, _, value = part.partition("=")
        try:
            parameters.setdefault(unquote(key, errors="strict"), []).append(
                unquote(value, errors="strict")
            )
        except UnicodeDecodeError:
            raise error("a parameter is not UTF-8 once its percent signs are resolved") from None
    return parameters


def single(parameters: Parameters, key: str, error: Callable[[str], Exception]) -> str | None:
    """Give the value of a parameter that may be given once; proxies disagree on which counts."""
    values = parameters.get(key)
    if values is None:
        return None
    if len(values) > 1:
        raise error(key)
    return values[0]


def repeated(key: str) -> Unsupported:
    """Make the error for a parameter that may be given once."""
    return Unsupported(f"query parameter {shown(key)} is given more than once")


def digest_parameter(parameters: Parameters, key: str) -> Digest | None:
    """Read a digest; raise DigestInvalid or DigestUnsupported when it is none or there are two."""
    text = single(parameters, key, lambda key: DigestInvalid(key, "it is given more than once"))
    return None if text is None else Digest.parse(text)
