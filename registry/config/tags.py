"""The section of the configuration that says which tags never move."""

from typing import Annotated

from msgspec import Meta, Struct

_Patterns = tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...]


class TagsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tags that, once pushed, stay what they are."""

    immutable: Annotated[
        _Patterns,
        Meta(max_length=100, description="Patterns of tags that never move; empty: all move."),
    ] = ()
    immutable_except: Annotated[
        _Patterns, Meta(max_length=100, description="Patterns of tags that move all the same.")
    ] = ()
