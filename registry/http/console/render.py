"""Pages as text: the templates, and how figures and times are written in them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from registry.http.console.static import StaticFiles
from registry.http.console.visit import PREFIX
from registry.http.management.inputs import in_path

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")

_SORTED: Final = 1000
"""Most pairs that are put in order: a manifest may have hundreds of thousands of annotations."""

_BRIEF: Final = 80
"""Most characters of a text that is shown beside others."""


class Templates:
    """Fills templates. Whatever is put into one is escaped: names and annotations are clients'."""

    def __init__(self, static: StaticFiles, paths: Mapping[str, Any]) -> None:
        """``paths`` gives the path template of each page by its action."""
        self._paths = paths
        environment = Environment(
            loader=PackageLoader("registry.http.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters |= {
            "size": size,
            "when": when,
            "short": short,
            "brief": brief,
            "count": count,
            "first_pairs": first_pairs,
        }
        environment.globals |= {
            "url": self.url,
            "static": static.url,
            "page_url": page_url,
        }
        self._templates = {
            name: environment.get_template(name) for name in environment.list_templates()
        }

    def render(self, template: str, facts: Mapping[str, Any]) -> bytes:
        """Return the page. Quick: pages are bounded."""
        return self._templates[template].render(facts).encode()

    def url(self, action: str, /, **values: Any) -> str:
        """Return the address of a page; what its path does not take becomes its query."""
        path = self._paths[f"console.{action}"]
        inside = {name: in_path(str(values.pop(name))) for name in path.parameters}
        query = {name: str(value) for name, value in values.items() if value}
        below: str = path.url(**inside)
        return f"{PREFIX}{below}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def page_url(url: str, after: str | None) -> str:
    """Return the address of the page of a list that begins behind ``after``."""
    return f"{url}{'&' if '?' in url else '?'}after={quote(after or '', safe='')}"


def size(number: int | None) -> Markup:
    """Write a size for people (decimal units), with the exact bytes in its title."""
    if number is None:
        return Markup('<span class="none">unknown</span>')
    figure, unit = float(number), 0
    while figure >= 999.5 and unit + 1 < len(_UNITS):
        figure, unit = figure / 1000, unit + 1
    text = f"{figure:.0f}" if unit == 0 or figure >= 99.95 else f"{figure:.1f}"
    return Markup('<data value="{0}" title="{0:,} bytes">{1} {2}</data>').format(
        number, text, _UNITS[unit]
    )


def when(moment: datetime | None) -> Markup:
    """Write a moment to the minute, in UTC, with all of it in its title."""
    if moment is None:
        return Markup('<span class="none">never</span>')
    moment = moment.astimezone(UTC)
    exact = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        exact, moment.strftime("%Y-%m-%d %H:%M")
    )


def short(digest: str) -> Markup:
    """Write the beginning of a digest, with all of it in its title."""
    algorithm, _, text = digest.partition(":")
    return Markup('<code title="{}">{}</code>').format(digest, f"{algorithm}:{text[:12]}")


def brief(text: str) -> Markup | str:
    """Write what may be a digest as ``short`` does, and cut any other text."""
    if text.startswith(("sha256:", "sha512:")) and " " not in text:
        return short(text)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def count(number: int) -> str:
    """Write a number with its thousands apart."""
    return f"{number:,}"


def first_pairs(found: Mapping[str, str], most: int) -> list[tuple[str, str]]:
    """Return the first pairs in the order of their keys; of very many, of those pushed first."""
    return sorted(islice(found.items(), _SORTED), key=lambda pair: pair[0].lower())[:most]
