"""HTTPS: a certificate that can be changed while connections are open."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from typing import Final

from auth.files import Changes
from registry.config import TLSConfig

_log = logging.getLogger("moorage.tls")

# Where the key has a password and none is set, OpenSSL would ask for it on the terminal, and wait.
_NO_PASSWORD: Final = b""


class TLSError(Exception):
    """The certificate or its key can't be used. The message says which file and why."""


class Certificate:
    """The certificate of a listener, read anew when its files change.

    Each handshake uses the newest one that could be read; connections that are open keep theirs.
    """

    def __init__(self, config: TLSConfig, reloaded: Callable[[str], None]) -> None:
        """Read the files. ``TLSError`` if they can't be used. ``reloaded`` hears ok and error."""
        self._config = config
        self._reloaded = reloaded
        files = (config.certificate, config.key, config.client_ca)
        self._changes = Changes([file for file in files if file])
        self._newest = self._read()
        self.context = self._read()
        """What the listener is given: it passes each handshake on to the newest one."""
        self.context.sni_callback = self._choose

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._newest

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A renegotiation costs the server more than the client.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        password = self._config.key_password.reveal().encode() or _NO_PASSWORD
        certificate, key = self._config.certificate, self._config.key
        for file in (certificate, key):
            if not os.access(file, os.R_OK):
                raise TLSError(f"{file}: can't be read: is it there, and may this user read it?")
        try:
            context.load_cert_chain(certificate, key, password=lambda: password)
        except (OSError, ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise TLSError(
                f"{certificate} and {key} are no certificate with its key in PEM form: {why}"
            ) from error
        if self._config.client_ca:
            self._ask_clients(context)
        return context

    def _ask_clients(self, context: ssl.SSLContext) -> None:
        """Let clients show certificates; one of another authority ends the handshake."""
        authority = self._config.client_ca
        try:
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise TLSError(f"{authority}: no certificates in PEM form: {why}") from error
        context.verify_mode = ssl.CERT_OPTIONAL

    def reload(self) -> None:
        """Read the files again. If they can't be used, say so and go on with the old ones."""
        self._changes.any()  # what is read now is not news any more
        try:
            self._newest = self._read()
        except TLSError as error:
            _log.error("the new certificate is not used, the old one still is: %s", error)
            self._reloaded("error")
        else:
            _log.info("new connections use the new certificate %s", self._config.certificate)
            self._reloaded("ok")

    async def watch(self) -> None:
        """Reload whenever the files have changed, until cancelled."""
        while True:
            await asyncio.sleep(self._config.reload_seconds)
            if self._changes.any():
                self.reload()
