"""The kubelet's credential provider, spoken to by Kubernetes' own types, and on purpose wrongly."""

import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import credential_provider
from registry.credential_provider import API_VERSION, LONGEST, MARGIN, Refused, respond
from tests.fixtures.programs import require_program

HOST = "images.example.org:5000"
NOW = 1_800_000_000.0


def token(**claims):
    """What has the form of a token; the provider can't verify it."""
    body = {"sub": "system:serviceaccount:demo:default", "exp": NOW + 600} | claims
    part = urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


def request(**fields):
    good = {
        "kind": "CredentialProviderRequest",
        "apiVersion": API_VERSION,
        "image": f"{HOST}/demo/app:v1",
        "serviceAccountToken": token(),
    } | fields
    return json.dumps({name: value for name, value in good.items() if value is not None})


def answer(text, *registries):
    return respond(StringIO(text), registries or (HOST,), NOW)


def test_the_token_is_the_password_for_as_long_as_it_lives():
    said = answer(request())
    assert said == {
        "kind": "CredentialProviderResponse",
        "apiVersion": API_VERSION,
        "cacheKeyType": "Registry",
        "cacheDuration": f"{600 - int(MARGIN)}s",
        "auth": {HOST: {"username": "demo/default", "password": token()}},
    }


@pytest.mark.parametrize(
    ("claims", "seconds"),
    [
        ({"exp": NOW + 10}, 0),
        ({"exp": NOW - 10}, 0),
        ({"exp": NOW + 10**9}, LONGEST),
        ({"exp": None}, 0),
        ({"exp": "soon"}, 0),
    ],
)
def test_it_is_not_kept_beyond_its_end(claims, seconds):
    assert answer(request(serviceAccountToken=token(**claims)))["cacheDuration"] == f"{seconds:g}s"


@pytest.mark.parametrize("subject", [None, 5, "alice", "system:serviceaccount:a:b:c", "x\n"])
def test_a_token_of_somebody_else_goes_by_no_name(subject):
    """The registry finds out whose it is."""
    said = answer(request(serviceAccountToken=token(sub=subject)))
    assert said["auth"][HOST]["username"] == "token"


@pytest.mark.parametrize(
    "image",
    ["evil.example/x", "images.example.org/x", f"{HOST}.evil/x", "demo/app", "app", f"x/{HOST}/y"],
)
def test_no_other_registry_sees_the_token(image):
    said = answer(request(image=image))
    assert said["auth"] == {}
    assert said["cacheDuration"] == "0s"


def test_each_registry_that_is_named_sees_it():
    assert set(answer(request(image="b/x"), "a", "b")["auth"]) == {"b"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "no JSON"),
        ("x" * (credential_provider.MAX_REQUEST + 1), "longer than"),
        (request(kind="CredentialProviderResponse"), "expected a CredentialProviderRequest"),
        (request(apiVersion="credentialprovider.kubelet.k8s.io/v1beta1"), "set apiVersion"),
        (request(apiVersion=None), "apiVersion"),
        (request(image=None), "image"),
        (request(image=""), "image"),
        (request(image=["x"]), "image"),
        (request(serviceAccountToken=None), "tokenAttributes"),
        (request(serviceAccountToken=""), "tokenAttributes"),
        (request(serviceAccountToken=5), "serviceAccountToken"),
        (request(serviceAccountToken="secret"), "no token"),
        (request(serviceAccountToken="a.b.c"), "no token"),
        (request(serviceAccountToken="e30.W10.e30"), "no token"),
        (request(serviceAccountAnnotations=["x"]), "Annotations"),
        (request(serviceAccountAnnotations={"a": 1}), "Annotations"),
        ('{"image": "a", "image": "b"}', "twice"),
    ],
)
def test_what_is_refused(text, why):
    with pytest.raises(Refused, match=why) as caught:
        answer(text)
    assert token() not in str(caught.value)


@pytest.mark.parametrize("registries", [[], ["https://images.example.org"], ["a/b"], ["*"], ["a "]])
def test_registries_are_named_as_images_name_them(registries):
    with pytest.raises(Refused, match="usage"):
        respond(StringIO(request()), registries, NOW)


def test_a_field_that_a_newer_kubelet_sends_is_no_trouble():
    assert answer(request(podName="x", serviceAccountAnnotations={"a": "b"}))["auth"]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(["kind", "apiVersion", "image", "serviceAccountToken", "exp", "sub"]), _json)
def test_nothing_that_comes_makes_it_fail_otherwise(name, value):
    if name in ("exp", "sub"):
        name, value = "serviceAccountToken", token(**{name: value})
    try:
        said = answer(request(**{name: value}))
    except Refused:
        return
    json.dumps(said)


def run(stdin, *registries):
    """The file by itself, as on a node: without this environment's packages."""
    program = str(Path(credential_provider.__file__))
    return subprocess.run(
        [sys.executable, "-I", "-S", program, *registries],
        input=stdin, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_the_file_needs_nothing_but_python():
    done = run(request(), HOST)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["auth"][HOST]["password"] == token()
    done = run("{", HOST)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "moorage-credential-provider: the request is no JSON document\n"
    assert "usage" in run("", "--help").stdout


def test_it_is_started_for_every_pull_so_it_imports_little():
    """Nothing of the registry, and none of what is slow to load."""
    code = "import sys, registry.credential_provider; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("registry")} == {
        "registry",
        "registry.credential_provider",
    }
    assert not loaded & {"asyncio", "ssl", "argparse", "typing_extensions", "aiohttp", "msgspec"}


def kubelet(image, shown, *provider):
    """What a kubelet makes of the provider's answer."""
    program = require_program("kubelet-exec")
    return subprocess.run(
        [program, "provider", image, *provider],
        input=shown, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_kubernetes_own_types_take_what_it_says():
    """Encoded and decoded by `k8s.io/kubelet`, strictly: no field that it does not know."""
    provider = (sys.executable, "-m", "registry.credential_provider", HOST)
    shown = token(exp=int(time.time()) + 600)
    done = kubelet(f"{HOST}/demo/app:v1", shown, *provider)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["cacheKeyType"] == "Registry"
    assert 500 < said["seconds"] <= 600 - MARGIN
    assert said["auth"] == {HOST: {"Username": "demo/default", "Password": shown}}
    other = json.loads(kubelet("elsewhere/x", shown, *provider).stdout)
    assert not other["auth"]
    assert other["seconds"] == 0
    refused = kubelet(f"{HOST}/demo/app:v1", "", *provider)
    assert refused.returncode == 1
    assert "tokenAttributes" in refused.stderr


def test_the_strict_types_would_notice(tmp_path):
    """A field too many, and a kind that is none."""
    good = answer(request())
    for wrong in (good | {"extra": 1}, good | {"kind": "x"}, good | {"cacheDuration": "long"}):
        program = tmp_path / "provider"
        program.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{json.dumps(wrong)}'\n")
        program.chmod(0o755)
        assert kubelet(f"{HOST}/x", token(), str(program)).returncode == 1
