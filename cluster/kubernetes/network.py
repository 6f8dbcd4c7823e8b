"""Networks and what answers in them."""

import http.client
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NETWORK = "10.99"


def answers(address: str, port: int, path: str, seconds: float, *, secure: bool = False) -> bool:
    """Whether a GET is answered with a status below 400; certificates are not looked at."""
    connection: http.client.HTTPConnection
    if secure:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def port_of(container: Mapping[str, Any], port: int | str) -> int:
    """The number of a port, which may be given by its name."""
    if isinstance(port, int):
        return port
    return next(int(each["containerPort"]) for each in container["ports"] if each["name"] == port)


def ip(*commands: str) -> None:
    """Run `ip` with each of these."""
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def wait_for_namespace(pid: int) -> None:
    """Wait until a process has left this one's network."""
    own = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        time.sleep(0.01)
