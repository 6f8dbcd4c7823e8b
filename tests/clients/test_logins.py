"""Real clients over TLS, with logins: their own project works, another's looks absent.

The certificate is one that the clients verify (docker does not, for loopback addresses).
"""

import base64
import hashlib
import http.client
import json
import os
import re
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import trustme

from conformance.server import RegistryProcess
from registry.spec.quota import Limits
from tests.clients.client import Crane, Oras, Regctl, Skopeo
from tests.clients.engines import Buildah, Containerd, Docker, Podman
from tests.fixtures.programs import require_program, require_root
from tests.fixtures.projects import PASSWORD, make_projects

pytestmark = pytest.mark.timeout(300)

CLIENTS = ["docker", "podman", "buildah", "containerd", "skopeo", "crane", "regctl", "oras"]
OCTETS = "application/octet-stream"
PLAIN = ("plain-http", "tls=disabled")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """Two projects behind TLS: alice owns demo, bob owns other, and the robot pulls from demo."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        self.ca_file = self.certificates / "ca.crt"
        authority.cert_pem.write_to_path(self.ca_file)
        made = authority.issue_cert("127.0.0.1", "localhost")
        made.private_key_pem.write_to_path(directory / "key.pem")
        for pem in made.cert_chain_pems:
            pem.write_to_path(directory / "cert.pem", append=True)
        members = {"demo": {"alice": "owner", "+pull": "guest"}, "other": {"bob": "owner"}}
        members["small"] = {"alice": "owner"}
        self.robots = make_projects(directory / "data", members, {"small": Limits(bytes=1000)})
        self.process = RegistryProcess(
            store="filesystem",
            data=directory / "data",
            workers=2,
            settings={"AUTH__MODE": "projects"},
            log=directory / "server.log",
            tls=(directory / "cert.pem", directory / "key.pem"),
        )
        self.address = self.process.address
        # ctr takes loopback for plain HTTP unless it is told.
        self.hosts = directory / "hosts"
        told = self.hosts / self.address
        told.mkdir(parents=True)
        url = f"https://{self.address}"
        (told / "hosts.toml").write_text(
            f'server = "{url}"\n[host."{url}"]\nca = "{self.ca_file}"\n'
        )
        self.context = ssl.create_default_context(cafile=str(self.ca_file))

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

    def put_secret(self):
        """Push an image to the project of bob."""

        def blob(data):
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            path = f"/v2/other/secret/blobs/uploads/?digest={digest}"
            assert self.ask("POST", path, "bob", data, {"Content-Type": OCTETS})[0] == 201
            return {"mediaType": OCTETS, "digest": digest, "size": len(data)}

        manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                    "config": blob(b"{}"), "layers": [blob(b"secret" * 100)]}  # fmt: skip
        body, head = json.dumps(manifest).encode(), {"Content-Type": MANIFEST}
        assert self.ask("PUT", "/v2/other/secret/manifests/v1", "bob", body, head)[0] == 201


@pytest.fixture(scope="module")
def registry():
    with tempfile.TemporaryDirectory(prefix="logins-") as home:
        made = Registry(Path(home))
        made.process.start()
        try:
            made.put_secret()
            yield made
        finally:
            made.process.kill()
        made.process.check_log()


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


@pytest.fixture(params=CLIENTS)
def client(request, registry):
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield make_client(request, Path(home), registry)


def make_client(request, home, registry):
    name = request.param
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


def test_own_project_works_and_another_looks_absent(client, registry, image, request):
    own = f"{registry.address}/demo/{client.name}:v1"
    client.load(image, own)
    assert said(client.run, *client.push_arguments(image, own)), "nobody may push"
    if client.name not in ("containerd", "crane"):  # they keep what they are told
        assert said(client.login, "alice", "wrong password of ten"), "nor log in with another word"
    client.login("alice", PASSWORD)
    client.run(*client.push_arguments(image, own))
    assert client.pull(own, image.layers) == image.layers
    for foreign, absent in (
        ("other/secret:v1", "absent/secret:v1"),
        ("other/new:v1", "absent/new:v1"),
    ):
        texts = []
        for name in (foreign, absent):
            text = said(client.pull, f"{registry.address}/{name}", image.layers)
            texts.append(shown(text).replace(name.partition("/")[0], "PROJECT"))
        assert texts[0] == texts[1]
    for name in ("other/secret:v1", "absent/secret:v1"):
        target = f"{registry.address}/{name}"
        client.load(image, target)
        assert said(client.run, *client.push_arguments(image, target))
    status, body = registry.ask("GET", "/v2/other/secret/tags/list", "bob")
    assert (status, json.loads(body)["tags"]) == (200, ["v1"])


def shown(text):
    """The output without what differs from run to run: times, ids, durations."""
    text = re.sub(r"time=\S+|\d{4}[-/]\d\d[-/]\d\d[ T][\d:.]+Z?|\b[\d.]+ ?m?s\b", "", text)
    text = re.sub(r"elapsed: .*|[\d.]+ B/s|\|[-+ ]*\|", "", text)
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("client", ["docker", "containerd", "skopeo", "crane"], indirect=True)
def test_a_robot_account_pulls_and_does_not_push(client, registry, image):
    """What an image pull secret holds."""
    name = f"{registry.address}/demo/robot-{client.name}:v1"
    client.login("alice", PASSWORD)
    client.push(image, name)
    client.login("demo+pull", registry.robots["demo+pull"])
    assert client.pull(name, image.layers) == image.layers
    other = f"{registry.address}/demo/by-robot-{client.name}:v1"
    client.load(image, other)
    assert said(client.run, *client.push_arguments(image, other))


@pytest.mark.parametrize("client", ["docker", "crane", "skopeo"], indirect=True)
def test_a_tag_rule_is_told_by_the_client_that_it_refuses(client, registry, image, other_image):
    name = f"{registry.address}/demo/ruled-{client.name}:v1"
    client.login("alice", PASSWORD)
    client.push(image, name)
    rules = {"rules": [{"name": "releases", "tags": ["demo/ruled-*:v*"]}]}
    body, head = json.dumps(rules).encode(), {"Content-Type": "application/json"}
    assert registry.ask("PUT", "/api/v1/projects/demo/tag-rules", "alice", body, head)[0] == 200
    client.load(other_image, name)
    refused = said(client.run, *client.push_arguments(other_image, name))
    assert "is immutable by the rule 'releases' of the project demo" in refused
    client.load(image, name)
    client.push(image, name)
    assert client.pull(name, image.layers) == image.layers


@pytest.mark.parametrize("client", ["docker", "podman", "crane"], indirect=True)
def test_who_pushes_more_than_fits_is_shown_how_much_is_left(client, registry, image):
    """At once: none tries the same again.

    Of the others, buildah, skopeo and oras print it too; ctr prints the status only, and regctl
    sends the blob in another way then, and prints what it is told about that.
    """
    name = f"{registry.address}/small/{client.name}:v1"
    client.login("alice", PASSWORD)
    client.load(image, name)
    began = time.monotonic()
    text = said(client.run, *client.push_arguments(image, name))
    assert "quota of 1000 B has" in re.sub(r"\s+", " ", text)
    assert time.monotonic() - began < 30
    status, _ = registry.ask("GET", "/v2/small/tags/list", "alice")
    assert status == 404


@pytest.mark.parametrize("client", ["docker"], indirect=True)
def test_docker_keeps_a_refresh_token_and_no_password(client, registry, image):
    client.login("alice", PASSWORD)
    config = (client.home / ".docker" / "config.json").read_text()
    entry = json.loads(config)["auths"][registry.address]
    assert entry["identitytoken"].startswith("mrg_off_")
    assert PASSWORD not in base64.b64decode(entry.get("auth", "")).decode()
    client.push(image, f"{registry.address}/demo/refreshed:v1")
    client.push(image, f"{registry.address}/demo/refreshed:v2")


def test_helm_logs_in_pushes_and_pulls_a_chart(registry, tmp_path):
    helm = require_program("helm")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"],
                   "SSL_CERT_FILE": str(registry.ca_file)}  # fmt: skip

    def run(*arguments, ok=True):
        done = subprocess.run(
            [helm, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    (tmp_path / "got").mkdir()
    run("create", "chart")
    run("package", "chart")
    (chart,) = tmp_path.glob("chart-*.tgz")
    target = f"oci://{registry.address}"
    run("push", str(chart), f"{target}/demo", ok=False)
    run("registry", "login", registry.address, "-u", "alice", "-p", "wrong", ok=False)
    run("registry", "login", registry.address, "-u", "alice", "-p", PASSWORD)
    run("push", str(chart), f"{target}/demo")
    run(
        "pull", f"{target}/demo/chart", "--version", "0.1.0", "--destination", str(tmp_path / "got")
    )
    assert (tmp_path / "got" / chart.name).read_bytes() == chart.read_bytes()
    run("push", str(chart), f"{target}/other", ok=False)
    foreign = run("pull", f"{target}/other/secret", "--version", "v1", ok=False)
    absent = run("pull", f"{target}/absent/secret", "--version", "v1", ok=False)
    assert shown(foreign).replace("other", "PROJECT") == shown(absent).replace("absent", "PROJECT")
