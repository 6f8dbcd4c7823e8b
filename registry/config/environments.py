"""The section of the configuration about environments."""

from typing import Annotated

from msgspec import Meta, Struct

from registry.spec.names import MAX_NAME


class EnvironmentsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Images as versions of environments."""

    bases: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)], ...],
        Meta(
            max_length=50,
            description="Repositories of base images. A caller is told of those that it may pull.",
        ),
    ] = ()
