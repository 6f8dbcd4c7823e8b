"""Retention: which tags and manifests of a repository go, and why. Facts in, a plan out.

- A tag that no rule matches stays. One that rules match stays if any of them keeps it.
- A tag that has to stay by a tag rule stays. One that is named after a digest (``sha256-<hex>``,
  with or without a suffix: signatures and lists of referrers) belongs to that manifest: no rule is
  asked about it, it counts for none, and it goes when the manifest is gone.
- An untagged manifest goes if it has been so for long enough, nobody has pulled it by its digest
  for as long (what runs was pulled), and nothing needs it: no index that stays, and no manifest
  that stays and is its subject, or whose subject it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.spec.tagrules import Globs, Pattern, Patterns, pattern_fault

DAY: Final = 86_400.0
MAX_RULES: Final = 50

_NAMED_AFTER: Final = re.compile(
    r"(sha256)-([0-9a-f]{64})(?:\..*)?|(sha512)-([0-9a-f]{64,128})(?:\..*)?"
).fullmatch

Days = Annotated[float, Meta(gt=0, le=36_500)]


class RetentionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which of the tags that match are kept: of each repository, and by any of what it says.

    ``keep_last``: so many, those that were pushed last. ``younger_than_days``: those that were
    pushed within so many days. ``pulled_within_days``: those that were pulled within. A tag counts
    as pushed when it came to point at what it points at.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][\w .-]*\Z")]
    tags: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=50)]
    exceptions: Patterns = ()
    keep_last: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    younger_than_days: Days | None = None
    pulled_within_days: Days | None = None


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The retention of a project. Untagged manifests go after ``untagged_days``, if that is set."""

    rules: Annotated[tuple[RetentionRule, ...], Meta(max_length=MAX_RULES)] = ()
    untagged_days: Days | None = None


NO_RETENTION: Final = Retention()


@dataclass(frozen=True, slots=True)
class TagFacts:
    """A tag. ``pushed`` and ``pulled`` are in Unix seconds; ``kept``: why it has to stay."""

    name: str
    digest: str
    pushed: float
    pulled: float | None = None
    kept: str = ""


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """A manifest: since when no tag led to it at the earliest, as far as that is known.

    ``children`` are those that it lists as an index. ``pulled``: when it was pulled last by its
    digest (Unix seconds), 0 if that is not known.
    """

    digest: str
    since: float
    children: Sequence[str] = ()
    subject: str = ""
    pulled: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a tag or an untagged manifest goes, and why."""

    name: str
    digest: str
    goes: bool
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A verdict for each tag, in order, and for each manifest that no tag leads to."""

    tags: Sequence[Verdict]
    manifests: Sequence[Verdict] = ()


def plan_tags(
    repository: str, retention: Retention, tags: Sequence[TagFacts], now: float
) -> list[Verdict]:
    """Judge the tags of a repository. Those that belong to a manifest are not judged here."""
    facts = [tag for tag in tags if not named_after(tag.name)]
    keeps: dict[str, list[str]] = {tag.name: [] for tag in facts}
    drops: dict[str, list[str]] = {tag.name: [] for tag in facts}
    for rule in retention.rules:
        for tag, kept, why in _by_rule(repository, rule, facts, now):
            (keeps if kept else drops)[tag.name].append(why)
    verdicts = []
    for tag in facts:
        if tag.kept:
            verdict = Verdict(tag.name, tag.digest, goes=False, why=tag.kept)
        elif keeps[tag.name]:
            verdict = Verdict(tag.name, tag.digest, goes=False, why=keeps[tag.name][0])
        elif drops[tag.name]:
            verdict = Verdict(tag.name, tag.digest, goes=True, why="; ".join(drops[tag.name]))
        else:
            verdict = Verdict(tag.name, tag.digest, goes=False, why="no rule matches")
        verdicts.append(verdict)
    return verdicts


def _by_rule(
    repository: str, rule: RetentionRule, tags: Sequence[TagFacts], now: float
) -> Iterable[tuple[TagFacts, bool, str]]:
    """Yield each tag that the rule matches, whether it keeps it, and why."""
    globs, exceptions = Globs(rule.tags), Globs(rule.exceptions)
    matching = [
        tag
        for tag in tags
        if globs.match(repository, tag.name) and not exceptions.match(repository, tag.name)
    ]
    matching.sort(key=lambda tag: (-tag.pushed, tag.name))
    for place, tag in enumerate(matching):
        reasons = []
        for said, holds in _keeping(rule, tag, place, now):
            if holds:
                yield tag, True, f"rule {rule.name}: {said}"
                break
            reasons.append(f"not {said}")
        else:
            why = ", ".join(reasons) or "it keeps none"
            yield tag, False, f"rule {rule.name}: {why}"


def _keeping(
    rule: RetentionRule, tag: TagFacts, place: int, now: float
) -> Iterable[tuple[str, bool]]:
    """What the rule keeps, and whether that is so of the tag."""
    if rule.keep_last is not None:
        yield f"among the last {rule.keep_last}", place < rule.keep_last
    if rule.younger_than_days is not None:
        young = now - tag.pushed < rule.younger_than_days * DAY
        yield f"pushed within {rule.younger_than_days:g} days", young
    if rule.pulled_within_days is not None:
        used = tag.pulled is not None and now - tag.pulled < rule.pulled_within_days * DAY
        yield f"pulled within {rule.pulled_within_days:g} days", used


