"""The composition root's part for the audit log: where events go."""

import contextlib
from collections.abc import AsyncIterator, Callable

from registry.background import beside
from registry.config import Config
from registry.service.audit.journal import Journal
from storage.ports import ObjectStore


def audits(config: Config) -> bool:
    """Whether there is an audit log."""
    mode = config.audit.mode
    return mode != "off" and (mode != "auto" or config.auth.mode != "open")


def lines_wanted(config: Config, *, terminal: bool) -> bool:
    """Whether events are lines of the log too. ``terminal``: a person would have to read them."""
    return audits(config) and (
        config.audit.log == "on" or (config.audit.log == "auto" and not terminal)
    )


@contextlib.asynccontextmanager
async def audited(
    config: Config, store: ObjectStore, lines: Callable[[bytes], object] | None = None
) -> AsyncIterator[Journal | None]:
    """Write events into ``store`` and to ``lines``, as the configuration says.

    All of them are written, and the journal is sealed, when the context ends.
    """
    if not audits(config):
        yield None
        return
    journal = Journal(
        store,
        key=audit_key(config),
        lines=lines,
        strict=config.audit.mode == "strict",
        capacity=config.audit.buffer,
        interval=config.audit.flush_seconds,
    )
    try:
        async with beside(journal.run()):
            yield journal
    finally:
        await journal.close()


def audit_key(config: Config) -> bytes:
    """Return what hashes are made with."""
    return config.audit.key.reveal().encode()
