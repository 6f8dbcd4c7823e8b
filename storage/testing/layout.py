"""What a store that outlives its process says of its layout."""
# ruff: noqa: S101, D102 - tests: they assert, and their names say what

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from storage._layout import LAYOUT, StoreRefused
from storage.ports import ObjectStore


class StorePlace(Protocol):
    """Where a store is kept: a directory, or a bucket. It is new, and empty."""

    def open(self) -> AbstractAsyncContextManager[ObjectStore]:
        """Open the store, as a process does that starts."""
        ...

    async def marker(self) -> bytes:
        """Return what the marker has."""
        ...

    async def mark(self, data: bytes | None) -> None:
        """Write the marker of a store that was opened before; ``None`` removes it."""
        ...


class LayoutContract:
    """A store has a marker from its first start on, and is opened by who knows its layout.

    A driver's test is a subclass with the fixture ``place``.
    """

    async def test_a_new_store_is_marked_and_can_be_opened_again(self, place: StorePlace) -> None:
        async with place.open() as store:
            await store.put("a/b", b"1")
        assert json.loads(await place.marker()) == {"layout": LAYOUT}
        async with place.open() as store:
            assert (await store.get("a/b")).data == b"1"

    async def test_many_may_start_at_once(self, place: StorePlace) -> None:
        async def start() -> None:
            async with place.open():
                pass

        await asyncio.gather(*[start() for _ in range(5)])
        assert json.loads(await place.marker()) == {"layout": LAYOUT}

    async def test_a_store_from_before_there_were_markers_is_marked(
        self, place: StorePlace
    ) -> None:
        async with place.open() as store:
            await store.put("a/b", b"1")
        await place.mark(None)
        async with place.open() as store:
            assert (await store.get("a/b")).data == b"1"
        assert json.loads(await place.marker()) == {"layout": LAYOUT}

    async def test_a_newer_layout_is_refused_and_left_as_it_is(self, place: StorePlace) -> None:
        async with place.open():
            pass
        newer = json.dumps({"layout": LAYOUT + 1}).encode()
        await place.mark(newer)
        message = f"version {LAYOUT + 1}, and this release knows {LAYOUT}"
        with pytest.raises(StoreRefused, match=message):
            async with place.open():
                pass
        assert await place.marker() == newer

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"layout": "1"}', b"null", b"\xff"])
    async def test_a_damaged_marker_is_refused(self, place: StorePlace, data: bytes) -> None:
        async with place.open():
            pass
        await place.mark(data)
        with pytest.raises(StoreRefused, match="backup"):
            async with place.open():
                pass
