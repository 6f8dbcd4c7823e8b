"""Fixtures for every test. The modules named here are in tests/fixtures."""

import gc

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = [
    "tests.fixtures.shares",
    "tests.fixtures.secrecy",
    "tests.fixtures.servers",
    "tests.fixtures.programs",
    "tests.fixtures.daemons",
    "tests.fixtures.redis",
    "tests.fixtures.slapd",
    "tests.fixtures.clusters",
    "tests.fixtures.stores",
]


def pytest_collection_finish():
    """Keep what was collected out of the searches for garbage: it stays, and is much."""
    gc.collect()
    gc.freeze()