def plan_manifests(
    retention: Retention,
    tags: Sequence[TagFacts],
    verdicts: Sequence[Verdict],
    manifests: Mapping[str, ManifestFacts],
    now: float,
) -> Plan:
    """Judge the manifests that no tag leads to, and tags that belong to one; complete the plan.

    A manifest whose tags go by this plan is untagged from now on: it stays for its time.
    """
    untagged = _untagged(retention, tags, manifests, now)
    stays = {digest: why for digest, (goes, why) in untagged.items() if not goes}
    judged = {tag.digest for tag in tags if not named_after(tag.name)}
    roots = [*judged, *stays]
    roots += [tag.digest for tag in tags if named_after(tag.name) and tag.kept]
    kept = _closure(roots, tags, manifests)
    belonging = [_belonging(tag, kept, manifests, retention, now) for tag in tags
                 if named_after(tag.name)]  # fmt: skip
    tagged = judged | {each.digest for each in belonging}
    found = []
    for digest, (goes, why) in untagged.items():
        if digest in tagged:
            continue
        if goes and digest in kept:
            found.append(Verdict(digest, digest, goes=False, why=f"needed by {kept[digest]}"))
        else:
            found.append(Verdict(digest, digest, goes, why))
    every = sorted([*verdicts, *belonging], key=lambda verdict: verdict.name)
    return Plan(every, sorted(found, key=lambda verdict: verdict.digest))


def _untagged(
    retention: Retention,
    tags: Sequence[TagFacts],
    manifests: Mapping[str, ManifestFacts],
    now: float,
) -> dict[str, tuple[bool, str]]:
    """Of each manifest that no tag leads to, whether it is old enough to go, and what to say."""
    tagged = {tag.digest for tag in tags}
    found = {}
    for digest, facts in manifests.items():
        if digest in tagged:
            continue
        days = retention.untagged_days
        if days is None:
            found[digest] = False, "untagged manifests are kept"
        elif now - facts.since < days * DAY:
            found[digest] = False, f"untagged for less than {days:g} days"
        elif now - facts.pulled < days * DAY:
            found[digest] = False, f"pulled within {days:g} days"
        else:
            found[digest] = True, f"untagged for {days:g} days, and not needed"
    return found


def _closure(
    roots: Sequence[str], tags: Sequence[TagFacts], manifests: Mapping[str, ManifestFacts]
) -> dict[str, str]:
    """All that stays because something else does, with what that is; ``""`` for roots."""
    referrers: dict[str, list[str]] = {}
    for facts in manifests.values():
        if facts.subject:
            referrers.setdefault(facts.subject, []).append(facts.digest)
    for tag in tags:
        subject = named_after(tag.name)
        if subject:
            referrers.setdefault(subject, []).append(tag.digest)
    kept = dict.fromkeys(roots, "")
    waiting = list(kept)
    while waiting:
        digest = waiting.pop()
        standing = manifests.get(digest)
        near = [*referrers.get(digest, ())]
        if standing is not None:
            near += [*standing.children, *([standing.subject] if standing.subject else [])]
        for each in near:
            if each not in kept:
                kept[each] = digest
                waiting.append(each)
    return kept


def _belonging(
    tag: TagFacts,
    kept: Mapping[str, str],
    manifests: Mapping[str, ManifestFacts],
    retention: Retention,
    now: float,
) -> Verdict:
    """Judge a tag that is named after a manifest."""
    subject = named_after(tag.name)
    if tag.kept:
        return Verdict(tag.name, tag.digest, goes=False, why=tag.kept)
    if subject in manifests:
        why = f"it belongs to {subject}"
        return Verdict(tag.name, tag.digest, goes=False, why=why)
    days = retention.untagged_days
    if days is None or now - tag.pushed < days * DAY or tag.digest in kept:
        return Verdict(tag.name, tag.digest, goes=False, why=f"it belongs to {subject}")
    return Verdict(tag.name, tag.digest, goes=True, why=f"it belongs to {subject}, which is gone")


def named_after(tag: str) -> str:
    """The digest that a tag is named after; ``""``: none."""
    found = _NAMED_AFTER(tag)
    if found is None:
        return ""
    return f"{found[1]}:{found[2]}" if found[1] else f"{found[3]}:{found[4]}"


def faults(project: str, retention: Retention, *, pulls: bool) -> str:
    """Say what is wrong with the retention of a project of this name; ``""``: nothing.

    ``pulls``: it is known when tags were pulled.
    """
    names: set[str] = set()
    for rule in retention.rules:
        place = f"rule {rule.name!r}"
        if rule.name in names:
            return f"two rules are called {rule.name!r}: give each a name of its own"
        names.add(rule.name)
        if not rule.tags:
            return f"{place} has no pattern: say which tags it is about"
        keeps = (rule.keep_last, rule.younger_than_days, rule.pulled_within_days)
        if all(each is None for each in keeps):
            return f"{place} says nothing that it keeps: give keep_last or younger_than_days"
        if rule.pulled_within_days is not None and not pulls:
            return f"{place}: when tags are pulled is not known to this registry"
        for pattern in (*rule.tags, *rule.exceptions):
            wrong = pattern_fault(project, pattern)
            if wrong:
                return f"{place}: {wrong}"
    return ""
