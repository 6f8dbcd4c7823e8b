"""The file-system driver keeps the contracts."""

import pytest

from storage import _disk, _root
from storage.filesystem import FileStore
from storage.testing import ContentStoreContract, FileContentContract


@pytest.fixture
def root(tmp_path):
    """Where the store is; nothing of a write is left beside the objects when a test ends."""
    yield tmp_path / "store"
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


class TestFileStore(ContentStoreContract):
    @pytest.fixture
    async def store(self, root):
        store = FileStore(root, threads=8)
        yield store
        store.close()


class TestFileStoreFiles(FileContentContract):
    @pytest.fixture
    async def files(self, root):
        store = FileStore(root, threads=8)
        yield store
        store.close()


class TestOtherFileSystems(ContentStoreContract):
    """With an fsync for each directory, and with no openat2."""

    @pytest.fixture
    async def store(self, root, monkeypatch):
        monkeypatch.setattr(_disk, "orders_renames", lambda _: False)
        monkeypatch.setattr(_root, "_has_openat2", False)
        store = FileStore(root, threads=2)
        yield store
        store.close()
