"""Fixtures for every test. The modules named here are in tests/fixtures."""

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
