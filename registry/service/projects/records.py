"""The records of projects, members and accounts, as they are stored."""

from auth.roles import Role, Visibility
from registry.service.records import Record


class ProjectRecord(Record, frozen=True):
    """A project under its name. ``display`` is the name as its creator wrote it."""

    id: str
    display: str
    visibility: Visibility
    by: str
    at: float


class TenantRecord(Record, frozen=True):
    """Which name the project with an id has, or had; when it was removed, by whom, and purged.

    ``keys`` counts what the purge took away.
    """

    name: str
    by: str
    at: float
    removed: float | None = None
    removed_by: str = ""
    purged: float | None = None
    keys: int = 0


class MemberRecord(Record, frozen=True):
    """A principal's role in a project."""

    role: Role
    by: str
    at: float


class SecretRecord(Record, frozen=True):
    """A secret of a machine: its id, the SHA-256 of it, and until when it is good."""

    id: str
    sha256: str
    at: float
    expires: float | None = None


class RobotRecord(Record, frozen=True):
    """A robot account. ``scopes`` is its ceiling as text, ``None``: all that the role gives."""

    role: Role
    secrets: tuple[SecretRecord, ...]
    by: str
    at: float
    scopes: str | None = None
    expires: float | None = None
    networks: tuple[str, ...] = ()


class ShareRecord(Record, frozen=True):
    """A repository, or a whole project, is shared with the project of this name."""

    target: str
    by: str
    at: float


class AccountRecord(Record, frozen=True):
    """What is known of a caller. ``password`` is an argon2id hash, ``""`` where there is none.

    ``groups`` are those of a local account; ``None`` for one whose credentials tell them.
    ``password_id`` changes with the password.
    """

    by: str
    at: float
    password: str = ""
    password_id: str = ""
    groups: tuple[str, ...] | None = None
    administrator: bool = False
    blocked: bool = False


class TokenRecord(Record, frozen=True):
    """An access token of an account. ``scopes`` as in ``RobotRecord``.

    ``password_id`` is that of the password by which an offline token was had: it ends with it.
    """

    secret: SecretRecord
    label: str
    scopes: str | None = None
    password_id: str = ""


class RemovalRecord(Record, frozen=True):
    """How far the purge of a removed project is: how many keys are gone, in how many passes.

    ``due`` is when the next pass is (Unix seconds): what was under way when the project was
    removed may still have written something after the first.
    """

    name: str
    by: str
    at: float
    keys: int = 0
    passes: int = 0
    due: float = 0.0


class BootstrapRecord(Record, frozen=True):
    """Who became the first administrator."""

    name: str
    at: float
