"""Who is at work in the drill: clients that log in, and the docker command with its engine."""

import base64
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired
from urllib.parse import quote, urlsplit

from tests.clients.content import LayoutWriter
from tests.clients.engines import Docker
from tests.fixtures.daemons import Daemon
from tests.oracle.wire import Client, Headers, Reply

_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class TokenClient(Client):
    """Logs in as docker does: with a token that it asks for when it is told to.

    A token that is fresh and refused is answered with what the registry said: 401.
    """

    def __init__(self, address: str, login: str, **options: object) -> None:
        super().__init__(address, **options)  # type: ignore[arg-type]
        self._login = ("Authorization", f"Basic {login}")
        self._tokens: dict[str, str] = {}

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """As `Client.request`; OSError also where the token service is not available."""
        found = _REPOSITORY.search(target)
        repository = found[1] if found else ""
        reply = self._ask(method, target, headers, body, repository)
        if reply.status == 401:
            self._tokens[repository] = self._token(reply["WWW-Authenticate"], repository)
            reply = self._ask(method, target, headers, body, repository)
        return reply

    def _ask(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | Iterable[bytes] | None,
        repository: str,
    ) -> Reply:
        token = self._tokens.get(repository)
        more = [("Authorization", f"Bearer {token}")] if token else []
        return super().request(method, target, [*headers, *more], body)

    def _token(self, challenge: str, repository: str) -> str:
        told = dict(_PARAMETER.findall(challenge))
        scope = f"repository:{repository}:pull,push,delete" if repository else told["scope"]
        query = f"service={quote(told['service'])}&scope={quote(scope)}"
        path = urlsplit(told["realm"]).path
        reply = super().request("GET", f"{path}?{query}", [self._login])
        if reply.status != 200:
            raise OSError(f"no token: {reply.status} {reply.body[:200]!r}")
        return str(reply.json()["token"])


def write_login(directory: Path, host: str, login: str) -> Path:
    """Write what `docker login` would, and return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    return directory


def login_of(name: str, secret: str) -> str:
    """A name and a secret as Basic has them."""
    return base64.b64encode(f"{name}:{secret}".encode()).decode()


class DockerLoop:
    """docker: loads, pushes, forgets and pulls a new image, one command after another."""

    def __init__(self, program: str, home: Path, engine: Daemon, repository: str) -> None:
        self.commands = 0
        self.failed: list[str] = []
        home.mkdir()
        self._home = home
        self._docker = Docker(program, home, engine)
        self._repository = repository

    def log_in(self, host: str, login: str) -> None:
        """Give it a login."""
        write_login(self._home / ".docker", host, login)

    def run(self, stop: threading.Event) -> None:
        """Go on until told to stop."""
        number = 0
        while not stop.is_set():
            number += 1
            image = LayoutWriter(self._home / f"image-{number}", number).image([120_000, 30_000])
            name = f"{self._repository}:{number}"
            self._docker.load(image, name)
            if self._command("push", name):
                self._docker.run("rmi", "--force", name)
                self._command("pull", name)
            self._docker.run("image", "prune", "--all", "--force")

    def _command(self, *arguments: str) -> bool:
        self.commands += 1
        try:
            self._docker.run(*arguments)
        except (CalledProcessError, TimeoutExpired) as error:
            said = getattr(error, "output", "")
            self.failed.append(f"{time.strftime('%H:%M:%S')} {arguments}: {said[-500:]}")
            return False
        return True


def environment_of(directory: Path, authority: Path | None) -> Mapping[str, str]:
    """What makes a client find its login, and trust an authority."""
    found = {"DOCKER_CONFIG": str(directory)}
    if authority is not None:
        found["SSL_CERT_FILE"] = str(authority)
    return found
