"""Client certificates, which the TLS handshake verified against the configured authority."""

from collections.abc import Mapping
from typing import Any, Final

from auth.chain import Authenticator
from auth.credentials import Certificate, Credentials, InvalidCredentials
from auth.identity import Identity, Scheme
from auth.rules import NoRule, Rules

_ALTERNATIVES: Final = {"DNS": "dns", "URI": "uri", "email": "email"}


def certificate(peer: Mapping[str, Any] | None) -> Certificate | None:
    """Read what ``getpeercert`` gives; ``None`` where the client showed no certificate.

    The names are the claims ``cn``, ``dns``, ``uri`` and ``email`` of rules.
    """
    if not peer:
        return None
    names: dict[str, list[str]] = {}
    for parts in peer.get("subject", ()):
        for kind, value in parts:
            if kind == "commonName":
                names.setdefault("cn", []).append(value)
    for kind, value in peer.get("subjectAltName", ()):
        if kind in _ALTERNATIVES:
            names.setdefault(_ALTERNATIVES[kind], []).append(value)
    return Certificate({name: tuple(found) for name, found in names.items()})


class ClientCertificates:
    """Knows the subjects of client certificates by rules."""

    def __init__(self, rules: Rules) -> None:
        """Name them by ``rules``."""
        self._rules = rules

    async def authenticate(self, credentials: Credentials, _address: str) -> Identity | None:
        """See ``Authenticator``."""
        if not isinstance(credentials, Certificate):
            return None
        try:
            return self._rules.identity(credentials.names, Scheme.CERTIFICATE, "certificate")
        except NoRule as error:
            raise InvalidCredentials(f"the client certificate is not taken: {error}") from error


_: type[Authenticator] = ClientCertificates
