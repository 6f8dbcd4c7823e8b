"""Records of sessions that this release can't read: who goes through all of them goes on.

A newer release may have written them, before somebody went back to this one.
"""

import logging
from typing import Final

from registry.service.records import Corrupt
from registry.service.remembered import Kept

_log = logging.getLogger("moorage.uploads")

_TOLD: Final[Kept[bool]] = Kept(1024 * 1024, lambda _: 150)


def tell_unreadable(key: str, error: Corrupt) -> None:
    """Log that the record at ``key`` is left as it is: once in a process, which 1 MiB bounds."""
    if _TOLD.peek(key) is None:
        _TOLD.keep(key, value=True)
        _log.warning("%s is left as it is, remove it once its upload is over: %s", key, error)
