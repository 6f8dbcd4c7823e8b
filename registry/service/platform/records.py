"""What a platform told, as it is stored, and which of two things that it told counts."""

from auth.roles import Role
from registry.service.records import Record


class ProjectFact(Record, frozen=True):
    """A project of the platform. ``at`` is the platform's time of that, in milliseconds.

    ``gone``: it was deleted there, which nothing that is told later undoes: ids are never used
    again. ``missing`` is since when its list does not have it (Unix seconds), 0: it has. The name
    is empty where only the end of the project was told.
    """

    name: str
    at: int
    gone: bool = False
    missing: float = 0.0


class MemberFact(Record, frozen=True):
    """What a user is in a project there; no role: no member, or one that may do nothing."""

    role: Role | None
    at: int


class ClaimRecord(Record, frozen=True):
    """Which project of the platform a project here was made for."""

    number: int


def newer_project(standing: ProjectFact | None, told: ProjectFact) -> ProjectFact:
    """Return the fact that counts of two, in whichever order they came.

    The end of a project counts before all; else the later one. Of two of the same moment the name
    that sorts first counts: that is no matter, but it has to be the same one.
    """
    if standing is None or standing.gone:
        return standing or told
    if told.gone:
        return ProjectFact(standing.name, told.at, gone=True)
    if told.at != standing.at:
        return max(standing, told, key=lambda fact: fact.at)
    return min(standing, told, key=lambda fact: fact.name)


def newer_member(standing: MemberFact | None, told: MemberFact) -> MemberFact:
    """Return the fact that counts of two: the later one; of one moment the one that gives less."""
    if standing is None or (told.at, -_rank(told.role)) > (standing.at, -_rank(standing.role)):
        return told
    return standing


def _rank(role: Role | None) -> int:
    return -1 if role is None else role.rank
