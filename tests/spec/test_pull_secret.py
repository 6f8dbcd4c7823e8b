"""What Kubernetes keeps for the kubelet to log in with."""

import json
import re
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.pull_secret import PullSecret, namespace_of

_projects = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9_]{0,22}[A-Za-z0-9])?", fullmatch=True)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@given(_projects)
def test_every_name_of_the_platform_makes_a_namespace(project):
    """`FolderNameValidator` allows these, and `getKubeProjectName` makes this of them."""
    namespace = namespace_of(project)
    assert _LABEL.fullmatch(namespace)
    assert namespace == re.sub("[^a-z0-9-]", "-", project.lower())


@given(st.sets(_projects, min_size=2, max_size=2))
def test_two_projects_of_the_platform_have_two_namespaces(two):
    one, other = two
    assert (namespace_of(one) == namespace_of(other)) == (one.lower() == other.lower())


@given(st.text(max_size=80))
def test_whatever_comes_out_is_a_namespace(text):
    try:
        namespace = namespace_of(text)
    except ValueError:
        return
    assert _LABEL.fullmatch(namespace)


@pytest.mark.parametrize("name", ["", "_", "a_", "-a", "é", "a" * 64])
def test_what_makes_no_namespace(name):
    with pytest.raises(ValueError, match="namespace"):
        namespace_of(name)


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
