"""What must hold between settings, once all of them are known."""

from registry.config.sections import Config


class ConfigError(Exception):
    """The configuration can't be used. The message says where, what, and what to do."""


def check(config: Config) -> None:
    """Raise ``ConfigError`` on the first thing that does not fit together."""
    if bool(config.tls.certificate) != bool(config.tls.key):
        raise _error("tls", "certificate and key must be given together")
    if config.storage.driver == "s3":
        _check_s3(config)


def _check_s3(config: Config) -> None:
    s3 = config.s3
    if not s3.bucket:
        raise _error("s3.bucket", 'storage.driver = "s3" needs the name of a bucket')
    if bool(s3.access_key) != bool(s3.secret_key):
        raise _error("s3", "access_key and secret_key must be given together")
    if s3.session_token and not s3.access_key:
        raise _error("s3.session_token", "it belongs to an access_key, and none is given")
    if config.server.workers > 1 and not coordinated(config):
        raise _error(
            "server.workers",
            f"{config.server.workers} processes on S3 would not know of each other's writes; "
            "set it to 1",
        )


def coordinated(config: Config) -> bool:  # noqa: ARG001
    """Whether processes on several machines hear of each other's changes."""
    return False


def _error(place: str, message: str) -> ConfigError:
    return ConfigError(f"configuration: $.{place}: {message}")
