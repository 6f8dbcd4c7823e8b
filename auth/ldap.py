"""A directory (LDAP, RFC 4511): whether a password is right, and in which groups its owner is.

ldap3 blocks, so its work is done in a few threads of its own, each with a connection to search by.
Nothing of a password is kept. A referral is not followed: it would take the password elsewhere.
"""

import asyncio
import contextlib
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from auth.chain import AuthenticatorUnavailable
from auth.credentials import InvalidCredentials
from auth.ldap_text import dn_text, fill, filter_text
from auth.rules import MAX_GROUPS

with warnings.catch_warnings():
    # It uses names that pyasn1 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import LDAPException
    from ldap3.core.results import (
        RESULT_CONSTRAINT_VIOLATION,
        RESULT_INAPPROPRIATE_AUTHENTICATION,
        RESULT_INSUFFICIENT_ACCESS_RIGHTS,
        RESULT_INVALID_CREDENTIALS,
        RESULT_INVALID_DN_SYNTAX,
        RESULT_NO_SUCH_OBJECT,
        RESULT_SIZE_LIMIT_EXCEEDED,
        RESULT_SUCCESS,
        RESULT_UNWILLING_TO_PERFORM,
    )

T = TypeVar("T")

_REFUSALS: Final = frozenset(
    {
        RESULT_INVALID_CREDENTIALS,
        RESULT_INAPPROPRIATE_AUTHENTICATION,
        RESULT_INSUFFICIENT_ACCESS_RIGHTS,
        RESULT_UNWILLING_TO_PERFORM,
        RESULT_CONSTRAINT_VIOLATION,
        RESULT_NO_SUCH_OBJECT,
        RESULT_INVALID_DN_SYNTAX,
    }
)
"""Results of a bind, or of a search for an account's own entry, that say no for good.

Any other but success: the directory can't tell.
"""

_STEPS: Final = 6
"""Waits for the directory of one login at the most: two connections, each with TLS and a bind."""


@dataclass(frozen=True, slots=True)
class DirectoryTerms:
    """Where the directory is, and how users and groups are found in it.

    ``url`` is ``ldap://host:port`` or ``ldaps://host:port``; ``start_tls`` turns the first into the
    second. ``ca_file`` replaces the system's authorities. ``bind_dn`` and the password in
    ``password_file`` (read for each connection) are those of the account that searches; none:
    anonymous.

    A user is the one entry below ``base`` that ``user_filter`` finds, or, if ``user_dn`` is given,
    the entry of that name. In these ``{username}`` stands for what the user typed; the user's name
    is what the entry has as ``name_attribute``. Groups are the ``group_attribute`` of what
    ``group_filter`` finds below ``group_base``, with ``{dn}`` and ``{username}`` for the user's.
    ``seconds`` is how long each answer may take.
    """

    url: str
    start_tls: bool = False
    ca_file: Path | None = None
    bind_dn: str = ""
    password_file: Path | None = None
    base: str = ""
    user_filter: str = ""
    user_dn: str = ""
    name_attribute: str = "uid"
    group_base: str = ""
    group_filter: str = ""
    group_attribute: str = "cn"
    seconds: int = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A user of the directory, by its name there, whatever was typed; and its groups."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _User:
    dn: str
    name: str


