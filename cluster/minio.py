"""MinIO as four nodes with erasure coding: any one may die, and reads and writes go on."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import final

from cluster.ports import LOOPBACK, take_port
from cluster.process import Process
from conformance.server import answers
from storage.ports import Unavailable
from storage.s3 import S3Settings, S3Store

NODES = 4


@final
class Minio:
    """Four MinIO processes with a directory each, and the credentials to use them."""

    def __init__(self, program: str, home: Path) -> None:
        self.access_key = "moorage"
        self.secret_key = secrets.token_hex(16)
        self.addresses = [f"{LOOPBACK}:{take_port()}" for _ in range(NODES)]
        drives = [home / f"minio-{number}" for number in range(1, NODES + 1)]
        urls = [
            f"http://{address}{drive}"
            for address, drive in zip(self.addresses, drives, strict=True)
        ]
        environment = {
            "HOME": str(home),
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            # Drives on the root file system are refused without it.
            "MINIO_CI_CD": "1",
        }
        self.nodes = [
            Process(
                drive.name,
                [program, "server", "--quiet", "--address", address, *urls],
                log=home / f"{drive.name}.log",
                ready=lambda address=address: answers(address, "/minio/health/cluster"),
                # In a container it would wait for its own name to stand for something but loopback.
                environment=environment | {"_MINIO_SERVER_LOCAL": address},
            )
            for drive, address in zip(drives, self.addresses, strict=True)
        ]

    def try_out(self, endpoint: str, bucket: str, timeout: float) -> None:
        """Make the bucket, and use it until all is answered twice; Unavailable after `timeout`.

        Nodes that say they are ready may leave the first requests unanswered for a minute.
        """
        settings = S3Settings(
            bucket=bucket,
            endpoint=endpoint,
            access_key=self.access_key,
            secret_key=self.secret_key,
            read_seconds=3,
            total_seconds=6,
        )

        async def once() -> None:
            store = await S3Store.opened(settings, create=True)
            await store.close()

        deadline, good = time.monotonic() + timeout, 0
        while good < 2:
            try:
                asyncio.run(once())
                good += 1
            except Unavailable:
                good = 0
                if time.monotonic() > deadline:
                    raise
