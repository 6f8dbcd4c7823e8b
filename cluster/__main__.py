"""Runs the cluster in the foreground until it is interrupted."""

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from cluster.cluster import Cluster, ProgramMissingError
from cluster.process import ProcessFailedError

_HELLO = """
registry    http://{address}   (round robin over {replicas})
replicas    {addresses}
logs, data  {home}

Push a first image:
    docker pull busybox
    docker tag busybox {address}/demo/busybox:1
    docker push {address}/demo/busybox:1
or, without docker:
    crane copy --insecure docker.io/library/busybox {address}/demo/busybox:1
or, without a network:
    curl -i 'http://{address}/v2/demo/hello/blobs/uploads/?digest={digest}' --data-binary hello

Disturb it: the process ids are below; a process that you kill stays dead until the next start.
{processes}

Ctrl-C stops it and removes its data.
"""

_HELLO_DIGEST = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def main() -> int:
    """Start it, say where it is, wait for Ctrl-C, stop it; 2 when it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        description="Three replicas of the registry behind HAProxy, over four MinIO nodes and"
        " Redis with Sentinel, on loopback. Ctrl-C stops all of it.",
    )
    parser.add_argument("--replicas", type=int, default=3, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of each replica")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep data and logs there")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="cluster-") as directory:
        home = options.keep or Path(directory)
        home.mkdir(parents=True, exist_ok=True)
        try:
            with Cluster(home, replicas=options.replicas, workers=options.workers) as cluster:
                _say(cluster)
                stop.wait()
                print("stopping …", flush=True)
        except (ProgramMissingError, ProcessFailedError) as error:
            print(error, file=sys.stderr)
            return 2
    return 0


def _say(cluster: Cluster) -> None:
    processes = [f"    {process.pid:>8}  {process.name}" for process in cluster.processes]
    print(
        _HELLO.format(
            address=cluster.address,
            replicas=len(cluster.replicas),
            addresses=", ".join(cluster.addresses),
            home=cluster.home,
            digest=_HELLO_DIGEST,
            processes="\n".join(processes),
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
