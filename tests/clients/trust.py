"""A certificate for loopback, by an authority that clients are told of."""

import ssl
from pathlib import Path

import trustme


class Trust:
    """Files in a directory: what a server shows, and by what clients verify it.

    `both` holds the chain and the key, as HAProxy wants them.
    """

    def __init__(self, directory: Path) -> None:
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        self.ca_file = self.certificates / "ca.crt"
        self.chain, self.key = directory / "cert.pem", directory / "key.pem"
        self.both = directory / "both.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        made = authority.issue_cert("127.0.0.1", "localhost")
        made.private_key_pem.write_to_path(self.key)
        for pem in made.cert_chain_pems:
            pem.write_to_path(self.chain, append=True)
        made.private_key_and_cert_chain_pem.write_to_path(self.both)
        self.context = ssl.create_default_context(cafile=str(self.ca_file))
        self._hosts = directory / "hosts"

    def hosts(self, address: str) -> Path:
        """Directory for containerd that says how to reach a registry, host:port.

        It takes loopback for plain HTTP unless it is told.
        """
        told = self._hosts / address
        told.mkdir(parents=True, exist_ok=True)
        url = f"https://{address}"
        (told / "hosts.toml").write_text(
            f'server = "{url}"\n[host."{url}"]\nca = "{self.ca_file}"\n'
        )
        return self._hosts
