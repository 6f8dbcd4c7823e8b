"""A registry with projects, and callers of its management API."""

from collections.abc import Iterator

import pytest

from tests.auth.tenants import TenantRegistry, basic, tenants
from tests.management.api import Api


@pytest.fixture(scope="module")
def registry() -> Iterator[TenantRegistry]:
    """A registry with an administrator, `adm`, and two users, `ann` and `bob`."""
    with tenants() as registry:
        registry.user("adm", administrator=True)
        registry.user("ann")
        registry.user("bob")
        yield registry


@pytest.fixture
def admin(registry: TenantRegistry) -> Api:
    return Api(registry, basic("adm"))


@pytest.fixture
def ann(registry: TenantRegistry) -> Api:
    return Api(registry, basic("ann"))


@pytest.fixture
def bob(registry: TenantRegistry) -> Api:
    return Api(registry, basic("bob"))


@pytest.fixture
def nobody(registry: TenantRegistry) -> Api:
    return Api(registry, None)


@pytest.fixture
def anyone(registry: TenantRegistry):
    """Make a caller that shows this."""
    return lambda authorization: Api(registry, authorization)
