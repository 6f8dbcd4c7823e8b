"""Real clients over TLS, with logins, and a registry for them.

The certificate is one that the clients verify (docker does not, for loopback addresses).
"""

import base64
import hashlib
import http.client
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.server import RegistryProcess, free_port
from registry.spec.quota import Limits
from tests.clients.client import Crane, Oras, Regctl, Skopeo
from tests.clients.engines import Buildah, Containerd, Docker, Podman
from tests.clients.trust import Trust
from tests.fixtures.programs import require_program, require_root
from tests.fixtures.projects import PASSWORD, make_projects

OCTETS = "application/octet-stream"
PLAIN = ("plain-http", "tls=disabled")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Two projects behind TLS: alice owns demo, bob owns other, and the robot pulls from demo.

    `public`: it is told the address that clients use, `localhost` and its port. `arguments` go to
    the command.
    """

    def __init__(
        self, directory: Path, *, public: bool = False, arguments: Sequence[str] = ()
    ) -> None:
        port = free_port()
        settings = {"AUTH__MODE": "projects"}
        if public:
            settings["SERVER__PUBLIC_URL"] = f"https://localhost:{port}"
        trust = Trust(directory)
        self.certificates, self.ca_file = trust.certificates, trust.ca_file
        self.context = trust.context
        members = {"demo": {"alice": "owner", "+pull": "guest"}, "other": {"bob": "owner"}}
        members["small"] = {"alice": "owner"}
        self.robots = make_projects(directory / "data", members, {"small": Limits(bytes=1000)})
        self.process = RegistryProcess(
            store="filesystem",
            data=directory / "data",
            workers=2,
            settings=settings,
            port=port,
            arguments=arguments,
            log=directory / "server.log",
            tls=(trust.chain, trust.key),
        )
        self.address = f"localhost:{port}" if public else self.process.address
        self.hosts = trust.hosts(self.address)

    def ask(self, method, path, who=None, body=None, headers=None):
        """Status and body, as `who` with its password."""
        headers = dict(headers or {})
        if who:
            pair = base64.b64encode(f"{who}:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        connection = http.client.HTTPSConnection(self.address, timeout=30, context=self.context)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def put_secret(self, repository="other/secret", tag="v1"):
        """Push an image to the project of bob."""

        def blob(data):
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
            assert self.ask("POST", path, "bob", data, {"Content-Type": OCTETS})[0] == 201
            return {"mediaType": OCTETS, "digest": digest, "size": len(data)}

        manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                    "config": blob(b"{}"), "layers": [blob(b"secret" * 100)]}  # fmt: skip
        body, head = json.dumps(manifest).encode(), {"Content-Type": MANIFEST}
        assert self.ask("PUT", f"/v2/{repository}/manifests/{tag}", "bob", body, head)[0] == 201


def secured(kind, registry):
    """The client's class with TLS in the place of what it says for plain HTTP."""

    class Secured(kind):
        pair = ""

        def command(self, *arguments):
            directory, words = registry.certificates, []
            for word in super().command(*arguments):
                if word.endswith("tls-verify=false"):
                    words.append(word.replace("tls-verify=false", f"cert-dir={directory}"))
                elif word not in ("--insecure", "--host") and not word.endswith(PLAIN):
                    words.append(word)
            if kind is Containerd and ("push" in words or "pull" in words):
                at = next(n for n, word in enumerate(words) if word in ("push", "pull"))
                login = ["--user", self.pair] if self.pair else []
                words[at + 1 : at + 1] = [f"--hosts-dir={registry.hosts}", *login]
            return words

        def login(self, name, password):
            """Log in; for ctr, which keeps nothing: show these from now on."""
            host = registry.address
            self.pair = f"{name}:{password}"
            pair = ["-u", name, "-p", password]
            match kind.name:
                case "docker":
                    self.run("login", *pair, host)
                case "podman" | "buildah" | "skopeo":
                    self.run("login", f"--cert-dir={registry.certificates}", *pair, host)
                case "crane":
                    self.run("auth", "login", host, *pair)
                case "regctl":
                    self.run("registry", "login", host, *pair)
                case "oras":
                    self.run("login", host, *pair)

    return Secured


@contextmanager
def running(settings: str = "") -> Iterator[Registry]:
    """A registry that serves, with more `settings` (TOML); its log is looked at in the end."""
    with tempfile.TemporaryDirectory(prefix="logins-") as home:
        more = Path(home) / "more.toml"
        more.write_text(settings)
        made = Registry(Path(home), arguments=("-c", str(more)) if settings else ())
        made.process.start()
        try:
            yield made
        finally:
            made.process.kill()
        made.process.check_log()


def make_client(name, request, home, registry):
    """Make a client that speaks to `registry`; `request` gives it an engine if it needs one."""
    if name in ("docker", "containerd"):
        engine = request.getfixturevalue(f"{name}_engine")
        program = require_program("docker" if name == "docker" else "ctr")
        kind = Docker if name == "docker" else Containerd
        made = secured(kind, registry)(program, home, engine)
    else:
        if name in ("podman", "buildah"):
            require_root(name)
        kinds = {each.name: each for each in (Podman, Buildah, Skopeo, Crane, Regctl, Oras)}
        made = secured(kinds[name], registry)(require_program(name), home)
    made.environment["SSL_CERT_FILE"] = str(registry.ca_file)
    (home / "auth.json").write_text("{}")
    made.environment["REGISTRY_AUTH_FILE"] = str(home / "auth.json")
    return made


def said(call, *arguments):
    """What a command that has to fail printed."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        call(*arguments)
    return caught.value.output
