"""What Kubernetes keeps for the kubelet to log in with."""

import json
from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st

from registry.spec.pull_secret import PullSecret

_projects = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_]{0,22}[A-Za-z0-9])?", fullmatch=True)


@given(st.from_regex(r"[a-z0-9.-]+(:[0-9]{1,5})?", fullmatch=True), _projects, st.text(min_size=1))
def test_the_secret_holds_one_login_for_one_host(host, project, secret):
    made = PullSecret(host, f"{project}+pull", secret, "demo", "moorage-pull")
    manifest = json.loads(json.dumps(made.manifest()))
    assert manifest["type"] == "kubernetes.io/dockerconfigjson"
    assert (manifest["metadata"]["namespace"], manifest["metadata"]["name"]) == (
        "demo",
        "moorage-pull",
    )
    ((key, encoded),) = manifest["data"].items()
    assert key == ".dockerconfigjson"
    ((only, entry),) = json.loads(b64decode(encoded, validate=True))["auths"].items()
    assert only == host
    assert (entry["username"], entry["password"]) == (f"{project}+pull", secret)
    assert b64decode(entry["auth"]).decode() == f"{project}+pull:{secret}"


def test_it_does_not_show_itself():
    assert "geheim" not in repr(PullSecret("host", "demo+pull", "geheim", "demo", "moorage-pull"))
