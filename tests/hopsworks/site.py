"""Where a platform's registry runs: replicas behind HAProxy with TLS, over MinIO and Redis."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cluster.balancer import Balancer
from cluster.cluster import Cluster
from cluster.ports import take_port
from conformance.server import RegistryProcess
from conformance.stores import StoreProcess
from registry.service.records import Pointer
from registry.spec.digest import Digest
from storage import keys
from storage.s3 import S3Settings
from tests.clients.trust import Trust
from tests.fixtures.programs import require_program
from tests.fixtures.redis import RedisServer, eventually
from tests.fixtures.stores import s3_store, settings_of

_BUCKET = "images"


@dataclass
class Site:
    """A registry at `address`, which is also how images name it; `replicas` are without TLS."""

    address: str
    replicas: Sequence[str]
    trust: Trust
    store: S3Settings

    @property
    def certificates(self) -> Path:
        return self.trust.certificates

    @property
    def ca_file(self) -> Path:
        return self.trust.ca_file

    @functools.cached_property
    def hosts(self) -> Path:
        return self.trust.hosts(self.address)

    def stored(self) -> int:
        """Bytes of content in the bucket, as the store lists them."""
        return asyncio.run(_bytes_below(self.store, keys.DATA))

    def stored_of(self, digests: Iterable[Digest]) -> int:
        """How many of those bytes are of these blobs, each of which is there."""
        return asyncio.run(_bytes_of(self.store, digests))


async def _bytes_of(settings: S3Settings, digests: Iterable[Digest]) -> int:
    async with s3_store(settings) as store:
        total = 0
        for digest in digests:
            pointer, _ = Pointer.unpack((await store.get(keys.pointer(digest))).data)
            # A small one may be kept in the pointer itself.
            total += (await store.stat(pointer.data)).size if pointer.data else 0
        return total


async def _bytes_below(settings: S3Settings, prefix: str) -> int:
    async with s3_store(settings) as store:
        sizes, after = [], ""
        while keys := await store.list(prefix, after=after):
            sizes += [(await store.stat(key)).size for key in keys]
            after = keys[-1]
        return sum(sizes)


@contextlib.contextmanager
def whole(home: Path, settings: Mapping[str, str], arguments: Sequence[str]) -> Iterator[Site]:
    """Three replicas, four MinIO nodes, Redis with two replicas and three Sentinels."""
    trust = _trust(home)
    cluster = Cluster(home, settings=settings, arguments=arguments, certificate=trust.both)
    address = _name(cluster.balancer)
    cluster.settings["SERVER__PUBLIC_URL"] = f"https://{address}"
    with cluster:
        store = S3Settings(
            bucket=_BUCKET,
            endpoint=f"http://{cluster.balancer.s3}",
            access_key=cluster.minio.access_key,
            secret_key=cluster.minio.secret_key,
        )
        yield Site(address, cluster.addresses, trust, store)
        cluster.check_logs()


@contextlib.contextmanager
def small(
    home: Path,
    settings: Mapping[str, str],
    arguments: Sequence[str],
    minio: StoreProcess,
    redis: RedisServer,
) -> Iterator[Site]:
    """Two replicas, one MinIO, one Redis."""
    trust, bucket = _trust(home), f"images-{home.name}"
    ports = [take_port(), take_port()]
    replicas = [f"127.0.0.1:{port}" for port in ports]
    balancer = Balancer(require_program("haproxy"), home, replicas, (), certificate=trust.both)
    address = _name(balancer)
    told = {
        **settings,
        **minio.settings(bucket),
        "COORDINATION__REDIS__URL": redis.url,
        "SERVER__PUBLIC_URL": f"https://{address}",
    }
    servers = [
        RegistryProcess(
            store="s3", log=home / f"{port}.log", settings=told, arguments=arguments, port=port
        )
        for port in ports
    ]
    with contextlib.ExitStack() as stack:
        stack.callback(balancer.process.kill)
        balancer.process.launch()
        for server in servers:
            stack.callback(server.kill)
        with ThreadPoolExecutor(len(servers)) as threads:
            list(threads.map(RegistryProcess.start, servers))
        balancer.process.wait()
        eventually(lambda: balancer.up() == len(servers), 30)
        yield Site(address, replicas, trust, dataclasses.replace(settings_of(minio), bucket=bucket))
        for server in servers:
            server.check_log()


def _trust(home: Path) -> Trust:
    directory = home / "trust"
    directory.mkdir()
    return Trust(directory)


def _name(balancer: Balancer) -> str:
    """What the certificate is for; containerd would not ask `127.0.0.1` for TLS."""
    return balancer.registry.replace("127.0.0.1", "localhost")
