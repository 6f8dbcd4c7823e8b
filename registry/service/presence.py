"""Whether something is stored."""

from storage.ports import NotFound, ObjectStore, Stat


async def exists(store: ObjectStore, key: str) -> bool:
    """Whether an object is at ``key`` now. It is asked of the store, never remembered."""
    return await stat(store, key) is not None


async def stat(store: ObjectStore, key: str) -> Stat | None:
    """What is told of the object at ``key``; ``None`` for nothing. As ``exists``."""
    try:
        return await store.stat(key)
    except NotFound:
        return None
