"""The whole table, by section."""

from collections.abc import Mapping

from tests.advisories import attacks, callers, clients, platforms, registries
from tests.advisories.rows import Row

SECTIONS: Mapping[str, tuple[Row, ...]] = {
    "Registries": (*registries.ROWS, *platforms.ROWS),
    "Clients and libraries": clients.ROWS,
    "Further attacks": (*attacks.ROWS, *callers.ROWS),
}

ROWS = tuple(row for rows in SECTIONS.values() for row in rows)
