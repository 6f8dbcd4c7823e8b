"""The composition root's part for commands that bring content into a registry's store."""

from registry.backend import Backend
from registry.collecting import history_of, marker, terms_of
from registry.config import Config
from registry.service.collection.findings import nobody
from registry.service.services import Services


async def pushing(config: Config, backend: Backend, *, allow_sparse: bool) -> Services:
    """Return services that take content beside a registry that serves; no quota stops them.

    Replicas of the release before are kept from collecting first (decision 44): they would not know
    what is pushed.
    """
    services = Services.over(
        backend.store,
        backend.coordinator,
        files=backend.files,
        memory=0,
        allow_sparse=allow_sparse,
        exact=backend.exact,
        terms=terms_of(config),
        history=history_of(config),
    )
    await marker(backend, services, nobody).take_over()
    return services
