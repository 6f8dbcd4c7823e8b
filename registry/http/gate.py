"""Who asks, and how a refusal is told: by the credentials that the caller showed.

A refusal tells a caller nothing of what it may not know. To whoever may not see a project, it looks
as if it were not there: the same status, headers and body as for a name that nobody has.
"""
# ruff: noqa: ARG002 -- each gate looks at what it needs

from typing import Final, Protocol

from aiohttp.web import BaseRequest

from auth.identity import ANONYMOUS, Identity, Scheme
from auth.policy import Action, Deny, Verb, Why
from registry.http.login import INSUFFICIENT, INVALID, Login, needed_scopes
from registry.spec.errors import Denied, NameUnknown, RegistryError
from registry.spec.names import RepositoryName
from registry.spec.requests import Request

LAPSED: Final = frozenset({Why.BLOCKED, Why.REVOKED, Why.EXPIRED, Why.ADDRESS, Why.GENERATION})
"""The credential is the trouble, whatever is asked for."""

_NO_ACCESS: Final = "your token gives no access to this: check the name and your login"


class Gate(Protocol):
    """Lets requests in."""

    async def identify(self, http: BaseRequest, request: Request, verb: Verb) -> Identity:
        """Return who sent the request, which needs ``verb``.

        What it raises of ``RegistryError`` is the answer.
        """
        ...

    def refuse(
        self, http: BaseRequest, identity: Identity, action: Action, deny: Deny
    ) -> RegistryError:
        """Return the answer to a request that was denied."""
        ...


class OpenGate:
    """Asks nobody who they are."""

    async def identify(self, http: BaseRequest, request: Request, verb: Verb) -> Identity:
        """See ``Gate``."""
        return ANONYMOUS

    def refuse(
        self, http: BaseRequest, identity: Identity, action: Action, deny: Deny
    ) -> RegistryError:
        """See ``Gate``."""
        return Denied(deny.reason)


class LoginGate:
    """Asks for a login wherever one is needed."""

    def __init__(self, login: Login) -> None:
        """Find out with ``login`` who it is."""
        self._login = login

    async def identify(self, http: BaseRequest, request: Request, verb: Verb) -> Identity:
        """See ``Gate``."""
        known = self._login.remembered(http)
        if known is not None:
            return known
        repository: RepositoryName | None = getattr(request, "repository", None)
        return await self._login.identify(http, request, lambda: needed_scopes(verb, repository))

    def refuse(
        self, http: BaseRequest, identity: Identity, action: Action, deny: Deny
    ) -> RegistryError:
        """See ``Gate``.

        Whoever showed nothing is told to log in, and a bearer what its token lacks: it may get one
        that has it. Others have shown all that they have: 403 where they may see what is there, and
        404 where not.
        """
        needed = needed_scopes(action.verb, action.repository)
        if identity.scheme is Scheme.NONE:
            return self._login.unauthorized(http, needed)
        if deny.why in LAPSED:
            return self._login.unauthorized(http, needed, INVALID, deny.reason)
        if identity.scheme is Scheme.BEARER:
            reason = deny.reason if deny.visible else _NO_ACCESS
            return self._login.unauthorized(http, needed, INSUFFICIENT, reason)
        return Denied(deny.reason) if deny.visible else NameUnknown()


_: tuple[type[Gate], ...] = (OpenGate, LoginGate)
