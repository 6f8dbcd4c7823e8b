"""Challenges: how a client that may not do something yet is told where to log in.

One builder of ``WWW-Authenticate`` values, so that nothing of a request gets into one unchecked.
The token service is named under the host and port that the client itself used, since clients
refuse others (go-containerregistry), or under the configured public address. Forwarding headers
are never looked at: anybody can send them.
"""

import re
from typing import Final

from auth.scopes import NONE, Scopes

TOKEN_PATH: Final = "/token"  # noqa: S105  a path

_NAME: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?"
_HOST: Final = re.compile(rf"(?:{_NAME}|\[[0-9A-Fa-f:.]{{2,45}}\])(?::[0-9]{{1,5}})?", re.ASCII)
_UNQUOTED: Final = re.compile(r"[^ !#-\[\]-~]", re.ASCII)


class BadHost(ValueError):
    """The request's ``Host`` is missing, or is none that a URL could hold."""

    def __init__(self) -> None:
        super().__init__("the request has no proper Host header")


def origin(host: str | None, *, secure: bool) -> str:
    """Return the scheme, host and port that a client used, from its ``Host``; ``BadHost``."""
    if host is None or _HOST.fullmatch(host) is None:
        raise BadHost
    return f"{'https' if secure else 'http'}://{host.lower()}"


class Challenges:
    """Builds the challenges of one registry."""

    def __init__(
        self, service: str, *, public: str = "", basic: bool = False, elsewhere: str = ""
    ) -> None:
        """Name ``service``, and the address ``public`` (scheme, host, port) if it is known.

        ``elsewhere`` is the URL of the token service where it is none of the registry's own.
        ``basic``: offer the Basic scheme too, after Bearer.
        """
        self._service = service
        self._elsewhere = elsewhere
        self._public = public
        self._basic = basic

    def realm(self, host: str | None, *, secure: bool) -> str:
        """Return the address of the token service for a client that sent this ``Host``."""
        return self._elsewhere or (self._public or origin(host, secure=secure)) + TOKEN_PATH

    def values(
        self,
        realm: str,
        scopes: Scopes = NONE,
        *,
        error: str = "",
        description: str = "",
    ) -> tuple[str, ...]:
        """Return the values, one for each ``WWW-Authenticate`` line of an answer.

        One challenge a line: containers/image can't read two in one. ``scopes`` is what the
        request would have needed; ``error`` is one of RFC 6750's.
        """
        parts = [("realm", realm), ("service", self._service)]
        if scopes:
            parts.append(("scope", str(scopes)))
        if error:
            parts.append(("error", error))
        if description:
            parts.append(("error_description", description))
        bearer = "Bearer " + ",".join(f'{name}="{_quotable(text)}"' for name, text in parts)
        return (bearer, self.basic()) if self._basic else (bearer,)

    def basic(self) -> str:
        """Return the challenge for a user name and a password."""
        return f'Basic realm="{_quotable(self._service)}", charset="UTF-8"'


def _quotable(text: str) -> str:
    """Leave out what would end a quoted string, or a header."""
    return _UNQUOTED.sub("", text)
