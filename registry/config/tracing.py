"""The section of the configuration about traces."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from registry.config.values import Secret


class TracingConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Traces by OpenTelemetry, sent to a collector."""

    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^?#@\s]+)?\Z",
            description="URL that takes OTLP over HTTP, such as http://collector:4318/v1/traces; "
            "empty: no traces.",
        ),
    ] = ""
    authorization: Annotated[
        Secret, Meta(description="Value of the Authorization header for the collector.")
    ] = field(default_factory=Secret)
    ca_file: Annotated[
        str, Meta(description="PEM file of authorities to trust; empty: the system's.")
    ] = ""
    ratio: Annotated[
        float,
        Meta(ge=0, le=1, description="Part of what nobody has decided on yet that is traced."),
    ] = 0.1
    parents: Annotated[
        Literal["proxies", "all", "none"],
        Meta(
            description="Whose traceparent is gone on with: of server.trusted_proxies, which must "
            "then remove what clients send; of all clients; or of none."
        ),
    ] = "none"
    service: Annotated[
        str, Meta(min_length=1, max_length=100, description="The name of the service in traces.")
    ] = "moorage"
    queue: Annotated[
        int,
        Meta(
            ge=256,
            le=1_000_000,
            description="Spans that may wait for the collector; the oldest are dropped.",
        ),
    ] = 4096
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Time in which the collector must take a batch.")
    ] = 5.0
