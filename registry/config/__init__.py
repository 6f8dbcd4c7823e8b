"""Configuration: typed sections, and one loader that merges files, environment and flags."""

from registry.config.load import ConfigError, Setting, load, schema, settings, show
from registry.config.sections import (
    CacheConfig,
    Config,
    LimitsConfig,
    LogConfig,
    MetricsConfig,
    ServerConfig,
    StorageConfig,
    TLSConfig,
)
from registry.config.values import Address, Secret

__all__ = [
    "Address",
    "CacheConfig",
    "Config",
    "ConfigError",
    "LimitsConfig",
    "LogConfig",
    "MetricsConfig",
    "Secret",
    "ServerConfig",
    "Setting",
    "StorageConfig",
    "TLSConfig",
    "load",
    "schema",
    "settings",
    "show",
]
