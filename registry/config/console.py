"""The section of the configuration about the console."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class ConsoleConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pages for people who would rather look, below /console/."""

    enabled: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="Whether there are any; auto: where auth.mode is open."),
    ] = "auto"
    session_seconds: Annotated[
        int, Meta(ge=60, le=86_400, description="Time after which a browser has to log in again.")
    ] = 3600
