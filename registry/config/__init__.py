"""Configuration: typed sections, and one loader that merges files, environment and flags."""

from registry.config.audit import AuditConfig
from registry.config.auth import AuthConfig, TokenConfig
from registry.config.checks import ConfigError
from registry.config.load import Setting, load, schema, settings, show
from registry.config.sections import (
    CacheConfig,
    Config,
    CoordinationConfig,
    LimitsConfig,
    LogConfig,
    MetricsConfig,
    RatesConfig,
    RedisConfig,
    S3Config,
    ServerConfig,
    StorageConfig,
    TLSConfig,
)
from registry.config.values import Address, Secret

__all__ = [
    "Address",
    "AuditConfig",
    "AuthConfig",
    "CacheConfig",
    "Config",
    "ConfigError",
    "CoordinationConfig",
    "LimitsConfig",
    "LogConfig",
    "MetricsConfig",
    "RatesConfig",
    "RedisConfig",
    "S3Config",
    "Secret",
    "ServerConfig",
    "Setting",
    "StorageConfig",
    "TLSConfig",
    "TokenConfig",
    "load",
    "schema",
    "settings",
    "show",
]
