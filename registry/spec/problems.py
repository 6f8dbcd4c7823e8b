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


def _concrete(base: type[Problem]) -> Iterable[type[Problem]]:
    for each in base.__subclasses__():
        yield each
        yield from _concrete(each)


PROBLEMS: Mapping[str, tuple[str, int, str]] = {
    each.__name__: (each.type, each.status, each.title) for each in _concrete(Problem)
}
"""Every class with its type, status and title; the reference documentation is tested against it."""
