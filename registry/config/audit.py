"""The section about the audit log."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from registry.config.values import Secret


class AuditConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The audit log: who did what."""

    mode: Annotated[
        Literal["auto", "off", "buffered", "strict"],
        Meta(
            description="buffered: events are stored each flush_seconds; strict: a change waits "
            "for its event; auto: buffered where auth.mode is projects."
        ),
    ] = "auto"
    flush_seconds: Annotated[
        float, Meta(ge=0.05, le=60, description="How often events are written to the store.")
    ] = 1.0
    buffer: Annotated[
        int,
        Meta(ge=100, le=1_000_000, description="Events that may wait for that; then changes wait."),
    ] = 10_000
    key: Annotated[
        Secret,
        Meta(description="Secret that makes hashes nobody else can make; empty: plain hashes."),
    ] = field(default_factory=Secret)
    log: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="Write a line for each event too; auto: unless stdout is a terminal."),
    ] = "auto"
    file: Annotated[
        str, Meta(description="File for these lines, opened anew on SIGHUP; empty: stdout.")
    ] = ""
