"""The section of the configuration that says what new projects may hold."""

from typing import Annotated

from msgspec import Meta, Struct


class QuotaConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The quota that a new project begins with, and how often what is due is counted."""

    bytes: Annotated[
        int, Meta(ge=0, description="Bytes that a new project may hold; 0: any number.")
    ] = 0
    repositories: Annotated[
        int, Meta(ge=0, description="Repositories of a new project; 0: any number.")
    ] = 0
    tags: Annotated[int, Meta(ge=0, description="Tags of a new project; 0: any number.")] = 0
    warn_percent: Annotated[
        int, Meta(ge=1, le=100, description="From when on pushes are warned; 100: never.")
    ] = 90
    interval_seconds: Annotated[
        float, Meta(ge=0.1, le=86_400, description="Pause between two looks at what is due.")
    ] = 30.0
