"""What whoever changes a tag has to heed: the rules of the registry and of the project."""

from auth.roles import Role
from registry.service.entries import value
from registry.service.records import Record
from registry.service.remembered import Remembered
from registry.spec.errors import Denied
from registry.spec.names import Place, Tag
from registry.spec.tagrules import NO_PROJECT_RULES, NOBODY, ProjectRules, TagRule, TagRules
from storage import keys
from storage.coordination import Coordinator
from storage.ports import ObjectStore

_RULE_BYTES = 20_000
_ABLE = {
    NOBODY: "",
    Role.MAINTAINER: ", or ask a maintainer to do it",
    Role.OWNER: ", or ask an owner to do it",
}


class TagRulesRecord(Record, frozen=True):
    """The tag rules of a project. ``project`` is its name, which it keeps."""

    project: str
    rules: tuple[TagRule, ...]
    by: str
    at: float


class Guard:
    """The rules as they are for one caller and one repository."""

    __slots__ = ("_floor", "_name", "_role", "_rules")

    def __init__(self, floor: TagRules, rules: ProjectRules, place: Place, role: str) -> None:
        self._floor = floor
        self._rules = rules
        self._name = rules.project + place[len(place.tenant) :]
        self._role = role

    def __bool__(self) -> bool:
        """Whether there is a tag that the caller may not change."""
        return bool(self._floor) or bool(self._rules)

    def covers(self, tag: Tag) -> bool:
        """Whether the caller may neither move nor delete a tag of this name that is there."""
        return bool(self.reason(tag))

    def reason(self, tag: Tag) -> str:
        """Why not, in a few words; ``""``: it may."""
        if self._floor.immutable(tag):
            return "immutable in the whole registry (tags.immutable)"
        rule = self._rules.covering(self._name, tag, self._role)
        return "" if rule is None else f"{_kept(rule)} by rule {rule.name}"

    def check(self, tag: Tag) -> None:
        """Raise ``Denied`` where it may not: it names the tag and the rule, and whom to ask."""
        if self._floor.immutable(tag):
            raise Denied(
                f"the tag {tag} is immutable: push under another tag, or ask whoever runs the "
                "registry to change tags.immutable"
            )
        rule = self._rules.covering(self._name, tag, self._role)
        if rule is not None:
            project = self._rules.project
            able = _ABLE[rule.changed_by]
            raise Denied(
                f"the tag {tag} of {self._name} is {_kept(rule)} by the rule {rule.name!r} of the "
                f"project {project}: push under another tag{able}, or ask an owner of {project} to "
                "change the rule"
            )


class Guards:
    """Finds the rules of a project, and remembers them while they are provably as they were.

    A change that begins after rules were set heeds them, on every replica. One that was under way
    by then may still be made.
    """

    def __init__(
        self,
        store: ObjectStore,
        coordinator: Coordinator,
        floor: TagRules,
        memory: int,
        *,
        projects: bool,
    ) -> None:
        """``floor`` is for every tag; ``projects``: there are some, and they may have rules."""
        self._store = store
        self._floor = floor
        self._projects = projects
        self.known: Remembered[ProjectRules] = Remembered(
            coordinator, memory, lambda rules: _RULE_BYTES if rules else 100
        )

    async def of(self, place: Place, role: Role | None) -> Guard:
        """Return what a caller with this role in the project, ``None`` for none, has to heed."""
        rules = NO_PROJECT_RULES
        if self._projects:
            tenant = place.tenant
            rules = await self.known.get(rules_stamp(tenant), lambda: self._read(tenant))
        return Guard(self._floor, rules, place, role or "")

    async def _read(self, tenant: str) -> ProjectRules:
        found = await value(self._store, keys.tag_rules(tenant))
        if found is None:
            return NO_PROJECT_RULES
        record = TagRulesRecord.decode(found.data)
        return ProjectRules(record.project, record.rules)


def rules_stamp(tenant: str) -> str:
    """The name that stands for the tag rules of the project with this id."""
    return f"tag-rules/{tenant}"


def _kept(rule: TagRule) -> str:
    return "immutable" if rule.changed_by == NOBODY else f"changed by {rule.changed_by}s only"
