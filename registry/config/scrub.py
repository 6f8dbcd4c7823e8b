"""The section of the configuration about scrubbing: reading what is stored again."""

from typing import Annotated

from msgspec import Meta, Struct


class ScrubConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often all that is stored is read again, and what mends it."""

    interval_days: Annotated[
        float, Meta(ge=0, le=3650, description="Days from one scrub to the next; 0: none.")
    ] = 0.0
    bytes_per_second: Annotated[
        int, Meta(ge=0, description="Bytes read in a second at the most; 0: any number.")
    ] = 16 * 1024 * 1024
    second: Annotated[
        str, Meta(description="Configuration file whose storage has a copy to mend from.")
    ] = ""
