#!/usr/bin/python3 -IS
"""``moorage-credential-provider``: lets kubelets pull with the service account of the pod.

The kubelet runs it before a pull, gives it a request on standard input, and takes a response from
standard output: the exec protocol ``credentialprovider.kubelet.k8s.io/v1`` (KEP-2133, with the
service account's token: KEP-4412, Kubernetes 1.33). The token becomes the password; the registry
verifies it by the cluster's keys. So nothing is stored, and nothing asked over the network.

This file imports nothing but the standard library: it is started for every pull, and a node needs
no more than this file and Python 3.11.
"""

# ruff: noqa: T201  its output is what it is for

import json
import re
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

API_VERSION: Final = "credentialprovider.kubelet.k8s.io/v1"

MAX_REQUEST: Final = 1024 * 1024
"""Longest request, in characters."""

MARGIN: Final = 60.0
"""Seconds before its end at which a token is no longer shown: a pull takes its time."""

LONGEST: Final = 3600.0
"""Longest time, in seconds, that a kubelet is told to keep a token."""

_USAGE: Final = """\
usage: moorage-credential-provider REGISTRY…

For the kubelet: reads a CredentialProviderRequest on standard input and writes the response. The
pod's service account token is given to these registries (host, or host:port) and to no others."""

_REGISTRY: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?::[0-9]{1,5})?", re.ASCII)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+", re.ASCII)
_SUBJECT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)", re.ASCII)


class Refused(Exception):
    """There is nothing to answer. The message says why, and never holds the token."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer one request of the kubelet; return the exit code: 1 where that can't be done."""
    registries = list(sys.argv[1:] if arguments is None else arguments)
    if registries in (["-h"], ["--help"]):
        print(_USAGE)
        return 0
    try:
        answer = respond(sys.stdin, registries, time.time())
    except Refused as error:
        print(f"moorage-credential-provider: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


def respond(stream: TextIO, registries: Sequence[str], now: float) -> Mapping[str, Any]:
    """Return the response to the request in ``stream``. ``now`` is in Unix seconds; ``Refused``.

    An image of another registry gets no login: whatever ``matchImages`` says, the token is shown to
    ``registries`` only.
    """
    for each in registries:
        if _REGISTRY.fullmatch(each) is None:
            raise Refused(f"{each!a} is no registry such as images.example.org:5000\n{_USAGE}")
    if not registries:
        raise Refused(f"name the registries that may see tokens\n{_USAGE}")
    request = _read(stream)
    # As the kubelet tells the registry of an image.
    host = _text(request, "image").partition("/")[0]
    if host not in registries:
        return _response(0.0, {})
    token = request.get("serviceAccountToken", "")
    if not token:
        raise Refused(
            "the request has no service account token: set tokenAttributes, with the audience that "
            "the registry expects, in the CredentialProviderConfig of this kubelet"
        )
    found = _TOKEN.fullmatch(_text(request, "serviceAccountToken"))
    if found is None:
        raise Refused("serviceAccountToken is no token")
    claims = _claims(found[1])
    return _response(_seconds(claims, now), {host: {"username": _name(claims), "password": token}})


def _response(seconds: float, auth: Mapping[str, Mapping[str, str]]) -> Mapping[str, Any]:
    return {
        "kind": "CredentialProviderResponse",
        "apiVersion": API_VERSION,
        # One login for all images of the registry; the kubelet keeps those of other tokens apart.
        "cacheKeyType": "Registry",
        "cacheDuration": f"{int(seconds)}s",
        "auth": auth,
    }


def _read(stream: TextIO) -> Mapping[str, Any]:
    """Read a request.

    Fields that are not known are left out: ``v1`` was given new ones before, and a kubelet that is
    upgraded must go on pulling. Those that are known must be what they have to be.
    """
    try:
        text = stream.read(MAX_REQUEST + 1)
        if len(text) > MAX_REQUEST:
            raise Refused(f"the request is longer than {MAX_REQUEST} characters")
        request = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Refused("the request is no JSON document") from None
    if not isinstance(request, dict):
        raise Refused("the request is no JSON object")
    version, kind = _text(request, "apiVersion"), _text(request, "kind")
    if (version, kind) != (API_VERSION, "CredentialProviderRequest"):
        raise Refused(
            f"expected a CredentialProviderRequest of {API_VERSION}, got {kind[:80]!a} of "
            f"{version[:80]!a}: set apiVersion of the provider in the CredentialProviderConfig"
        )
    annotations = request.get("serviceAccountAnnotations", {})
    if not isinstance(annotations, dict) or not all(
        isinstance(each, str) for each in annotations.values()
    ):
        raise Refused("serviceAccountAnnotations of the request are no texts")
    return request


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields, none of which may be given twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Refused("the request has a field twice")
    return made


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(f"{name} of the request is no text")
    return value


def _claims(payload: str) -> Mapping[str, Any]:
    """What the token says of itself. It is for the registry to verify."""
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        raise Refused("serviceAccountToken is no token") from None
    if not isinstance(claims, dict):
        raise Refused("serviceAccountToken is no token")
    return claims


def _seconds(claims: Mapping[str, Any], now: float) -> float:
    """How long the token may be kept: 0 where that can't be told."""
    end = claims.get("exp")
    if not isinstance(end, int | float):
        return 0.0
    return max(0.0, min(end - now - MARGIN, LONGEST))


def _name(claims: Mapping[str, Any]) -> str:
    """Return the user name.

    The registry goes by the token alone. But it tells failed logins apart by their names, so that
    a pod that may not log in makes no other one of its node wait.
    """
    subject = claims.get("sub")
    found = _SUBJECT.fullmatch(subject) if isinstance(subject, str) else None
    return f"{found[1]}/{found[2]}" if found else "token"


if __name__ == "__main__":
    sys.exit(main())
