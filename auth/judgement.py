"""The pure core of every decision: facts in, decision out. No I/O, no clock.

A caller may do what its roles, a project's visibility or a share give, and of that no more than its
credential reaches (its *ceiling*), and nothing at all where the caller or the credential no longer
stands. What no rule allows is denied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from auth.access import WHOLE, Access, Standing, Tenant
from auth.identity import Ceiling, Identity, Kind, Scheme
from auth.roles import (
    ADMINISTRATOR,
    PROJECT_VERBS,
    READER,
    REPOSITORY_VERBS,
    RIGHTS,
    Role,
    Verb,
    Visibility,
)
from registry.spec.names import Place, RepositoryName

NOTHING: Final[frozenset[Verb]] = frozenset()

_ROBOT: Final = REPOSITORY_VERBS | {Verb.DESCRIBE}
"""The most that a robot account may do, whatever its record says: it makes no further accounts."""


class Action(msgspec.Struct, frozen=True):
    """What is asked for: a verb, and what it is done to.

    ``repository`` for the verbs of repositories, ``project`` (its name; for ``PURGE`` its id) for
    those of projects, ``subject`` (the principal) for ``ACCOUNT``. ``address`` is where the request
    comes from, as far as it is known. ``shown`` is the name by which the client asked, where the
    repository is shown in another one that is shared by many projects.
    """

    verb: Verb
    repository: RepositoryName | None = None
    project: str = ""
    subject: str = ""
    address: str = ""
    shown: RepositoryName | None = None

    @property
    def concerns(self) -> str:
        """The name of the project that it is about, ``""`` for none."""
        return self.project if self.repository is None else self.repository.project


class Why(StrEnum):
    """Why something is denied. A closed list, for the audit log and for ``explain``."""

    UNRELATED = "unrelated"
    """There is no such project, or nothing connects the caller with it."""

    ROLE = "role"
    """What connects them does not give this."""

    CEILING = "ceiling"
    """The credential does not reach so far."""

    GENERATION = "generation"
    """The token was made for an earlier project of that name."""

    BLOCKED = "blocked"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Allow:
    """A rule allows it.

    ``place`` is where the repository is kept, or the root of the project; empty where neither was
    named. ``tenant`` is the project, ``None`` where there is none, or where projects are not used.
    ``role`` is the caller's in it.
    """

    place: Place = Place()  # noqa: RUF009 -- a constant
    tenant: Tenant | None = None
    role: Role | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Deny:
    """No rule allows it.

    ``visible``: the caller may know that the project is there, and be told ``reason``. Else what it
    asked for is to look as if it did not exist. ``tenant`` is the project that it was about, if
    there is one: for the audit log, never for the caller.
    """

    reason: str
    why: Why = Why.ROLE
    visible: bool = False
    tenant: Tenant | None = None


Decision = Allow | Deny


def judge(
    identity: Identity,
    action: Action,
    access: Access,
    now: float,
    *,
    users_create: bool = False,
    provisioner: str = "",
) -> Decision:
    """Decide. ``access`` holds the facts about ``action.concerns``; ``now`` is in Unix seconds.

    ``users_create``: every user may create projects, not only administrators. ``provisioner`` may
    keep the projects of a platform, beside them.
    """
    why = lapse(action, access.standing, now)
    if why is not None:
        return Deny(REASONS[why], why, tenant=access.tenant)
    if action.verb not in REPOSITORY_VERBS and action.verb not in PROJECT_VERBS:
        provisions = bool(provisioner) and identity.name == provisioner
        return _about_registry(
            identity, action, access.standing, users_create=users_create, provisions=provisions
        )
    tenant = access.tenant
    if tenant is None:
        return Deny(REASONS[Why.UNRELATED], Why.UNRELATED)
    rights = rights_of(identity, action, access)
    why = Why.ROLE if rights else Why.UNRELATED
    if action.verb in rights:
        beyond = limit(identity, action, action.verb, access)
        if beyond is None:
            return Allow(_place(action, tenant), tenant, access.role)
        why = beyond
    visible = any(
        verb in rights and limit(identity, action, verb, access) is None
        for verb in (Verb.PULL, Verb.DESCRIBE)
    )
    return Deny(_reason(why, action, access), why, visible, tenant)


def lapse(action: Action, standing: Standing, now: float) -> Why | None:
    """Why the caller or its credential no longer stands, or ``None`` if it does."""
    if standing.blocked:
        return Why.BLOCKED
    if standing.revoked:
        return Why.REVOKED
    if standing.expires is not None and now >= standing.expires:
        return Why.EXPIRED
    if not standing.admits(action.address):
        return Why.ADDRESS
    return None


def rights_of(identity: Identity, action: Action, access: Access) -> frozenset[Verb]:
    """What the caller may do to the repository or project, before the credential's ceiling."""
    if identity.kind is Kind.SYSTEM:
        return NOTHING
    role = access.role
    rights = NOTHING if role is None else RIGHTS[role]
    if identity.kind is Kind.ROBOT:
        rights &= _ROBOT
    if _open(identity, access) or _shared(action, access):
        rights |= READER
    if access.standing.administrator and identity.kind is not Kind.ROBOT:
        rights |= ADMINISTRATOR
    return rights


