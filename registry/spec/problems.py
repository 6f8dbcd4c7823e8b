"""Everything that the management of projects can be refused with: one class, one type, one status.

For RFC 9457 ("problem details"): ``type`` is a short name out of a closed list, ``title`` says what
it means, the message what happened this time and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Problem(Exception):
    """A refusal that the caller is told about. Subclasses fix `type`, `title` and `status`."""

    type: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ProjectUnknown(Problem):
    """No such project, or none that the caller may know of."""

    type, title, status = "project-unknown", "No such project", 404

    def __init__(self) -> None:
        super().__init__(
            "there is no project of this name that you have a part in: check the name and your "
            "login"
        )


class ProjectExists(Problem):
    """The name is taken."""

    type, title, status = "project-exists", "The name is taken", 409

    def __init__(self, name: str) -> None:
        super().__init__(f"the project name {name!r} is taken: choose another")


class ProjectGone(Problem):
    """A project of a platform that was deleted there."""

    type, title, status = "project-gone", "The project was deleted", 409

    def __init__(self, number: int) -> None:
        super().__init__(
            f"the platform's project {number} was deleted, and its number is never used again"
        )


class PlatformProjectUnknown(Problem):
    """A project that the platform has told nothing of."""

    type, title, status = "platform-project-unknown", "Nothing was told of this project", 404

    def __init__(self, number: int) -> None:
        super().__init__(f"nothing was told of the platform's project {number}")


class PlatformUnreadable(Problem):
    """The platform does not say which projects it has, or nothing that can be believed."""

    type, title, status = "platform-unreadable", "The platform can't be read", 502


class SignatureInvalid(Problem):
    """An event that was not signed with the secret, or too long ago."""

    type, title, status = "signature-invalid", "The signature does not hold", 403


class ProjectNameInvalid(Problem):
    """Text that can be no project's name."""

    type, title, status = "project-name-invalid", "Not a project name", 400

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text[:80]!a} can be no project's name: {reason}")


class MemberUnknown(Problem):
    """The project has no such member."""

    type, title, status = "member-unknown", "No such member", 404

    def __init__(self, principal: str) -> None:
        super().__init__(f"the project has no member {principal!a}")


class PrincipalInvalid(Problem):
    """Text that can be no member of a project."""

    type, title, status = "principal-invalid", "Not a principal", 400

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:80]!a} can be no member: use user:<name>, group:<name> or workload:<name>"
        )


class LastOwner(Problem):
    """Without it the project would have no owner."""

    type, title, status = "last-owner", "The only owner", 409

    def __init__(self, principal: str) -> None:
        super().__init__(
            f"{principal!a} is the only owner of the project: make somebody else an owner first"
        )


class RobotUnknown(Problem):
    """The project has no such robot account."""

    type, title, status = "robot-unknown", "No such robot account", 404

    def __init__(self, name: str) -> None:
        super().__init__(f"the project has no robot account {name!a}")


class AddressUnknown(Problem):
    """What is asked for names the registry's public address, which nobody has told it."""

    type, title, status = "address-unknown", "No public address", 409

    def __init__(self) -> None:
        super().__init__(
            "the registry does not know by which address nodes reach it: have server.public_url set"
        )


class BackupsOff(Problem):
    """Nothing says where backups are kept."""

    type, title, status = "backups-off", "No backups are kept", 409

    def __init__(self) -> None:
        super().__init__("the registry does not know where to keep backups: have backup.target set")


class BackupJobUnknown(Problem):
    """No such work on backups."""

    type, title, status = "backup-job-unknown", "No such work on backups", 404

    def __init__(self, number: str) -> None:
        super().__init__(
            f"there is no work on backups {number!a}: it ended long ago, or was never asked for"
        )


class WebhookUnknown(Problem):
    """No such webhook."""

    type, title, status = "webhook-unknown", "No such webhook", 404

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no webhook {name!a} here")


class DeliveryUnknown(Problem):
    """The webhook has no such dead letter."""

    type, title, status = "delivery-unknown", "No such delivery", 404

    def __init__(self, number: str) -> None:
        super().__init__(
            f"the webhook has no dead letter {number[:80]!a}: it may have been sent again already"
        )


class ShareUnknown(Problem):
    """The project has no such share."""

    type, title, status = "share-unknown", "No such share", 404

    def __init__(self) -> None:
        super().__init__("the project shares no such thing with that project")


class AccountUnknown(Problem):
    """No such account."""

    type, title, status = "account-unknown", "No such account", 404

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no account {name!a}")


class AccountExists(Problem):
    """The account is there already."""

    type, title, status = "account-exists", "The account exists", 409

    def __init__(self, name: str) -> None:
        super().__init__(f"there is an account {name!a} already")


class TokenUnknown(Problem):
    """The account has no such access token."""

    type, title, status = "token-unknown", "No such access token", 404

    def __init__(self, number: str) -> None:
        super().__init__(f"the account has no access token {number!a}")


class Invalid(Problem):
    """A value that makes no sense."""

    type, title, status = "invalid", "Not a valid value", 400


class TooMany(Problem):
    """As many as there may be, are there."""

    type, title, status = "too-many", "Too many", 409

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"there may be {limit} {what}, and so many there are: remove some first")


class Changed(Problem):
    """What is there is not what the caller has seen."""

    type, title, status = "changed", "Changed meanwhile", 412

    def __init__(self) -> None:
        super().__init__("it was changed since you read it: read it again and decide anew")


class BootstrapRefused(Problem):
    """The first administrator can't be made so."""

    type, title, status = "bootstrap-refused", "No first administrator", 403

    def __init__(self) -> None:
        super().__init__(
            "the secret is not the one of auth.bootstrap_secret, or the first administrator was "
            "made already: ask that one"
        )


class NotAllowed(Problem):
    """The caller is known and may not do this."""

    type, title, status = "not-allowed", "Not allowed", 403


class RequestInvalid(Problem):
    """A request that can't be read: a parameter, a header or the body is not as it has to be.

    `parameter` names the one of the path or the query, `pointer` (RFC 6901) the place in the body.
    """

    type, title, status = "request-invalid", "Not a valid request", 400

    def __init__(self, message: str, *, parameter: str = "", pointer: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter
        self.pointer = pointer


class NotJson(Problem):
    """A body that is not said to be JSON. Pages of other sites can't make browsers send that."""

    type, title, status = "not-json", "Not JSON", 415

    def __init__(self) -> None:
        super().__init__("send the body as JSON, with Content-Type: application/json")


class PathUnknown(Problem):
    """A path that the management API does not have."""

    type, title, status = "path-unknown", "No such path", 404

    def __init__(self) -> None:
        super().__init__("there is no such path here: see /api/v1/openapi.json for those there are")


class MethodUnknown(Problem):
    """A path with a method that it does not have."""

    type, title, status = "method-unknown", "No such method", 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"this path allows only {self.allowed}")


class ProjectsOff(Problem):
    """The registry has no projects, nor logins: everything belongs to everyone."""

    type, title, status = "projects-off", "No projects here", 404

    def __init__(self) -> None:
        super().__init__(
            'this registry runs without logins and projects: set auth.mode = "projects" to have '
            "them"
        )


def _concrete(base: type[Problem]) -> Iterable[type[Problem]]:
    for each in base.__subclasses__():
        yield each
        yield from _concrete(each)


PROBLEMS: Mapping[str, tuple[str, int, str]] = {
    each.__name__: (each.type, each.status, each.title) for each in _concrete(Problem)
}
"""Every class with its type, status and title; the reference documentation is tested against it."""
