"""The section of the configuration about backups."""

from typing import Annotated

from msgspec import Meta, Struct


class BackupConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where ``moorage backup`` keeps backups, and what it may take of the store."""

    target: Annotated[
        str,
        Meta(description="Directory of the backups, or a configuration file that names a store."),
    ] = ""
    bytes_per_second: Annotated[
        int, Meta(ge=0, description="Bytes copied in a second at the most; 0: any number.")
    ] = 0
