"""Image pull secrets: what Kubernetes keeps for the kubelet to log in with.

A Secret of the type ``kubernetes.io/dockerconfigjson`` (Kubernetes' ``core/v1``), whose one value
is docker's configuration file (docker/cli, ``config/configfile``).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

TYPE: Final = "kubernetes.io/dockerconfigjson"
KEY: Final = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class PullSecret:
    """What a kubelet shows to the registry at ``host``, and where Kubernetes keeps it."""

    host: str
    login: str
    secret: str = field(repr=False)
    namespace: str
    name: str

    def docker_config(self) -> str:
        """Return docker's configuration, for this one host."""
        pair = b64encode(f"{self.login}:{self.secret}".encode()).decode()
        entry = {"username": self.login, "password": self.secret, "auth": pair}
        return json.dumps({"auths": {self.host: entry}})

    def manifest(self) -> Mapping[str, object]:
        """Return the Secret, as ``kubectl apply`` takes it."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/managed-by": "moorage"},
            },
            "type": TYPE,
            "data": {KEY: b64encode(self.docker_config().encode()).decode()},
        }
