"""Requests that are cancelled, and again while they end: the client goes, and then a shutdown."""

import asyncio

import pytest

from registry.service.intake import Chunk
from registry.service.services import Services
from registry.spec.names import Place
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from storage.testing import FaultyStore

HERE = Place("project/env")


async def test_what_came_of_an_upload_is_kept_however_often_its_request_is_cancelled():
    store = FaultyStore(MemoryStore())
    services = Services.over(store, InProcessCoordinator(), files=None, memory=1024 * 1024)
    session = (await services.uploads.start(HERE, "me")).session
    came = asyncio.Event()

    async def body():
        yield b"bytes"
        came.set()
        await asyncio.Event().wait()

    chunk = Chunk(body(), None, None)
    appending = asyncio.create_task(services.uploads.append(HERE, session, "me", chunk))
    await came.wait()
    writing = store.gate(1, "create")
    appending.cancel()
    await writing.reached.wait()
    for _ in range(3):
        appending.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    writing.open()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert (await services.uploads.status(HERE, session, "me")).offset == len(b"bytes")
