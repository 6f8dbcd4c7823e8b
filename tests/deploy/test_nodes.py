"""The chart that puts the credential provider on nodes: what it makes, and that it does so."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from deploy.k8s import render
from deploy.k8s.render import NODES, NODES_EXAMPLE
from registry import credential_provider
from tests.deploy.rendered import leaves, load, one
from tests.deploy.test_chart import changed
from tests.fixtures.programs import require_program

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "pull-with-kubelet.md"
INSTALL = NODES / "files" / "install.sh"


@pytest.fixture(autouse=True)
def _helm():
    require_program("helm")


def made(*values, **more):
    return load(render.template(values or [NODES_EXAMPLE], chart=NODES, **more))


def config_of(found):
    """What the kubelet reads."""
    return yaml.safe_load(one(found, "ConfigMap")["data"]["provider.yaml"])


def test_lint_has_nothing_to_say():
    linted = render.helm("lint", "--strict", str(NODES), "--set-json", NODES_EXAMPLE)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_kubelets_that_give_providers_no_tokens_are_told_of():
    with pytest.raises(RuntimeError, match="requires kubeVersion"):
        made(version="1.33")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("registries=[]", "/registries"),
        ('registries=["https://a.example"]', "/registries/0"),
        ('registries=["a.example","a.example"]', "/registries"),
        ('binDir="kubelet"', "/binDir"),
        ('configDir="/etc/../root"', "/configDir"),
        ('registry="a.example"', "registry"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value, why):
    with pytest.raises(RuntimeError) as refused:
        made(NODES_EXAMPLE, value)
    assert why in str(refused.value)


def test_every_value_is_used():
    defaults = yaml.safe_load((NODES / "values.yaml").read_text())
    standing = made()
    for number, (path, value) in enumerate(leaves(defaults)):
        new = changed(path, value, number)
        if path == ("registries",):
            new = ["other.example"]
        elif path[-1] == "pullPolicy":
            new = "Always"
        elif path[-1] == "digest":
            new = f"sha256:{'0' * 64}"
        elif path[-1].endswith("Dir"):
            new = f"/x{number}x"
        assert made(NODES_EXAMPLE, f"{'.'.join(path)}={json.dumps(new)}") != standing, path


def test_the_kubelet_is_told_what_the_guide_says():
    written = re.search(r"```yaml\n(apiVersion: kubelet.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert written is not None
    assert config_of(made()) == yaml.safe_load(written[1])


def test_the_audience_is_the_registry_s_if_no_other_is_named():
    registries = 'registries=["images.example.org:5000","other.example"]'
    for more, wanted in (((), "images.example.org:5000"), (('audience="x"',), "x")):
        (provider,) = config_of(made(registries, *more))["providers"]
        assert provider["tokenAttributes"]["serviceAccountTokenAudience"] == wanted
        assert provider["args"] == ["images.example.org:5000", "other.example"]


def test_it_has_no_more_than_it_needs():
    found = made()
    pod = one(found, "DaemonSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = {each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    assert paths == {"/usr/local/lib/kubelet-providers", "/etc/kubernetes/credential-providers"}
    policy = one(found, "NetworkPolicy")["spec"]
    assert (
        policy["podSelector"]["matchLabels"].items()
        <= one(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"].items()
    )
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & set(policy)


@pytest.fixture
def node(tmp_path):
    """The two directories of a node, and what puts the provider there, as the pod runs it."""
    for name in ("bin", "config"):
        (tmp_path / name).mkdir()
    configuration = tmp_path / "provider.yaml"
    configuration.write_text(one(made(), "ConfigMap")["data"]["provider.yaml"])
    arguments = [str(tmp_path / "bin"), str(tmp_path / "config"), str(configuration), "0.1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(["/bin/sh", str(INSTALL), *arguments], env={"PATH": path})
    yield tmp_path, process
    process.kill()
    process.wait()


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_installs_what_a_kubelet_runs_and_keeps_it_there(node):
    root, process = node
    program = root / "bin" / "moorage-credential-provider"
    config = root / "config" / "moorage.yaml"
    source = Path(credential_provider.__file__).read_bytes()
    until(config.exists)
    assert program.read_bytes() == source
    assert program.stat().st_mode & 0o777 == 0o755
    (provider,) = yaml.safe_load(config.read_text())["providers"]
    assert program.name == provider["name"]
    answered = subprocess.run(
        [sys.executable, "-IS", str(program), *provider["args"]],
        input='{"apiVersion":"credentialprovider.kubelet.k8s.io/v1",'
        '"kind":"CredentialProviderRequest","image":"elsewhere.example/a"}',
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(answered.stdout)["auth"] == {}
    program.unlink()
    config.write_text("something else")
    until(lambda: program.exists() and program.read_bytes() == source)
    until(lambda: config.read_text() != "something else")
    process.terminate()
    assert process.wait(60) == 0
    names = {path.name for path in root.rglob("*") if path.is_file()}
    assert names == {"moorage-credential-provider", "moorage.yaml", "provider.yaml"}
