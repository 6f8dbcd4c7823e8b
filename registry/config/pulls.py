"""The section of the configuration about the pull history."""

from typing import Annotated

from msgspec import Meta, Struct


class PullsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pull history: who pulled which tag last, and how often."""

    enabled: Annotated[bool, Meta(description="Count pulls of manifests.")] = True
    flush_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="How often counts are written to the store.")
    ] = 60.0
