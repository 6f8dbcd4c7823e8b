"""Real clients over TLS, with logins: their own project works, another's looks absent.

The certificate is one that the clients verify (docker does not, for loopback addresses).
"""

import base64
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.clients.secured import make_client, running, said
from tests.fixtures.programs import require_program
from tests.fixtures.projects import PASSWORD

pytestmark = pytest.mark.timeout(300)

CLIENTS = ["docker", "podman", "buildah", "containerd", "skopeo", "crane", "regctl", "oras"]


@pytest.fixture(scope="module")
def registry():
    with running() as made:
        made.put_secret()
        yield made


@pytest.fixture(params=CLIENTS)
def client(request, registry):
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as home:
        yield make_client(request.param, request, Path(home), registry)


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


PROGRESS = re.compile(r"resolving +\||elapsed: |retrying EOF")
"""What ctr draws anew as time goes by, and what crane says of a connection that was closed."""


def shown(text):
    """The output without what differs from run to run: times, ids, durations, progress."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)
    text = re.sub(r"time=\S+|\d{4}[-/]\d\d[-/]\d\d[ T][\d:.]+Z?|\b[\d.]+ ?m?s\b", "", text)
    lines = [line for line in re.split(r"[\r\n]+", text) if not PROGRESS.search(line)]
    text = re.sub(r"[\d.]+ B/s|\|[-+ ]*\|", "", "\n".join(dict.fromkeys(lines)))
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
    assert time.monotonic() - began < 100
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
