"""What one client may take of the server."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Bounds on requests: bytes, entries and seconds."""

    manifest_bytes: int = 4 * 1024 * 1024
    """The largest manifest; a larger one gets 413."""

    page: int = 1000
    """The most entries of one page; a client that asks for more gets this many and a Link."""

    idle_seconds: float = 60.0
    """A body, in or out, that makes no progress for this long ends its connection."""

    slowest_bytes: int = 16 * 1024
    """A request body must bring at least this many bytes in each ``idle_seconds``."""
