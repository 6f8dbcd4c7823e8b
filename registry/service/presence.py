"""Whether something is stored."""

from storage.ports import NotFound, ObjectStore


async def exists(store: ObjectStore, key: str) -> bool:
    """Whether an object is at ``key`` now. It is asked of the store, never remembered."""
    try:
        await store.stat(key)
    except NotFound:
        return False
    return True
