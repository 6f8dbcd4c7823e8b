"""Accounts of people: local ones with passwords, and what is known of those from elsewhere."""

import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from auth.identity import Identity, Kind
from auth.passwords import MAX_SECRET, Passwords
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Kept, Leaf, Records, check_version
from registry.service.projects.members import Members
from registry.service.projects.names import group_names, member_name, user_name
from registry.service.projects.records import AccountRecord, BootstrapRecord
from registry.service.projects.stamps import principal_stamp
from registry.spec.problems import AccountExists, AccountUnknown, BootstrapRefused, Invalid
from storage import keys
from storage.coordination import Coordinator
from storage.ports import AlreadyExists, ObjectStore

MIN_PASSWORD: Final = 10
"""Shortest password, in characters."""

_USER: Final = "user:"


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a user. ``local``: it has a password here, or may be given one.

    ``groups`` is ``None`` where the credentials tell them; ``at`` in Unix seconds.
    """

    name: str
    local: bool
    groups: tuple[str, ...] | None
    administrator: bool
    blocked: bool
    by: str
    at: float
    version: str

    @property
    def principal(self) -> str:
        """The name of its identities, as members have it."""
        return f"{_USER}{self.name}"


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What is to be known of an account. ``groups``: of a local one, ``None`` for any other."""

    groups: tuple[str, ...] | None = None
    administrator: bool = False
    blocked: bool = False


