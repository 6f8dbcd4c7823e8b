"""The layout's version, which a store says itself: so no release reads what it does not know."""

import json
from typing import Final

from storage.ports import StorageError

LAYOUT: Final = 1
"""The version of the layout that this code reads and writes."""

MARKER: Final = "moorage.json"
"""Where a store says it: a file beside the objects of a directory, an object of a bucket."""


class StoreRefused(StorageError):
    """A store can't be used as it is: it has a newer layout, or holds other things."""


def marker() -> bytes:
    """Return what to write into a store that is new."""
    return json.dumps({"layout": LAYOUT}).encode()


def check_marker(place: str, data: bytes) -> None:
    """``StoreRefused`` where the marker of the store at ``place`` is not of this layout."""
    try:
        layout = json.loads(data)["layout"]
    except (ValueError, KeyError, TypeError):
        layout = None
    if not isinstance(layout, int):
        raise StoreRefused(place, f"its {MARKER} can't be read; restore it from a backup")
    if layout != LAYOUT:
        raise StoreRefused(
            place,
            f"its layout has version {layout}, and this release knows {LAYOUT}; use the release "
            "that wrote it, or a newer one",
        )
