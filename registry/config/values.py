"""The value types of settings that are more than a number or a text."""

import ipaddress
import re
import socket
from typing import Any, Final, Self

_ADDRESS: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[A-Za-z0-9.-]*)):(?P<port>[0-9]{1,5})",
    re.ASCII,
)


class Address(str):
    """Where to listen: ``host:port``; ``[…]:port`` for IPv6, an empty host for all interfaces.

    Port 0 means: any free port.
    """

    __slots__ = ("host", "port")
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. ``ValueError`` says what is wrong with it."""
        found = _ADDRESS.fullmatch(text)
        if found is None:
            hint = ""
            if text.count(":") > 1 and not text.startswith("["):
                hint = "; an IPv6 address goes in brackets, as in [::1]:5000"
            raise ValueError(f"expected host:port, for instance 127.0.0.1:5000, got {text!r}{hint}")
        port = int(found["port"])
        if port > 65535:
            raise ValueError(f"a port is at most 65535, got {port}")
        host = found["six"] or found["host"]
        if found["six"]:
            try:
                ipaddress.IPv6Address(host)
            except ValueError as error:
                raise ValueError(f"{host!r} is no IPv6 address") from error
        return cls._of(host, port)

    @classmethod
    def _of(cls, host: str, port: int) -> Self:
        address = cls(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        address.host, address.port = host, port
        return address

    def with_port(self, port: int) -> Self:
        """Return the same host with another port."""
        return self._of(self.host, port)

    def resolve(self) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
        """Return each family and socket address that this stands for, IPv4 first.

        ``localhost`` stands for 127.0.0.1 and ::1, whatever the machine's resolver makes of it; an
        empty host for every interface, in both families. ``OSError`` if a name does not resolve.
        """
        if self.host == "localhost":
            return [
                (socket.AF_INET, ("127.0.0.1", self.port)),
                (socket.AF_INET6, ("::1", self.port)),
            ]
        if not self.host:
            return [
                (socket.AF_INET, ("0.0.0.0", self.port)),  # noqa: S104  what an empty host means
                (socket.AF_INET6, ("::", self.port)),
            ]
        found = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        pairs = {(socket.AddressFamily(family), address) for family, _, _, _, address in found}
        return sorted(pairs, key=lambda pair: (pair[0] != socket.AF_INET, pair[1]))

    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name counts by what it resolves to."""
        return all(
            ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
            for _, address in self.resolve()
        )

    def client_host(self) -> str:
        """Return the host that a client on this machine connects to."""
        wildcard = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  as above
        return wildcard.get(self.host, self.host)


class Secret:
    """A text that shows itself to nobody by accident: its ``repr`` and ``str`` are stars."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('**********')" if self._text else "Secret('')"

    def __str__(self) -> str:
        return "**********" if self._text else ""


def decode(wanted: type[Any], value: object) -> object:
    """``msgspec``'s ``dec_hook``: read an ``Address`` or a ``Secret``."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    if wanted is Address:
        return Address.parse(value)
    if wanted is Secret:
        return Secret(value)
    raise NotImplementedError(wanted)  # pragma: no cover


def encode(value: object) -> object:
    """``msgspec``'s ``enc_hook``: show an ``Address``, and only the stars of a ``Secret``."""
    return str(value)
