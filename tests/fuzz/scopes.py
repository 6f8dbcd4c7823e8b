"""Any text is read as scopes, and what is understood of it is written in one way only."""

from auth.scopes import Scopes, TooManyScopes

SEEDS = (
    b"repository:demo/env:pull,push registry:catalog:*",
    b"repository(plugin):demo:pull repository:reg.example.com:5000/demo:*",
    b"repository:demo/*:pull repository:*:delete",
    b"repository:demo:pull " * 300,
)


def check(data: bytes) -> None:
    """Reading what was written gives the same; a pattern comes of nothing that a client sends."""
    text = data.decode("latin-1")
    for read in (Scopes.parse, Scopes.parse_ceiling):
        try:
            found = read(text)
        except TooManyScopes:
            continue
        assert read(str(found)) == found
        assert str(found).isascii()
        assert read == Scopes.parse_ceiling or "*" not in str(found).replace("catalog:*", "")