class Accounts:
    """Makes, changes and ends accounts; the first administrator too.

    Names of local accounts are in lower case. Others are as the credentials have them.
    """

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        passwords: Passwords,
        members: Members,
        events: Events,
        bootstrap: str = "",
    ) -> None:
        """``bootstrap`` is the secret that makes the first administrator, once; none: no way."""
        self._store = store
        self._coordinator = coordinator
        self._passwords = passwords
        self._members = members
        self._events = events
        self._bootstrap = bootstrap
        self._records = Records(store, AccountRecord)
        self._first = Records(store, BootstrapRecord)

    async def page(self, after: str, limit: int) -> Leaf[Account]:
        """Return accounts after the name ``after``, in the order of their keys."""
        first = keys.account(_USER + after) if after else ""
        leaf = await self._records.page(keys.ACCOUNTS, first, limit)
        return Leaf([_account(each) for each in leaf.items], leaf.more)

    async def get(self, name: str) -> Account:
        """Return an account; ``AccountUnknown`` if there is none of this name."""
        return _account(await self._find(name))

    async def create(self, name: str, password: str, terms: AccountTerms, by: Identity) -> Account:
        """Make a local account. ``AccountExists``; ``Invalid`` for the name or the password."""
        name = user_name(name)
        hashed = await self._hash(password)
        groups = group_names(terms.groups or ())
        record = AccountRecord(
            by.name,
            time.time(),
            password=hashed,
            password_id=secrets.token_hex(8),
            groups=groups,
            administrator=terms.administrator,
            blocked=terms.blocked,
        )
        async with self._coordinator.change(principal_stamp(_USER + name)):
            if await self._records.find(keys.account(_USER + name)) is not None:
                raise AccountExists(name)
            kept = await self._records.write(keys.account(_USER + name), record, None)
        await self._tell(EventKind.ACCOUNT_CREATED, by, name, administrator=terms.administrator)
        return _account(kept)

    async def put(
        self, name: str, terms: AccountTerms, by: Identity, version: str | None = None
    ) -> Account:
        """Say what is to be known of a user, who may be one that logs in elsewhere.

        It counts from the next request on: who is blocked here can do nothing any more, whatever
        its tokens say. ``Invalid``; ``Changed`` where another version than ``version`` stands.
        """
        member_name(_USER + name)
        groups = None if terms.groups is None else group_names(terms.groups)
        async with self._coordinator.change(principal_stamp(_USER + name)):
            standing = await self._records.find(keys.account(_USER + name))
            check_version(standing, version)
            before = standing.record if standing else AccountRecord(by.name, time.time())
            if before.password and groups is None:
                groups = ()
            record = msgspec.structs.replace(
                before, groups=groups, administrator=terms.administrator, blocked=terms.blocked
            )
            if standing is not None and record == before:
                return _account(standing)
            kept = await self._records.write(keys.account(_USER + name), record, standing)
        await self._tell(
            EventKind.ACCOUNT_CHANGED,
            by,
            name,
            administrator=terms.administrator,
            blocked=terms.blocked,
        )
        return _account(kept)

    async def set_password(
        self, name: str, password: str, by: Identity, current: str | None = None
    ) -> None:
        """Change a local account's password. Tokens that were made with the old one end with it.

        ``current`` is the old password, which an account that sees to itself has to show:
        ``Invalid`` if it is another. ``AccountUnknown``, also where the account has no password.
        """
        found = await self._find(name)
        if not found.record.password:
            raise AccountUnknown(name)
        if current is not None and not await self._passwords.verify(found.record.password, current):
            raise Invalid("the current password is another")
        hashed = await self._hash(password)
        async with self._coordinator.change(principal_stamp(_USER + name)):
            standing = await self._find(name)
            if standing.record.password_id != found.record.password_id:
                raise Invalid("the password was changed meanwhile")
            record = msgspec.structs.replace(
                standing.record, password=hashed, password_id=secrets.token_hex(8)
            )
            await self._records.write(standing.key, record, standing)
        await self._tell(EventKind.PASSWORD_SET, by, name)

    async def remove(self, name: str, by: Identity) -> None:
        """End the account, its memberships and its access tokens. ``AccountUnknown``.

        It is blocked first, so it can do nothing from the start; the record goes last, so what
        breaks off can be repeated. Who is given the name later finds nothing of it.
        """
        principal = _USER + name
        account = _account(await self._find(name))
        terms = AccountTerms(account.groups, administrator=False, blocked=True)
        await self.put(name, terms, by)
        await self._members.remove_everywhere(principal, by)
        async with self._coordinator.change(principal_stamp(principal)):
            prefix = keys.access_tokens(principal)
            while batch := await self._store.list(prefix, limit=100):
                for key in batch:
                    await self._store.delete(key)
            await self._store.delete(keys.account(principal))
        await self._tell(EventKind.ACCOUNT_REMOVED, by, name)

    async def bootstrap(self, secret: str, name: str, password: str) -> Account:
        """Make the first administrator, by the secret from the configuration, once for ever.

        ``BootstrapRefused`` for another secret, where none was configured, and once it was done;
        ``AccountExists``, ``Invalid``. An attempt that broke off can be repeated, by that name.
        """
        given = secret.encode("utf-8", "surrogatepass")
        right = hmac.compare_digest(given, self._bootstrap.encode())
        if not right or not self._bootstrap:
            raise BootstrapRefused
        name = user_name(name)
        check_password(password)
        try:
            record = BootstrapRecord(name, time.time())
            await self._store.create(keys.BOOTSTRAP, record.encode())
        except AlreadyExists:
            first = await self._first.find(keys.BOOTSTRAP)
            made = await self._records.find(keys.account(_USER + name))
            if first is None or first.record.name != name or made is not None:
                raise BootstrapRefused from None
        terms = AccountTerms((), administrator=True)
        return await self.create(name, password, terms, _BOOTSTRAP)

    async def _find(self, name: str) -> Kept[AccountRecord]:
        found = await self._records.find(keys.account(_USER + name))
        if found is None:
            raise AccountUnknown(name)
        return found

    async def _hash(self, password: str) -> str:
        check_password(password)
        return await self._passwords.hash(password)

    async def _tell(self, kind: EventKind, by: Identity, name: str, **details: object) -> None:
        await self._events(event(kind, by, _USER + name, None, **details))


_BOOTSTRAP: Final = Identity("system:bootstrap", Kind.SYSTEM)


def check_password(password: str) -> None:
    """Raise ``Invalid`` for a password that is too short or too long."""
    if len(password) < MIN_PASSWORD:
        raise Invalid(f"a password has at least {MIN_PASSWORD} characters")
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise Invalid("the password is no valid text") from None
    if size > MAX_SECRET:
        raise Invalid(f"a password has at most {MAX_SECRET} bytes")


def _account(kept: Kept[AccountRecord]) -> Account:
    record = kept.record
    return Account(
        keys.principal_of(keys.last_segment(kept.key)).removeprefix(_USER),
        record.groups is not None,
        record.groups,
        record.administrator,
        record.blocked,
        record.by,
        record.at,
        kept.version,
    )
