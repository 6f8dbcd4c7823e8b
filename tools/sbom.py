"""Print the bill of materials of this Python environment and its Debian system, as CycloneDX 1.6.

    python tools/sbom.py requirements/runtime.lock

Python packages are those that the environment has; each must be in the lock with this version, and
brings the hashes that it was installed by. Debian packages are what dpkg has installed. The same
environment gives the same bytes: SOURCE_DATE_EPOCH is the only time in it.
"""

import datetime as dt
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")
_DPKG = [
    "dpkg-query",
    "--show",
    "--showformat=${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n",
]
_OWN = "moorage"


def locked(text: str) -> dict[str, tuple[str, list[str]]]:
    """Return each pinned package's version and SHA-256 digests, by its normalized name."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in text.splitlines():
        if pin := _PIN.match(line):
            name = normalized(pin["name"])
            found[name] = (pin["version"], [])
        for digest in _HASH.finditer(line):
            found[name][1].append(digest["digest"])
    return found


def normalized(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def python_components(lock: dict[str, tuple[str, list[str]]]) -> list[dict[str, Any]]:
    """Describe the installed packages; ``SystemExit`` where one is not what the lock says."""
    components = []
    for package in importlib.metadata.distributions():
        name, version = normalized(package.metadata["Name"]), package.version
        if name == _OWN:
            continue
        pinned, digests = lock.get(name, ("", []))
        if pinned != version:
            sys.exit(f"{name} {version} is installed, but the lock has {pinned or 'none'}")
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "properties": [
                {"name": "moorage:allowed-sha256", "value": digest} for digest in sorted(digests)
            ],
        }
        if licence := package.metadata.get("License-Expression"):
            component["licenses"] = [{"expression": licence}]
        components.append(component)
    return sorted(components, key=lambda component: str(component["name"]))


def debian_components(listing: str) -> list[dict[str, Any]]:
    """Describe the installed packages of a listing of dpkg-query."""
    components = []
    for line in sorted(listing.splitlines()):
        name, version, architecture, status = line.split("\t")
        if status == "installed":
            purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}"
            components.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": name,
                    "version": version,
                    "purl": purl,
                }
            )
    return components


def bill(components: list[dict[str, Any]], version: str, seconds: int) -> dict[str, Any]:
    """Return the document; its serial number is made from what it says."""
    own = {"type": "application", "bom-ref": _OWN, "name": _OWN, "version": version}
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": moment.replace("+00:00", "Z"), "component": own},
        "components": components,
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
    return {**document, "serialNumber": f"urn:uuid:{serial}"}


def main() -> None:
    """Print the bill of the environment that this runs in."""
    lock = locked(Path(sys.argv[1]).read_text())
    listing = subprocess.run(_DPKG, check=True, capture_output=True, text=True).stdout
    components = python_components(lock) + debian_components(listing)
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    print(json.dumps(bill(components, importlib.metadata.version(_OWN), seconds), indent=1))


if __name__ == "__main__":
    main()
