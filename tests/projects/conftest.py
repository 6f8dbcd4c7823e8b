"""A registry with projects, in memory, and a few callers."""

from collections.abc import Iterator

import pytest

from auth.identity import Identity, Kind
from auth.passwords import Passwords
from registry.service.projects.events import Event
from registry.service.projects.tenancy import Tenancy, TenancyTerms
from registry.service.services import Services
from storage.inprocess import InProcessCoordinator
from storage.memory import MemoryStore
from tests.projects.world import World

ALICE = Identity("user:alice")
ADMIN = Identity("user:admin")
SECRET = "the-bootstrap-secret-of-tests"


@pytest.fixture(scope="session")
def passwords() -> Iterator[Passwords]:
    """Password checks whose threads the whole run shares."""
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture
def world(passwords) -> World:
    """Services over an empty store."""
    store, coordinator = MemoryStore(), InProcessCoordinator()
    services = Services.over(store, coordinator, files=None, memory=1024 * 1024)
    told: list[Event] = []

    async def events(event: Event) -> None:
        told.append(event)

    tenancy = Tenancy.over(
        store,
        coordinator,
        services,
        passwords,
        memory=1024 * 1024,
        terms=TenancyTerms(bootstrap=SECRET, settle=0, public_url="https://images.example.org"),
        events=events,
    )
    return World(store, coordinator, services, tenancy, told)


@pytest.fixture
def alice() -> Identity:
    return ALICE


@pytest.fixture
def robot() -> Identity:
    return Identity("robot:demo/ci", Kind.ROBOT)
