"""Fixtures of the tests over the wire.

`registry` is one in-process registry for each kind of store, shared by the whole run: tests keep
apart by the name of their repository, `repo`.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fixtures.stores import settings_of
from tests.oracle.local import LocalRegistry, serving
from tests.oracle.wire import Client

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["memory", "filesystem", "s3"])
def registry(request, tmp_path_factory) -> Iterator[LocalRegistry]:
    """A registry over each kind of store."""
    options = {}
    if request.param == "s3":
        options["s3"] = settings_of(request.getfixturevalue("minio"))
    with serving(request.param, tmp_path_factory.mktemp("registry"), **options) as local:
        yield local


@pytest.fixture
def client(registry: LocalRegistry) -> Iterator[Client]:
    """A client of the shared registry, with a connection of its own."""
    with registry.client() as client:
        yield client


@pytest.fixture
def repo() -> str:
    """The name of a repository that nothing else uses."""
    return f"project/test-{next(_numbers)}"


@pytest.fixture
def another() -> str:
    """The name of another such repository."""
    return f"project/test-{next(_numbers)}"


@pytest.fixture
def serve(tmp_path) -> Iterator:
    """Start registries with limits or faults of their own, that end with the test."""
    with ExitStack() as stack:

        def start(kind="memory", **options) -> LocalRegistry:
            directory = tmp_path / f"registry-{next(_numbers)}"
            directory.mkdir()
            return stack.enter_context(serving(kind, directory, **options))

        yield start
