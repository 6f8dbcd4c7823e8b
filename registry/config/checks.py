"""What must hold between settings, once all of them are known."""

from importlib.util import find_spec
from ipaddress import ip_network
from urllib.parse import urlsplit

from auth.urls import is_protected
from registry.config.check_auth import check_auth
from registry.config.check_redis import check_redis, coordinated
from registry.config.errors import ConfigError, error
from registry.config.sections import Config
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName

__all__ = ["ConfigError", "check"]


def check(config: Config) -> None:
    """Raise ``ConfigError`` on the first thing that does not fit together."""
    if bool(config.tls.certificate) != bool(config.tls.key):
        raise error("tls", "certificate and key must be given together")
    if config.tls.client_ca and not config.tls.certificate:
        raise error("tls.client_ca", "client certificates need a certificate of the server's own")
    if config.storage.driver == "s3":
        _check_s3(config)
    try:
        for network in config.server.trusted_proxies:
            ip_network(network)
    except ValueError as problem:
        raise error("server.trusted_proxies", str(problem)) from None
    try:
        for network in config.webhooks.allow_networks:
            ip_network(network)
    except ValueError as problem:
        raise error("webhooks.allow_networks", str(problem)) from None
    try:
        for name in config.environments.bases:
            RepositoryName.parse(name)
    except NameInvalid as problem:
        raise error("environments.bases", problem.message) from None
    _check_tracing(config)
    check_redis(config)
    check_auth(config)


def _check_s3(config: Config) -> None:
    s3 = config.storage.s3
    if not s3.bucket:
        raise error("storage.s3.bucket", 'storage.driver = "s3" needs the name of a bucket')
    if bool(s3.access_key) != bool(s3.secret_key):
        raise error("storage.s3", "access_key and secret_key must be given together")
    if s3.session_token and not s3.access_key:
        raise error("storage.s3.session_token", "it belongs to an access_key, and none is given")
    if s3.redirect:
        _check_redirect(config)
    if config.server.workers > 1 and not coordinated(config):
        raise error(
            "server.workers",
            f"{config.server.workers} processes on S3 would not know of each other's writes; "
            "set it to 1, or give them a Redis (coordination.redis.url)",
        )


def _check_tracing(config: Config) -> None:
    tracing = config.tracing
    if not tracing.endpoint:
        return
    if tracing.authorization and not is_protected(tracing.endpoint):
        raise error(
            "tracing.authorization",
            "it would be sent over the network unprotected; give an https:// endpoint",
        )
    if find_spec("opentelemetry") is None:
        raise error(
            "tracing.endpoint", "OpenTelemetry is not installed here: install moorage[tracing]"
        )


def _check_redirect(config: Config) -> None:
    """Refuse to send clients where they would take their credentials along.

    Go's HTTP client, and so docker, containerd and most others, forwards ``Authorization`` on a
    redirect to the same host or to one below it (moby/moby#50065). The store would learn the
    token, and S3 refuses a request that has both a presigned URL and a token.
    """
    s3, registry = config.storage.s3, urlsplit(config.server.public_url).hostname
    host = urlsplit(s3.public_endpoint or s3.endpoint).hostname or "amazonaws.com"
    if s3.addressing == "virtual":
        host = f"{s3.bucket}.{host}"
    if registry and (host == registry or host.endswith(f".{registry}")):
        raise error(
            "storage.s3.redirect",
            f"clients would send their credentials along to {host}, because it is, or is below, "
            f"the registry's own host name {registry} (server.public_url); give the store "
            "another name in storage.s3.public_endpoint, or turn redirects off",
        )
