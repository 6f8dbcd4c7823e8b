"""How the projects of a platform are kept."""

from dataclasses import dataclass

from registry.service.platform import names


@dataclass(frozen=True, slots=True)
class PlatformTerms:
    """How a platform's projects are kept.

    ``prefix`` begins the names of its users and groups. ``service`` is the principal that the
    platform itself goes by, ``""`` for none: it owns each project. ``told``: members are those that
    the platform told; else those that it names when they log in. ``bases`` are names that no
    project may have.
    """

    prefix: str = "hopsworks/"
    service: str = ""
    told: bool = False
    bases: frozenset[str] = frozenset(names.BASES)
