"""Certificates of clients, and servers that ask for them."""

import ssl
from pathlib import Path

import trustme


class Party:
    """An authority and what it vouches for."""

    def __init__(self, directory: Path, name: str) -> None:
        self.authority = trustme.CA()
        self.path = directory / f"{name}.pem"
        self.authority.cert_pem.write_to_path(self.path)

    def context(self, *names: str, common_name: str | None = None) -> ssl.SSLContext:
        """What a client connects with: with names, it shows a certificate of theirs."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if names:
            self.authority.issue_cert(*names, common_name=common_name).configure_cert(context)
        return context


def files_of(directory: Path, clients: Party) -> dict[str, str]:
    """The settings of `tls` for a server that asks for the certificates of `clients`."""
    made = trustme.CA().issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(directory / "key.pem")
    for pem in made.cert_chain_pems:
        pem.write_to_path(directory / "cert.pem", append=True)
    return {
        "certificate": str(directory / "cert.pem"),
        "key": str(directory / "key.pem"),
        "client_ca": str(clients.path),
    }
