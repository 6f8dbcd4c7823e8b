"""What the matrix asks of a client, and the tools that copy between a registry and a directory."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, ClassVar

from conformance.relay import Relay
from tests.clients.content import Layout, layers_of_layout

_TIMEOUT_SECONDS = 240
_HOST = re.compile(r"(?:^|=)(127\.0\.0\.1:\d+)/")

Layers = Mapping[str, list[str]]
"""The digests of the uncompressed layers that a client holds, for each platform."""


class Client:
    """A program that pushes and pulls, with a home directory of its own.

    References are `host:port/repository:tag` of a registry on loopback without TLS. Each command
    that fails raises `subprocess.CalledProcessError`, its output shown by `run`.
    """

    name: ClassVar[str]

    def __init__(self, program: str, home: Path) -> None:
        self.program = program
        self.home = home
        temporary = home / "tmp"
        temporary.mkdir()
        self.environment = {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "REGCTL_CONFIG": str(home / "regctl.json"),
        }
        # What Debian's packages only recommend: without a policy nothing may be pulled.
        policy = home / ".config" / "containers" / "policy.json"
        policy.parent.mkdir(parents=True)
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')

    def command(self, *arguments: str) -> list[str]:
        """Return the whole command for these arguments."""
        return [self.program, *arguments]

    def run(self, *arguments: str, feed: Callable[[IO[bytes]], None] | None = None) -> str:
        """Run one command and return what it printed; `feed` writes its standard input."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self.command(*arguments),
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                if feed is not None:
                    assert process.stdin is not None
                    with process.stdin:
                        feed(process.stdin)
                process.wait(_TIMEOUT_SECONDS)
            finally:
                process.kill()
                process.wait()
                output.seek(0)
                printed = output.read().decode(errors="replace")
            if process.returncode != 0:
                print(f"$ {' '.join(process.args)}\n{printed}")
                raise subprocess.CalledProcessError(process.returncode, process.args, printed)
        return printed

    def kill_when_sent(self, count: int, relay: Relay, arguments: list[str]) -> None:
        """Start a command, and kill it when `count` bytes of what it sends reached the registry.

        Nothing more gets through from then on, and its connections are broken, also those that an
        engine holds for it.
        """
        relay.hold_after(count)
        process = subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            while not relay.wait_until_held(0.2):
                assert process.poll() is None, f"{process.args} ended before {count} bytes"
                assert time.monotonic() < deadline, f"{process.args} did not send {count} bytes"
        finally:
            process.kill()
            process.wait()
            relay.cut()
            relay.release()

    def scratch(self, name: str) -> Path:
        """Return a directory of this name that does not exist yet."""
        directory = self.home / name
        shutil.rmtree(directory, ignore_errors=True)
        return directory

    def load(self, image: Layout, reference: str) -> None:
        """Bring an image into the client's own store, if it has one."""

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        """Return the arguments that push what `load` brought."""
        raise NotImplementedError

    def push(self, image: Layout, reference: str) -> None:
        """Load and push an image."""
        self.load(image, reference)
        self.run(*self.push_arguments(image, reference))

    def push_index(self, index: Layout, reference: str) -> None:
        """Push an index and its images."""
        self.push(index, reference)

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        """Pull these platforms (or all) into an empty store and hash what arrived."""
        raise NotImplementedError

    def tag(self, reference: str, other: str) -> None:
        """Give an image in the registry another tag."""
        raise NotImplementedError

    def delete(self, reference: str) -> None:
        """Delete from the registry; some clients have no command for it."""
        raise NotImplementedError


class Skopeo(Client):
    """skopeo (containers/image)."""

    name = "skopeo"

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        source, target = f"oci:{image.directory}:image", f"docker://{reference}"
        # Preserved digests keep it from compressing what it copies.
        options = ["--all", "--preserve-digests", "--dest-tls-verify=false"]
        return ["copy", *options, source, target]

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        directory = self.scratch("pulled")
        options = ["--all", "--preserve-digests", "--src-tls-verify=false"]
        self.run("copy", *options, f"docker://{reference}", f"oci:{directory}:image")
        return layers_of_layout(directory)

    def tag(self, reference: str, other: str) -> None:
        options = ["--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
        self.run("copy", *options, f"docker://{reference}", f"docker://{other}")

    def delete(self, reference: str) -> None:
        self.run("delete", "--tls-verify=false", f"docker://{reference}")


class Crane(Client):
    """crane (go-containerregistry); it takes loopback for plain HTTP by itself."""

    name = "crane"

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        return ["push", str(image.directory), reference]

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        directory = self.scratch("pulled")
        self.run("pull", "--format=oci", reference, str(directory))
        return layers_of_layout(directory)

    def tag(self, reference: str, other: str) -> None:
        self.run("tag", reference, other.rpartition(":")[2])

    def delete(self, reference: str) -> None:
        self.run("delete", reference)


class Regctl(Client):
    """regctl (regclient)."""

    name = "regctl"

    def command(self, *arguments: str) -> list[str]:
        hosts = {found[1] for each in arguments if (found := _HOST.search(each))}
        options = [option for host in hosts for option in ("--host", f"reg={host},tls=disabled")]
        return [self.program, *options, *arguments]

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        return ["image", "copy", f"ocidir://{image.directory}:image", reference]

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        directory = self.scratch("pulled")
        self.run("image", "copy", reference, f"ocidir://{directory}:image")
        return layers_of_layout(directory)

    def tag(self, reference: str, other: str) -> None:
        self.run("image", "copy", reference, other)

    def delete(self, reference: str) -> None:
        self.run("tag", "delete", reference)


class Oras(Client):
    """oras."""

    name = "oras"

    def push_arguments(self, image: Layout, reference: str) -> list[str]:
        source = f"{image.directory}:image"
        return ["cp", "--no-tty", "--from-oci-layout", "--to-plain-http", source, reference]

    def pull(self, reference: str, platforms: Iterable[str]) -> Layers:
        directory = self.scratch("pulled")
        options = ["--no-tty", "--from-plain-http", "--to-oci-layout"]
        self.run("cp", *options, reference, f"{directory}:image")
        return layers_of_layout(directory)

    def tag(self, reference: str, other: str) -> None:
        self.run("tag", "--plain-http", reference, other.rpartition(":")[2])

    def delete(self, reference: str) -> None:
        self.run("manifest", "delete", "--plain-http", "--force", reference)
