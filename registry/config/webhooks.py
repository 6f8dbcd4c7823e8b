"""The section of the configuration about webhooks."""

from typing import Annotated

from msgspec import Meta, Struct


class WebhooksConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens is told to addresses that owners of projects and administrators choose."""

    enabled: Annotated[
        bool, Meta(description="Tell webhooks what happens; there has to be an audit log.")
    ] = True
    allow_http: Annotated[bool, Meta(description="Take URLs without TLS too.")] = False
    allow_networks: Annotated[
        tuple[str, ...],
        Meta(description="Inner networks that webhooks may lead to; empty: none."),
    ] = ()
    ca_file: Annotated[
        str, Meta(description="PEM file of authorities to trust; empty: the system's.")
    ] = ""
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Time in which a receiver must have answered.")
    ] = 5.0
    retry_seconds: Annotated[
        float,
        Meta(ge=0.05, le=3600, description="Pause before the second attempt; each doubles it."),
    ] = 10.0
    give_up_seconds: Annotated[
        float, Meta(ge=1, le=604_800, description="Age at which an event becomes a dead letter.")
    ] = 86_400.0
    dead_days: Annotated[
        float, Meta(gt=0, le=3650, description="Time for which dead letters are kept.")
    ] = 30.0
    interval_seconds: Annotated[
        float, Meta(ge=0.05, le=3600, description="Pause between two looks at what is due.")
    ] = 2.0
    concurrency: Annotated[
        int, Meta(ge=1, le=256, description="Webhooks that are sent to at the same time.")
    ] = 32
