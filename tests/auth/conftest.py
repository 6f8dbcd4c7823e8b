"""Fixtures of the matrices: one registry with callers of every sort, for all of them."""

import pytest

from tests.auth.everyone import furnished


@pytest.fixture(scope="session")
def everyone(tmp_path_factory):
    """A registry, and what each sort of caller shows. Nobody changes anything in it."""
    with furnished(tmp_path_factory.mktemp("matrix")) as everyone:
        yield everyone


@pytest.fixture(scope="module")
def registry(everyone):
    """The one that all of them are callers of."""
    return everyone[0]


@pytest.fixture(scope="module")
def callers(everyone):
    """What each sort of caller shows."""
    return everyone[1]
