"""The tag rules of projects: set and read. They are heeded where tags change (``service.tags``)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from auth.access import Tenant
from auth.identity import Identity
from registry.service.projects.events import EventKind, Events, event
from registry.service.projects.kept import Records, check_version
from registry.service.projects.projects import Projects
from registry.service.tag_rules import TagRulesRecord, rules_stamp
from registry.spec.problems import Invalid, TooMany
from registry.spec.tagrules import MAX_RULES, TagRule, faults
from storage import keys
from storage.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class RulesOfTags:
    """A project's rules: by whom and when (Unix seconds) they were set; ``version``: ``""``: never.

    A rule that comes first is told first; all of them count.
    """

    rules: Sequence[TagRule] = ()
    by: str = ""
    at: float | None = None
    version: str = ""


class ProjectTagRules:
    """Sets and reads the tag rules of projects."""

    def __init__(self, store: ObjectStore, projects: Projects, events: Events) -> None:
        """Keep them in ``store``, tell ``events`` of each change."""
        self._projects = projects
        self._events = events
        self._records = Records(store, TagRulesRecord)

    async def get(self, tenant: Tenant) -> RulesOfTags:
        """Return the rules of a project as they are now; none where it never had any."""
        found = await self._records.find(keys.tag_rules(tenant.id))
        if found is None:
            return RulesOfTags()
        record = found.record
        return RulesOfTags(record.rules, record.by, record.at, found.version)

    async def put(
        self, tenant: Tenant, rules: Sequence[TagRule], by: Identity, version: str | None = None
    ) -> RulesOfTags:
        """Set the rules of a project, all of them; repeating it changes nothing.

        A push or a deletion that begins when this has returned heeds them, on every replica.
        ``Invalid`` says what is wrong with a rule; ``TooMany``; ``ProjectUnknown``; ``Changed`` by
        ``version``.
        """
        if len(rules) > MAX_RULES:
            raise TooMany("tag rules of a project", MAX_RULES)
        wrong = faults(tenant.name, rules)
        if wrong:
            raise Invalid(wrong)
        async with self._projects.changing(tenant, names=(rules_stamp(tenant.id),)):
            standing = await self._records.find(keys.tag_rules(tenant.id))
            check_version(standing, version)
            if standing is not None and standing.record.rules == tuple(rules):
                record = standing.record
                return RulesOfTags(record.rules, record.by, record.at, standing.version)
            record = TagRulesRecord(tenant.name, tuple(rules), by.name, time.time())
            kept = await self._records.write(keys.tag_rules(tenant.id), record, standing)
        names = ", ".join(rule.name for rule in rules)
        await self._events(
            event(EventKind.TAG_RULES_PUT, by, tenant.name, tenant, count=len(rules), rules=names)
        )
        return RulesOfTags(record.rules, record.by, record.at, kept.version)
