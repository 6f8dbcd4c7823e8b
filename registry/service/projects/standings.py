"""What is known of callers: whether account and secret still stand, and what bounds them."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from auth.access import Standing
from auth.identity import SECRET, Identity, Kind
from auth.scopes import Scopes
from registry.service.bounded import both
from registry.service.composed import Composed, Watch
from registry.service.projects.kept import Records
from registry.service.projects.records import (
    AccountRecord,
    ProjectRecord,
    RobotRecord,
    TokenRecord,
)
from registry.service.projects.stamps import principal_stamp, project_stamp
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

NOBODY: Final = Standing()
"""The standing of callers of which nothing is kept."""


class Standings:
    """Reads accounts, access tokens and robots; remembers what they come to."""

    def __init__(self, store: ObjectStore, coordinator: Coordinator, entries: int) -> None:
        """Remember that of up to so many callers."""
        self._accounts = Records(store, AccountRecord)
        self._tokens = Records(store, TokenRecord)
        self._projects = Records(store, ProjectRecord)
        self._robots = Records(store, RobotRecord)
        self.known: Composed[Standing] = Composed(coordinator, entries)

    async def of(self, identity: Identity) -> Standing:
        """Return what is known of the caller, as of the last change."""
        if identity.kind in (Kind.ANONYMOUS, Kind.SYSTEM):
            return NOBODY

        async def make(watch: Watch) -> Standing:
            return await self._read(identity, watch)

        return await self.known.get((identity.name, secret_of(identity)), make)

    async def _read(self, identity: Identity, watch: Watch) -> Standing:
        await watch(principal_stamp(identity.name))
        if identity.kind is Kind.ROBOT:
            return await self._read_robot(identity, watch)
        account, token = await both(
            self._accounts.find(keys.account(identity.name)), self._token(identity)
        )
        record = account.record if account else None
        password = record.password_id if record else ""
        standing = Standing(
            revoked=not _stands(secret_of(identity), token, password),
            expires=token.secret.expires if token else None,
            ceiling=_ceiling(token.scopes if token else None),
        )
        if record is None:
            return standing
        return replace(
            standing,
            administrator=record.administrator,
            blocked=record.blocked,
            groups=None if record.groups is None else frozenset(record.groups),
        )

    async def _token(self, identity: Identity) -> TokenRecord | None:
        number = secret_of(identity)
        if not number:
            return None
        found = await self._tokens.find(keys.access_token(identity.name, number))
        return found.record if found else None

    async def _read_robot(self, identity: Identity, watch: Watch) -> Standing:
        """A robot that is no longer there is as good as blocked."""
        project, robot = robot_of(identity)
        await watch(project_stamp(project))
        its = await self._projects.find(keys.project(project))
        found = await self._robots.find(keys.robot(its.record.id, robot)) if its else None
        if found is None:
            return Standing(blocked=True)
        record = found.record
        number = secret_of(identity)
        secret = next((each for each in record.secrets if each.id == number), None)
        ends = (record.expires, secret.expires if secret else None)
        return Standing(
            revoked=number != "" and secret is None,
            expires=min((each for each in ends if each is not None), default=None),
            networks=tuple(ip_network(each) for each in record.networks),
            ceiling=_ceiling(record.scopes),
        )


def secret_of(identity: Identity) -> str:
    """The id of the secret that the caller showed, if it is one that the registry gave out."""
    credential = identity.credential
    return credential[len(SECRET) :] if credential.startswith(SECRET) else ""


def robot_of(identity: Identity) -> tuple[str, str]:
    """The project of a robot, and its name there."""
    project, _, robot = identity.name.partition(":")[2].partition("/")
    return project, robot


def _ceiling(scopes: str | None) -> Scopes | None:
    return None if scopes is None else Scopes.parse_ceiling(scopes)


def _stands(secret: str, token: TokenRecord | None, password: str) -> bool:
    """Whether a secret that the registry gave out is still good; ``""`` is none of these.

    ``password`` is the id of the account's password, ``""`` where it has none.
    """
    if token is not None:
        return token.password_id in ("", password)
    return secret in ("", password)
