"""Where the outcome of a run is kept: files of its own, and a section of a page of the docs."""

import re
import sys
from pathlib import Path
from typing import Protocol


class Outcome(Protocol):
    """What a run came to."""

    def markdown(self) -> str:
        """For people."""
        ...

    def json(self) -> str:
        """With each figure."""
        ...


def keep(
    program: str,
    section: str,
    outcome: Outcome,
    picture: str,
    *,
    alt: str,
    results: Path,
    document: Path | None,
) -> None:
    """Write the outcome and its SVG ``picture`` into ``results``, and into the ``document``.

    That has the section between ``<!-- section -->`` and ``<!-- end -->``; where it has none, that
    is said, and nothing of it changes. ``alt`` says in words what the picture is of.
    """
    name = f"{program}-{section}"
    results.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("md", outcome.markdown()), ("json", outcome.json()), ("svg", picture)):
        (results / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    if document is None:
        return
    document.with_name(f"{name}.svg").write_text(picture, encoding="utf-8")
    body = f"![{alt}]({name}.svg)\n\n{outcome.markdown()}"
    page = document.read_text(encoding="utf-8")
    marked = rf"(<!-- {section} -->\n).*?(<!-- end -->)"
    page, count = re.subn(marked, lambda m: m[1] + body + m[2], page, count=1, flags=re.DOTALL)
    if not count:
        print(f"{program}: {document} has no <!-- {section} -->", file=sys.stderr)
    document.write_text(page, encoding="utf-8")
