"""The section ``platform``: a platform whose projects are kept here."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from registry.config.values import Secret
from registry.service.platform.names import BASES


class PlatformConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A platform whose projects are kept here; ``auth.hopsworks`` says where it is."""

    service: Annotated[
        str,
        Meta(
            pattern=r"^((user|workload):[!-~]{1,200})?\Z",
            description="The principal that the platform itself goes by: it keeps its projects, "
            "and owns each. Empty: none.",
        ),
    ] = ""
    members: Annotated[
        Literal["asked", "told"],
        Meta(
            description="asked: the platform says at each login who is a member of what; told: its "
            "calls and events do, and count at once."
        ),
    ] = "asked"
    bases: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(max_length=100, description="Names that none of its projects may have."),
    ] = BASES
    shared_repository: Annotated[
        str,
        Meta(
            max_length=150,
            description="The one repository in which the platform tells its projects' images apart "
            "by a prefix of the tag. Empty: it has none.",
        ),
    ] = ""
    key: Annotated[
        Secret,
        Meta(
            description="API key (scope PROJECT) by which it is asked for its projects; empty: "
            "it is not asked."
        ),
    ] = field(default_factory=Secret)
    reconcile_seconds: Annotated[
        float,
        Meta(
            ge=0, le=604_800, description="Pause between two comparisons with its list; 0: never."
        ),
    ] = 600.0
    reconcile_ends: Annotated[
        int, Meta(ge=0, le=100_000, description="Most projects that one comparison ends.")
    ] = 10
    unlisted_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=2_592_000,
            description="Time for which its lists must have lacked a project before that ends.",
        ),
    ] = 3600.0
    events_secret: Annotated[
        Secret,
        Meta(description="What it signs its events with; empty: no events are taken."),
    ] = field(default_factory=Secret)