class _Tls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """TLS as the standard library makes it, which checks the host's name while it shakes hands."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._ca_file = ca_file

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 -- as there
        context = ssl.create_default_context(cafile=self._ca_file)
        connection.socket = context.wrap_socket(
            connection.socket, server_hostname=connection.server.host
        )


class Directory:
    """Asks one directory."""

    def __init__(self, terms: DirectoryTerms, *, threads: int = 4) -> None:
        """Nothing is asked before the first call. ``threads``: most questions at once."""
        self._terms = terms
        self._pool = ThreadPoolExecutor(threads, "ldap")
        self._own = threading.local()
        self._open: list[Any] = []

    def close(self) -> None:
        """Let go of threads and connections, without waiting for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in self._open:
            _drop(connection)

    async def user(self, username: str, password: str) -> Found:
        """Return whose password it is.

        ``InvalidCredentials`` if it is wrong, or of nobody, or of more than one; also an empty one,
        by which a directory would let in anybody as nobody (RFC 4513, section 5.1.2).
        ``AuthenticatorUnavailable`` where the directory does not say.
        """
        if not username or not password:
            raise InvalidCredentials
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_STEPS * self._terms.seconds):
                return await loop.run_in_executor(self._pool, self._user, username, password)
        except TimeoutError as error:
            raise AuthenticatorUnavailable(f"{self._terms.url}: no answer in time") from error

    def _user(self, username: str, password: str) -> Found:
        terms = self._terms
        with self._failures():
            if not terms.user_dn:
                wanted = fill(terms.user_filter, username=filter_text(username))
                user = self._read(lambda reader: self._entry(reader, terms.base, wanted))
                with self._bound(user.dn, password):
                    pass
                groups = self._read(lambda reader: self._groups(reader, user))
                return Found(user.name, groups)
            dn = fill(terms.user_dn, username=dn_text(username))
            with self._bound(dn, password) as own:
                if terms.bind_dn:
                    return self._read(lambda reader: self._found(reader, dn))
                return self._found(own, dn)

    def _found(self, connection: Any, dn: str) -> Found:
        user = self._entry(connection, dn, "(objectClass=*)", ldap3.BASE)
        return Found(user.name, self._groups(connection, user))

    def _entry(self, connection: Any, base: str, wanted: str, scope: str = ldap3.SUBTREE) -> _User:
        """Return the one entry there is; ``InvalidCredentials``."""
        attribute = self._terms.name_attribute
        entries = self._search(connection, base, wanted, scope, attribute, 2)
        if len(entries) != 1:
            raise InvalidCredentials
        (entry,) = entries
        names = _values(entry, attribute)
        if len(names) != 1:
            raise InvalidCredentials(f"the account has no {attribute} to be named by, or several")
        return _User(entry["dn"], names[0])

    def _groups(self, connection: Any, user: _User) -> tuple[str, ...]:
        terms = self._terms
        if not terms.group_filter:
            return ()
        wanted = fill(terms.group_filter, dn=filter_text(user.dn), username=filter_text(user.name))
        attribute = terms.group_attribute
        found = self._search(
            connection, terms.group_base, wanted, ldap3.SUBTREE, attribute, MAX_GROUPS + 1
        )
        if len(found) > MAX_GROUPS:
            raise InvalidCredentials(f"the account is in more than {MAX_GROUPS} groups")
        return tuple(name for entry in found for name in _values(entry, attribute))

    def _search(
        self, connection: Any, base: str, wanted: str, scope: str, attribute: str, most: int
    ) -> Sequence[Any]:
        connection.search(
            base,
            wanted,
            scope,
            attributes=[attribute],
            size_limit=most,
            time_limit=self._terms.seconds,
        )
        code = connection.result["result"]
        if scope == ldap3.BASE and code in _REFUSALS:
            # That is about this one account: the directory has answered, and does so for others.
            raise InvalidCredentials("the account's own entry can't be read")
        if code not in (RESULT_SUCCESS, RESULT_SIZE_LIMIT_EXCEEDED):
            raise self._silent("search", connection)
        # Entries only: a reference to elsewhere is not followed.
        return [each for each in connection.response if each["type"] == "searchResEntry"]

    def _read(self, ask: Callable[[Any], T]) -> T:
        """Ask by this thread's connection for searches."""
        connection = getattr(self._own, "reader", None)
        if connection is not None:
            try:
                return ask(connection)
            except LDAPException:
                # It may have been closed while nobody asked: a new one tells.
                self._open.remove(connection)
                self._own.reader = None
                _drop(connection)
        connection = self._own.reader = self._reader()
        self._open.append(connection)
        return ask(connection)

    def _reader(self) -> Any:
        password = ""
        if self._terms.password_file is not None:
            password = self._terms.password_file.read_text().strip()
        connection = self._connected(self._terms.bind_dn, password)
        if connection.bind():
            return connection
        _drop(connection)
        raise self._silent("bind as auth.ldap.bind_dn", connection)

    @contextlib.contextmanager
    def _bound(self, dn: str, password: str) -> Iterator[Any]:
        """Yield a connection of the user's own. ``InvalidCredentials`` if it gets none."""
        connection = self._connected(dn, password)
        try:
            if not connection.bind():
                if connection.result["result"] in _REFUSALS:
                    raise InvalidCredentials
                raise self._silent("bind", connection)
            yield connection
        finally:
            _drop(connection)

    def _connected(self, dn: str, password: str) -> Any:
        terms, parts = self._terms, urlsplit(self._terms.url)
        secure = parts.scheme == "ldaps"
        server = ldap3.Server(
            parts.hostname,
            parts.port or (636 if secure else 389),
            use_ssl=secure,
            tls=_Tls(terms.ca_file),
            get_info=ldap3.NONE,
            connect_timeout=terms.seconds,
        )
        connection = ldap3.Connection(
            server,
            dn or None,
            # As bytes: of a text, ldap3 drops what SASLprep maps to nothing, so that one of soft
            # hyphens alone would become the empty password.
            password.encode() or None,
            authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=terms.seconds,
        )
        try:
            connection.open(read_server_info=False)
            if terms.start_tls:
                connection.start_tls(read_server_info=False)
        except LDAPException:
            _drop(connection)
            raise
        return connection

    def _silent(self, what: str, connection: Any) -> AuthenticatorUnavailable:
        said = connection.result or {}
        return AuthenticatorUnavailable(
            f"{self._terms.url}: {what}: {said.get('description', 'no result')} "
            f"{said.get('message', '')!a}"
        )

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (LDAPException, OSError, ValueError) as error:
            raise AuthenticatorUnavailable(f"{self._terms.url}: {error}") from error


def _values(entry: Any, attribute: str) -> list[str]:
    """Return the texts of an attribute, whose name the directory may write in another case.

    ``InvalidCredentials`` for what is no text.
    """
    try:
        return [
            value.decode()
            for name, values in entry["raw_attributes"].items()
            if name.lower() == attribute.lower()
            for value in values
        ]
    except UnicodeDecodeError:
        raise InvalidCredentials("the account has a name or a group that is not UTF-8") from None


def _drop(connection: Any) -> None:
    with contextlib.suppress(LDAPException, OSError):
        connection.unbind()
    # Which leaves the socket open where the connection never was.
    if connection.socket is not None:
        connection.socket.close()
