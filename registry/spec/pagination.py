"""Pages of tags, referrers and repositories (spec, end-8b; RFC 8288 links)."""

from __future__ import annotations

import re

import msgspec

from registry.spec.errors import Unsupported, shown

MAX_PAGE = 10_000
"""Most items that a client may ask for at once (CVE-2023-2253: `n` decides an allocation)."""

MAX_LAST = 256
"""Most characters of `last` that are kept: more than any tag, repository name or digest has."""

_NUMBER = re.compile(r"[0-9]+").fullmatch


class Page(msgspec.Struct, frozen=True, gc=False):
    """What part of a listing is wanted.

    `n`: at most so many items; 0 gives none, None leaves it to the registry.
    `last`: begin after this item, which need not exist; None begins at the start.
    """

    n: int | None = None
    last: str | None = None


def parse_page(n: str | None, last: str | None, *, maximum: int = MAX_PAGE) -> Page:
    """Read the query parameters `n` and `last`.

    A number above `maximum` is cut to it, never refused: the specification lets a page be
    shorter than asked for when a `Link` follows. What is no number (text, a sign, nothing) is
    refused with UNSUPPORTED, 400: the specification says "an integer" and nothing else, and an
    answer to a guess (all, or none) would be taken for the truth.

    `last` may be any text. It is cut to `MAX_LAST` characters, which changes no answer: every
    item is shorter, so it compares alike with the whole and with the cut text.
    """
    if last is not None:
        last = last[:MAX_LAST]
    if n is None:
        return Page(None, last)
    if _NUMBER(n) is None:
        raise Unsupported(f"n={shown(n)} is no number of items: use 0 to {maximum}")
    digits = n.lstrip("0")
    # The length comes first: int() of a long text is slow, and refused above 4300 digits.
    number = maximum if len(digits) > len(str(maximum)) else min(int(digits or "0"), maximum)
    return Page(number, last)


def link(url: str) -> str:
    """Give the `Link` header that leads to the next page (RFC 8288): `<url>; rel="next"`.

    `url` is relative to the host (`requests.url_for`), so that no `Host` header can poison it.
    """
    return f'<{url}>; rel="next"'