def _open(identity: Identity, access: Access) -> bool:
    if access.visibility is Visibility.INTERNAL:
        return identity.kind is not Kind.ANONYMOUS
    return access.visibility is Visibility.PUBLIC


def _shared(action: Action, access: Access) -> bool:
    if action.repository is None:
        return False
    return action.repository in access.shared or WHOLE in access.shared


def limit(identity: Identity, action: Action, verb: Verb, access: Access) -> Why | None:
    """Why ``verb`` is beyond the credential, or ``None``. ``access`` has a project.

    A token counts for the project that it was made for, not for its name (harbor#22900). Which
    repositories are listed to a credential that is good for the catalog is a matter of roles. What
    is good for a repository that is shared reaches what is shown in it.
    """
    tenant = access.tenant
    lists = verb is Verb.LIST
    by_catalog = lists and identity.ceiling is not None and _catalogs(identity.ceiling)
    wanted = _resources(action, verb)
    for ceiling in (identity.ceiling, access.standing.ceiling):
        if ceiling is None or (lists and _catalogs(ceiling)):
            continue
        if not any(ceiling.permits(*each) for each in wanted):
            return Why.CEILING
    if identity.projects is not None and not by_catalog and tenant is not None:
        made_for = identity.projects.get(tenant.name)
        if made_for is None and action.shown is not None:
            return None  # it was made for the repository that is shared: the roles decide
        return None if made_for == tenant.id else Why.GENERATION
    return None


def _catalogs(ceiling: Ceiling) -> bool:
    return ceiling.permits("registry", "catalog", "*")


def _resources(action: Action, verb: Verb) -> Sequence[tuple[str, str, str]]:
    """That of which a credential has to reach one, as ``Ceiling.permits`` takes it."""
    if verb not in REPOSITORY_VERBS or action.repository is None:
        return (("project", action.concerns, "manage"),)
    wanted = Verb.PULL if verb is Verb.LIST else verb
    names = [action.repository] if action.shown is None else [action.repository, action.shown]
    return [("repository", name, wanted) for name in names]


def _about_registry(
    identity: Identity, action: Action, standing: Standing, *, users_create: bool, provisions: bool
) -> Decision:
    """Decide on what is about no project. A ceiling lets nothing through but the catalog."""
    ceilings = [each for each in (identity.ceiling, standing.ceiling) if each is not None]
    match action.verb:
        case Verb.ENTER:
            # A token is a login too, also one that names nobody.
            allowed = identity.kind is not Kind.ANONYMOUS or identity.scheme is Scheme.BEARER
            within = True
        case Verb.CATALOG:
            allowed = identity.kind not in (Kind.ANONYMOUS, Kind.SYSTEM)
            within = all(map(_catalogs, ceilings))
        case Verb.CREATE:
            allowed = standing.administrator or (users_create and identity.kind is Kind.USER)
            within = not ceilings
        case Verb.PROVISION:
            allowed = standing.administrator or provisions
            within = not ceilings
        case Verb.ACCOUNT:
            own = identity.kind is Kind.USER and identity.name == action.subject
            allowed = standing.administrator or own
            within = not ceilings
        case _:
            allowed = action.verb is Verb.GOVERN and standing.administrator
            within = not ceilings
    if allowed and within:
        return Allow()
    why = Why.CEILING if allowed else Why.ROLE
    return Deny(REASONS[why] if allowed else _FOR_ADMINISTRATORS, why, visible=True)


def _place(action: Action, tenant: Tenant) -> Place:
    if action.repository is None:
        return Place(tenant.id)
    return Place(tenant.id + action.repository[len(tenant.name) :])


REASONS: Final[Mapping[Why, str]] = {
    Why.UNRELATED: "there is no such project, or it is none of yours",
    Why.CEILING: "your credential is not good for this: use one with wider scopes",
    Why.GENERATION: "your token was made for an earlier project of this name: log in again",
    Why.BLOCKED: "this account is blocked: ask an administrator of the registry",
    Why.REVOKED: "this credential was revoked: log in with another",
    Why.EXPIRED: "this account has expired: ask an owner of its project",
    Why.ADDRESS: "this account may not be used from where you are",
}

_FOR_ADMINISTRATORS: Final = "only administrators of the registry may do this"


def _reason(why: Why, action: Action, access: Access) -> str:
    if why is not Why.ROLE:
        return REASONS[why]
    least = next((role for role in Role if action.verb in RIGHTS[role]), None)
    have = f"your role is {access.role}" if access.role else "you are no member"
    if least is None:
        return f"{have} in this project, and no role may {action.verb}"
    return f"{have} in this project; to {action.verb} takes the role {least}: ask one of its owners"
