"""HAProxy before the replicas, and before the MinIO nodes; its S3 side can be told to fail."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import final

from cluster.ports import LOOPBACK, take_port
from cluster.process import Process
from conformance.server import answers

# An operator would write the frontend and backend of the registry in just this way; the whys:
# - Bodies are passed on as they come (the default: no `option http-buffer-request`).
# - A connection that can't be made is tried on another replica, whatever the request: nothing of it
#   was sent. A request that was sent is repeated only where twice is the same as once for
#   everybody who looks: reads, the end of an upload, and content by digest. Never a tag: another
#   client's change between the two would be undone.
# - `timeout server` is above the longest silence of the registry (a large layer's last step).
_CONFIG = """
global
    log stdout format raw daemon
    stats socket {home}/haproxy.sock mode 600 level admin
    maxconn 8000

defaults
    mode http
    log global
    option httplog
    option http-no-delay
    timeout connect 1s
    timeout check 1s
    timeout client 75s
    timeout http-request 15s
    timeout http-keep-alive 60s
    timeout queue 10s
    timeout server 120s
    option redispatch 1
    retries 4

frontend registry
    bind {registry}{tls}
    default_backend replicas

backend replicas
    # Strictly in turn, from the first request after a change on: tests count on it.
    balance static-rr
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 500ms fastinter 250ms downinter 500ms fall 2 rise 1
{repeats}
    http-error status 503 content-type application/json string '{unavailable}' hdr Retry-After 1
{replicas}

frontend health
    bind {health}
    monitor-uri /

frontend s3
    bind {s3}
    # The share of requests, in percent, that are refused as an overloaded store refuses them.
    http-request set-var(txn.share) str(refused),map_str_int({home}/s3-faults,0)
    acl refused rand(100),sub(txn.share) -m int lt 0
    http-request return status 503 content-type application/xml string '{slow_down}' if refused
    default_backend minio

backend minio
    balance leastconn
    option httpchk GET /minio/health/live
    http-check expect status 200
    default-server check inter 500ms fastinter 250ms downinter 500ms fall 2 rise 2
    retry-on conn-failure
{minio}
"""

REPEATS = """\
    retry-on conn-failure empty-response 502 503 504
    acl reads method GET HEAD
    acl puts method PUT
    acl by-digest path_reg /manifests/[a-z0-9]+:[0-9a-f]+$
    acl uploads path_sub /blobs/uploads/
    acl moves-tags url_param(tag) -m found
    acl conditional req.hdr(if-match) -m found
    acl conditional req.hdr(if-none-match) -m found
    http-request set-var(txn.again) bool(true) if reads
    http-request set-var(txn.again) bool(true) if puts uploads
    http-request set-var(txn.again) bool(true) if puts by-digest !moves-tags !conditional
    http-request disable-l7-retry unless { var(txn.again) -m bool }"""
"""What a backend of registries repeats on another one."""

_UNAVAILABLE = (
    '{"errors":[{"code":"UNAVAILABLE","message":"no replica of the registry can serve now; '
    'try again"}]}'
)
_SLOW_DOWN = (
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@final
class Balancer:
    """One HAProxy: `registry` is the address that clients use, `s3` the one of the store.

    With a `certificate` (a file with its chain and its key) clients speak TLS.
    """

    def __init__(
        self,
        program: str,
        home: Path,
        replicas: Sequence[str],
        minio: Sequence[str],
        *,
        certificate: Path | None = None,
    ) -> None:
        self.registry = f"{LOOPBACK}:{take_port()}"
        self.s3_port = take_port()
        self.s3 = f"{LOOPBACK}:{self.s3_port}"
        health = f"{LOOPBACK}:{take_port()}"
        self._control = home / "haproxy.sock"
        (home / "s3-faults").write_text("refused 0\n")
        config = home / "haproxy.cfg"
        config.write_text(
            _CONFIG.format(
                home=home,
                registry=self.registry,
                tls=f" ssl crt {certificate}" if certificate else "",
                health=health,
                s3=self.s3,
                repeats=REPEATS,
                unavailable=_UNAVAILABLE,
                slow_down=_SLOW_DOWN,
                replicas=_servers("replica", replicas),
                minio=_servers("minio", minio),
            ).lstrip()
        )
        self.process = Process(
            "haproxy",
            [program, "-db", "-f", str(config)],
            log=home / "haproxy.log",
            ready=lambda: answers(health, "/"),
        )

    def refuse_s3(self, percent: int) -> None:
        """Answer so many of all S3 requests 503 SlowDown; 0: none."""
        self.tell(f"set map {self._control.parent}/s3-faults refused {percent}")

    def up(self, backend: str = "replicas") -> int:
        """Count the servers that are given requests."""
        lines = self.tell(f"show stat {backend} 4 -1").splitlines()
        names = lines[0].removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        return sum(row["status"].startswith("UP") for row in rows)

    def tell(self, command: str) -> str:
        """Send a command to HAProxy's control socket and return the answer."""
        return tell(self._control, command)


def tell(place: Path, command: str) -> str:
    """Send a command to the control socket at `place` and return the answer."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(5)
        control.connect(str(place))
        control.sendall(f"{command}\n".encode())
        answer = b""
        while piece := control.recv(65536):
            answer += piece
    return answer.decode().strip()


def _servers(name: str, addresses: Sequence[str]) -> str:
    return "\n".join(
        f"    server {name}-{number} {address}" for number, address in enumerate(addresses, 1)
    )
