"""What is raised where the configuration can't be used."""


class ConfigError(Exception):
    """The configuration can't be used. The message says where, what, and what to do."""


def error(place: str, message: str) -> ConfigError:
    """Make the error for a place in what the files, the environment and the flags add up to."""
    return ConfigError(f"configuration: $.{place}: {message}")
