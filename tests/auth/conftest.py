"""Fixtures of the matrices: one registry with callers of every sort, for all of them."""

import pytest

from tests.auth.everyone import furnished


@pytest.fixture(scope="session")
def everyone(tmp_path_factory):
    """A registry, and what each sort of caller shows. Nobody changes anything in it."""
    with furnished(tmp_path_factory.mktemp("matrix")) as everyone:
        yield everyone
