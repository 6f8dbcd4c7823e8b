"""Fixtures for every test. The modules named here are in tests/fixtures."""

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = [
    "tests.fixtures.secrecy",
    "tests.fixtures.servers",
    "tests.fixtures.programs",
    "tests.fixtures.daemons",
    "tests.fixtures.redis",
    "tests.fixtures.slapd",
    "tests.fixtures.clusters",
    "tests.fixtures.stores",
]
