"""Walking all keys below a prefix, page by page."""

from collections.abc import AsyncIterator

from storage.ports import ObjectStore

_PAGE = 1000


async def every_key(store: ObjectStore, prefix: str, after: str = "") -> AsyncIterator[str]:
    """Yield every key below ``prefix`` that sorts behind ``after``, in byte order.

    Constant memory: page by page.
    """
    while True:
        page = await store.list(prefix, after=after, limit=_PAGE)
        for key in page:
            yield key
        if len(page) < _PAGE:
            return
        after = page[-1]
