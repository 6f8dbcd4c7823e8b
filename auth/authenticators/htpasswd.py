"""Users of an htpasswd file, as ``htpasswd -B`` writes it."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Final

import bcrypt

from auth.chain import Authenticator, AuthenticatorUnavailable
from auth.credentials import Basic, Credentials
from auth.files import Changes
from auth.identity import Identity, Kind, Scheme
from auth.passwords import Passwords, TooBusy

_log = logging.getLogger("moorage.auth")

_HASH: Final = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", re.ASCII)
_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_COST: Final = 14
_LEAST_COST: Final = 5


class HtpasswdError(ValueError):
    """The file can't be used. The message says which line and why."""


class HtpasswdUsers:
    """Knows the users of a file, read anew when it changes. Only bcrypt hashes are taken."""

    def __init__(self, path: Path, passwords: Passwords) -> None:
        """Read the file. ``HtpasswdError`` if it can't be used."""
        self._path = path
        self._passwords = passwords
        self._changes = Changes([path])
        self._users, self._nobody = self._read()

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``. Others may know a user, or a password, that is wrong here.

        An unknown user takes the time of a wrong password, at the highest cost of the file.
        """
        if not isinstance(credentials, Basic):
            return None
        name = credentials.username
        hashed = self._users.get(name)
        try:
            right = await self._passwords.verify(hashed or self._nobody, credentials.password)
        except TooBusy as error:
            raise AuthenticatorUnavailable(str(error), 1) from error
        if hashed is None or not right:
            return None
        return Identity(f"user:{name}", Kind.USER, scheme=Scheme.BASIC, credential="htpasswd")

    async def reload(self) -> None:
        """Read the file again if it has changed. If it can't be used, the old users stay."""
        if not await asyncio.to_thread(self._changes.any):
            return
        try:
            self._users, self._nobody = await asyncio.to_thread(self._read)
        except HtpasswdError as error:
            _log.error("the new htpasswd file is not used, the old one still is: %s", error)
        else:
            _log.info("%s has %d users now", self._path, len(self._users))

    def _read(self) -> tuple[dict[str, str], str]:
        try:
            with self._path.open("rb") as stream:
                data = stream.read(_MOST_BYTES + 1)
            text = data.decode()
        except OSError as error:
            raise HtpasswdError(f"{self._path}: can't be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise HtpasswdError(f"{self._path}: not UTF-8") from error
        if len(data) > _MOST_BYTES:
            raise HtpasswdError(f"{self._path}: larger than {_MOST_BYTES} bytes")
        users: dict[str, str] = {}
        cost = _LEAST_COST
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                name, hashed, its_cost = self._line(number, line)
                users.setdefault(name, hashed)
                cost = max(cost, its_cost)
        return users, bcrypt.hashpw(bcrypt.gensalt(), bcrypt.gensalt(cost)).decode()

    def _line(self, number: int, line: str) -> tuple[str, str, int]:
        where = f"{self._path}: line {number}"
        name, _, hashed = line.rstrip().partition(":")
        if _NAME.fullmatch(name) is None:
            raise HtpasswdError(f"{where}: use letters, digits and . _ @ - in user names")
        found = _HASH.fullmatch(hashed)
        if found is None:
            raise HtpasswdError(f"{where}: no bcrypt hash: make it with htpasswd -B")
        if int(found["cost"]) > _MOST_COST:
            raise HtpasswdError(f"{where}: a cost above {_MOST_COST} takes too long to check")
        return name, hashed, int(found["cost"])


_: type[Authenticator] = HtpasswdUsers
