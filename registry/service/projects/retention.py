"""The retention of projects: set and read. It is carried out by ``service.retention``."""

import time
from dataclasses import dataclass

from auth.access import Tenant
from auth.identity import Identity
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Records, check_version
from registry.service.projects.projects import Projects
from registry.service.records import Record
from registry.spec.problems import Invalid
from registry.spec.retention import NO_RETENTION, Retention, faults
from storage import keys
from storage.ports import ObjectStore


class RetentionRecord(Record, frozen=True):
    """The retention of a project. ``project`` is its name, which it keeps."""

    project: str
    retention: Retention
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class RetentionOfProject:
    """A project's retention: by whom and when it was set; ``version``: ``""``: never."""

    retention: Retention = NO_RETENTION
    by: str = ""
    at: float | None = None
    version: str = ""


class ProjectRetention:
    """Sets and reads the retention of projects."""

    def __init__(self, store: ObjectStore, projects: Projects, events: Events) -> None:
        """Keep it in ``store``, tell ``events`` of each change."""
        self._store = store
        self._projects = projects
        self._events = events
        self._records = Records(store, RetentionRecord)

    async def get(self, tenant: Tenant) -> RetentionOfProject:
        """Return the retention of a project as it is now; an empty one where none was set."""
        found = await self._records.find(keys.retention(tenant.id))
        if found is None:
            return RetentionOfProject()
        record = found.record
        return RetentionOfProject(record.retention, record.by, record.at, found.version)

    async def put(
        self,
        tenant: Tenant,
        retention: Retention,
        by: Identity,
        version: str | None = None,
        *,
        pulls: bool = False,
    ) -> RetentionOfProject:
        """Set the retention of a project; repeating it changes nothing.

        ``pulls``: they are counted, so that rules may go by them. ``Invalid`` says what is wrong;
        ``ProjectUnknown``; ``Changed`` by ``version``.
        """
        check(tenant, retention, pulls=pulls)
        async with self._projects.changing(tenant):
            standing = await self._records.find(keys.retention(tenant.id))
            check_version(standing, version)
            if standing is not None and standing.record.retention == retention:
                record = standing.record
                return RetentionOfProject(retention, record.by, record.at, standing.version)
            await self._store.put(keys.retained(tenant.id), b"")
            record = RetentionRecord(tenant.name, retention, by.name, time.time())
            kept = await self._records.write(keys.retention(tenant.id), record, standing)
        await self._events(
            event(
                EventKind.RETENTION_PUT,
                by,
                tenant.name,
                tenant,
                rules=", ".join(rule.name for rule in retention.rules),
                untagged_days=retention.untagged_days,
            )
        )
        return RetentionOfProject(retention, record.by, record.at, kept.version)


def check(tenant: Tenant, retention: Retention, *, pulls: bool) -> None:
    """Raise ``Invalid`` if something is wrong with a retention for this project."""
    wrong = faults(tenant.name, retention, pulls=pulls)
    if wrong:
        raise Invalid(wrong)
