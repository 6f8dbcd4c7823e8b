"""What a person is told when the registry starts, and how a first image gets into it."""

from pathlib import Path

from registry.config import Address, Config
from registry.config.check_redis import coordinated
from registry.version import __version__


def coordination(config: Config) -> str:
    """Say how the processes that serve the store hear of each other's changes."""
    redis = config.coordination.redis
    if coordinated(config):
        return f"through Redis, {redis.url}: replicas on any machine"
    if config.storage.driver == "s3":
        return "none: this must be the only process that serves the bucket"
    return "on this machine"


def summary(config: Config, address: Address) -> str:
    """Describe in a few lines what is served at ``address``; the first line stands for itself."""
    server = config.server
    scheme = "https" if config.tls.certificate else "http"
    host = address.client_host()
    reach = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    if config.storage.driver == "memory":
        store = "memory: everything is gone when this ends"
    elif config.storage.driver == "s3":
        store = f"S3, bucket {config.storage.s3.bucket} at {config.storage.s3.endpoint or 'Amazon'}"
    else:
        store = f"file system, {Path(config.storage.path).absolute()}"
    metrics = (
        f"http://{config.metrics.addr}/metrics"
        if config.metrics.addr
        else "off; --metrics-addr 127.0.0.1:5001 turns them on"
    )
    if config.auth.mode == "open":
        who = "that reaches this address" if server.open_to_network else "on this machine"
        access = f"open, no login: anyone {who} may push, pull and delete"
        repository = "first"
        login = []
    else:
        access = "logins, projects and roles"
        repository = "PROJECT/first"
        login = [f"  docker login {reach}"]
    workers = "1 process" if server.workers == 1 else f"{server.workers} processes"
    return "\n".join(
        [
            f"Moorage {__version__} serves {scheme}://{address}",
            f"  store    {store}",
            f"  workers  {workers}, {server.loop}",
            f"  sharing  {coordination(config)}",
            f"  metrics  {metrics}",
            f"  access   {access}",
            "Push a first image (or use podman in place of docker):",
            *login,
            f"  docker tag IMAGE {reach}/{repository}:v1",
            f"  docker push {reach}/{repository}:v1",
            "",
        ]
    )


def token_summary(config: Config, address: Address) -> str:
    """Describe the token service that is served alone at ``address``."""
    scheme = "https" if config.tls.certificate else "http"
    return "\n".join(
        [
            f"Moorage {__version__} serves tokens at {scheme}://{address}/token",
            f"  service  {config.auth.token.service}",
            "Tell the registry where it is, under the name that clients reach it by:",
            f'  [auth.token] realm = "{scheme}://{address}/token"',
            "",
        ]
    )
