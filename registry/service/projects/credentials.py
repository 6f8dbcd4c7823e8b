"""Who a name and a secret belong to: people with passwords, their access tokens, robot accounts."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from auth.access import Standing
from auth.identity import SECRET, Identity, Kind, Scheme
from auth.judgement import Action, lapse
from auth.passwords import Passwords
from auth.roles import Verb
from auth.scopes import Scopes
from registry.service.composed import Composed, Watch
from registry.service.projects.directory import StoredDirectory
from registry.service.projects.kept import Records
from registry.service.projects.names import member_name, project_name, robot_name, user_name
from registry.service.projects.records import AccountRecord, RobotRecord, TokenRecord
from registry.service.projects.secrets import Presented, SecretKind, presented
from registry.service.projects.stamps import principal_stamp, project_stamp, robot_principal
from registry.spec.problems import Problem
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore


class _Wrong(Exception):
    """They belong to nobody: never remembered."""


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity
    standing: Standing


class Credentials:
    """Checks login names and secrets that the registry itself gave out.

    What was right is remembered as such, under a hash that is keyed in this process, until the
    account, the robot or the secret changes: so a check costs one look at the stamps.
    """

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        directory: StoredDirectory,
        passwords: Passwords,
        *,
        entries: int = 4096,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember up to ``entries`` pairs. ``clock`` gives Unix seconds."""
        self._directory = directory
        self._passwords = passwords
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._accounts = Records(store, AccountRecord)
        self._tokens = Records(store, TokenRecord)
        self._robots = Records(store, RobotRecord)
        self.known: Composed[_Known] = Composed(coordinator, entries)

    async def check(self, name: str, secret: str, address: str) -> Identity | None:
        """Return whose the secret is; ``None`` if it is wrong, or of nobody that may log in now.

        ``name`` is a user's name, for a password or an access token, or ``<project>+<robot>``.
        ``address`` is where the caller is. An unknown name takes the time of a wrong secret.
        ``auth.passwords.TooBusy`` under a flood of passwords.
        """
        text = b"%b\0%b" % (
            name.encode("utf-8", "surrogatepass"),
            secret.encode("utf-8", "surrogatepass"),
        )
        key = blake2b(text, key=self._key).digest()

        async def make(watch: Watch) -> _Known:
            return await self._check(name, secret, watch)

        try:
            known = await self.known.get(key, make)
        except _Wrong:
            return None
        action = Action(Verb.ACCOUNT, address=address)
        if lapse(action, known.standing, self._clock()) is not None:
            return None
        return known.identity

    async def _check(self, name: str, secret: str, watch: Watch) -> _Known:
        shown = presented(secret)
        if shown is None:
            identity = await self._by_password(name, secret, watch)
        elif shown.kind is SecretKind.ROBOT:
            identity = await self._robot(name, shown, watch)
        elif shown.kind is SecretKind.ACCESS_TOKEN:
            identity = await self._by_token(name, shown, watch)
        else:
            raise _Wrong
        return _Known(identity, await self._directory.standing(identity))

    async def _by_password(self, text: str, secret: str, watch: Watch) -> Identity:
        record: AccountRecord | None = None
        principal = ""
        name = _or_none(user_name, text)
        if name is not None:
            principal = f"user:{name}"
            await watch(principal_stamp(principal))
            found = await self._accounts.find(keys.account(principal))
            record = found.record if found else None
        hashed = record.password if record and record.password else None
        if not await self._passwords.verify(hashed, secret) or record is None:
            raise _Wrong
        return _identity(principal, Kind.USER, None, record.password_id)

    async def _by_token(self, text: str, shown: Presented, watch: Watch) -> Identity:
        principal = f"user:{_or_none(user_name, text) or text}"
        if _or_none(member_name, principal) is None:
            raise _Wrong
        await watch(principal_stamp(principal))
        found = await self._tokens.find(keys.access_token(principal, shown.id))
        if found is None or not shown.matches(found.record.secret):
            raise _Wrong
        return _identity(principal, Kind.USER, found.record.scopes, shown.id)

    async def _robot(self, text: str, shown: Presented, watch: Watch) -> Identity:
        project, _, robot = text.partition("+")
        name = _or_none(project_name, project)
        if name is None or _or_none(robot_name, robot) is None:
            raise _Wrong
        principal = robot_principal(name, robot)
        await watch(principal_stamp(principal), project_stamp(name))
        tenant = await self._directory.tenant(name)
        found = await self._robots.find(keys.robot(tenant.id, robot)) if tenant else None
        if found is None:
            raise _Wrong
        if not any([shown.matches(each) for each in found.record.secrets]):  # noqa: C419
            raise _Wrong
        return _identity(principal, Kind.ROBOT, found.record.scopes, shown.id)


def _identity(principal: str, kind: Kind, scopes: str | None, secret: str) -> Identity:
    return Identity(
        principal,
        kind,
        ceiling=None if scopes is None else Scopes.parse_ceiling(scopes),
        scheme=Scheme.BASIC,
        credential=SECRET + secret,
    )


def _or_none(read: Callable[[str], str], text: str) -> str | None:
    try:
        return read(text)
    except Problem:
        return None
