"""The table as documentation: `docs/reference/advisories.md` is written from it."""

from collections.abc import Iterator

from tests.advisories.rows import ROOT, Row
from tests.advisories.table import ROWS, SECTIONS

PAGE = ROOT / "docs/reference/advisories.md"

_HEAD = """\
# Advisories

What went wrong in other registries, in their clients and in libraries, and what keeps it from
going wrong here. Every protection has tests that fail once it is removed: `make mutations` takes
each of them out of a copy of the project, one at a time, and wants these tests to fail.
`make test` looks whether each protection is still where the table says, and removes some.

This page is written by `python -m tests.advisories --document`, from the tables in
`tests/advisories/`.
"""


def text() -> str:
    """Return the page."""
    return "\n".join(_lines())


def write() -> None:
    """Write the page."""
    PAGE.write_text(text())


def _lines() -> Iterator[str]:
    yield _HEAD
    cuts = sum(len(row.cuts) for row in ROWS)
    yield f"{len(ROWS)} rows, {cuts} protections that are removed.\n"
    for section, rows in SECTIONS.items():
        yield f"## {section}\n"
        yield "| advisory | of | what went wrong | here | protection, and the tests that fail |"
        yield "|---|---|---|---|---|"
        yield from (_row(row) for row in rows)
        yield ""


def _row(row: Row) -> str:
    shown = "; ".join(
        f"`{each.place}`: {', '.join(f'`{_short(test)}`' for test in each.tests)}"
        for each in row.cuts
    )
    here = f"Not possible: {row.cannot}." if row.cannot else "Protected."
    return f"| {row.id} | {row.product} | {row.what} | {here} | {shown or 'None.'} |"


def _short(test: str) -> str:
    """The test's name, without its file and without the case."""
    return test.rpartition("::")[2].partition("[")[0]
