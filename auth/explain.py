"""Why a decision is as it is, in sentences: for those who run a project."""

from collections.abc import Iterator
from dataclasses import dataclass

from auth.access import WHOLE, Access
from auth.identity import Identity
from auth.judgement import (
    Action,
    Decision,
    Why,
    judge,
    lapse,
    limit,
    rights_of,
)
from auth.roles import Verb, Visibility


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision, and what led to it, in the order in which it is looked at."""

    decision: Decision
    findings: tuple[str, ...]


def explain(identity: Identity, action: Action, access: Access, now: float) -> Explanation:
    """Decide as ``judge`` does about a project's verb or a repository's, and say from what.

    Tells all that is known of the caller in this project: show it only to those who may
    ``OPERATE`` the project, or to the caller itself where the decision is ``visible`` to it.
    """
    decision = judge(identity, action, access, now)
    return Explanation(decision, tuple(_findings(identity, action, access, now)))


def _findings(identity: Identity, action: Action, access: Access, now: float) -> Iterator[str]:
    who = identity.name
    lapsed = lapse(action, access.standing, now)
    if lapsed is not None:
        yield f"{who} may do nothing: {_LAPSES[lapsed]}"
    if access.tenant is None:
        yield f"nothing connects {who} with a project {action.concerns!r}, if there is one"
        return
    yield from _connections(who, action, access)
    rights = rights_of(identity, action, access)
    yield f"together these give: {', '.join(sorted(rights)) or 'nothing'}"
    if action.verb in rights:
        beyond = limit(identity, action, action.verb, access)
        if beyond is not None:
            yield _LIMITS[beyond]
        elif identity.ceiling is not None or access.standing.ceiling is not None:
            yield "the credential is good for it"
    elif Verb.PULL in rights or Verb.DESCRIBE in rights:
        yield f"so {action.verb} is refused openly"
    else:
        yield f"so for {who} it looks as if it were not there"


def _connections(who: str, action: Action, access: Access) -> Iterator[str]:
    for principal, role in sorted(access.roles.items()):
        yield f"{principal} has the role {role}"
    if not access.roles:
        yield f"{who} is no member, neither itself nor by a group"
    if access.visibility is not Visibility.PRIVATE:
        yield f"the project is {access.visibility}"
    if WHOLE in access.shared:
        yield f"all of the project is shared with a project of {who}"
    elif action.repository is not None and action.repository in access.shared:
        yield f"{action.repository} is shared with a project of {who}"
    if access.standing.administrator:
        yield f"{who} is an administrator of the registry"


_LAPSES = {
    Why.BLOCKED: "the account is blocked",
    Why.REVOKED: "the credential that it showed was revoked",
    Why.EXPIRED: "the account has expired",
    Why.ADDRESS: "it may not come from this address",
}

_LIMITS = {
    Why.CEILING: "the credential is not good for it, whatever its owner may do",
    Why.GENERATION: "the token was made for an earlier project of that name",
}
