"""Values of response headers that both answers and errors carry."""


def upload_range(offset: int) -> str:
    """Give the `Range` header of an upload session that holds `offset` bytes.

    The end is inclusive (spec, end-5 and end-13). A session without bytes answers `0-0`, as
    CNCF Distribution does: the grammar has no way to say "nothing", and clients, the official
    conformance suite among them, need the `0-` prefix.
    """
    return f"0-{max(offset - 1, 0)}"


def etag(digest: str) -> str:
    """Give the strong entity tag of the content named by `digest` (RFC 9110 §8.8.3)."""
    return f'"{digest}"'


def unsatisfied_range(size: int) -> str:
    """Give the `Content-Range` of a 416 answer about content of `size` bytes (RFC 9110 §14.4)."""
    return f"bytes */{size}"
