"""What a row of the table is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Edit = tuple[str, str, str]
"""A file, a piece of its text that is there once, and what stands there without the protection."""


@dataclass(frozen=True)
class Cut:
    """One protection: the edits that remove it, and the tests that fail without it.

    A test is a node id of pytest, or a file's function, of which then one case at least fails.
    """

    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def place(self) -> str:
        """The file that the protection is in."""
        return self.edits[0][0]


@dataclass(frozen=True)
class Row:
    """An advisory, or an idea of an attack.

    `cannot`: why it has no place here, for one that has no `cuts`. What can be shown of that (that
    nothing unpacks layers, say) is a cut all the same.
    """

    id: str
    product: str
    what: str
    cuts: tuple[Cut, ...] = field(default=())
    cannot: str = ""


def cut(file: str, snippet: str, instead: str, *tests: str) -> Cut:
    """Make a cut of one edit."""
    return Cut(((file, snippet, instead),), tests)


def cuts_of(rows: tuple[Row, ...]) -> Iterator[tuple[str, Cut]]:
    """Yield each cut with a name of its own: the row's, and a number where it has several."""
    for row in rows:
        for number, each in enumerate(row.cuts, 1):
            yield (row.id if len(row.cuts) == 1 else f"{row.id} ({number})"), each


def applied(text: str, snippet: str, instead: str) -> str:
    """Return the text with the edit made; `ValueError` unless the snippet is there once."""
    if text.count(snippet) != 1:
        raise ValueError(f"it is there {text.count(snippet)} times: {snippet!r}")
    return text.replace(snippet, instead)
