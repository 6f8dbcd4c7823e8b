"""The section of the configuration that says how long what nothing needs stays."""

from typing import Annotated

from msgspec import Meta, Struct

_MONTH = 31 * 86_400


class CollectionConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The collector of garbage, and how long what was deleted can be had back."""

    enabled: Annotated[
        bool, Meta(description="Collect while serving; false: only moorage gc does, as a job.")
    ] = True
    grace_seconds: Annotated[
        float,
        Meta(ge=1, le=_MONTH, description="Time for which a blob stays after the last answer."),
    ] = 86_400.0
    undelete_seconds: Annotated[
        float,
        Meta(ge=0, le=12 * _MONTH, description="Time in which a deleted manifest can be had back."),
    ] = 604_800.0
    interval_seconds: Annotated[
        float, Meta(ge=0.1, le=86_400, description="Pause between two looks at what is due.")
    ] = 60.0
    per_second: Annotated[
        float, Meta(ge=0, le=100_000, description="Things looked at in a second; 0: any number.")
    ] = 200.0
    concurrency: Annotated[
        int, Meta(ge=1, le=256, description="Things looked at at the same time.")
    ] = 16
    retention_seconds: Annotated[
        float,
        Meta(ge=0, le=_MONTH, description="Pause between two runs of retention; 0: none run."),
    ] = 3600.0
