"""The section of the configuration about tags: which never move, and what is kept of the rest."""

from typing import Annotated

from msgspec import Meta, Struct

_Patterns = tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...]


class TagsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tags that, once pushed, stay what they are; and what others were."""

    immutable: Annotated[
        _Patterns,
        Meta(max_length=100, description="Patterns of tags that never move; empty: all move."),
    ] = ()
    immutable_except: Annotated[
        _Patterns, Meta(max_length=100, description="Patterns of tags that move all the same.")
    ] = ()
    history: Annotated[
        int, Meta(ge=0, le=100, description="How many earlier states are kept of each tag.")
    ] = 20
    history_days: Annotated[
        float, Meta(gt=0, le=3660, description="For how long after they ended, in days.")
    ] = 90.0
