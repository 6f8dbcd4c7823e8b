"""What retention keeps and what goes: examples, and properties of every plan."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.spec.retention import (
    DAY,
    ManifestFacts,
    Retention,
    RetentionRule,
    TagFacts,
    faults,
    named_after,
    plan_manifests,
    plan_tags,
)

NOW = 1000 * DAY
HEX = [character * 64 for character in "0123456789abcdef"]
D = [f"sha256:{each}" for each in HEX]


def tag(name, days, digest=D[0], **more):
    return TagFacts(name, digest, NOW - days * DAY, **more)


def plan(retention, tags, manifests=()):
    verdicts = plan_tags("demo/app", retention, tags, NOW)
    return plan_manifests(retention, tags, verdicts, {each.digest: each for each in manifests}, NOW)


def told(verdicts):
    return {each.name: (each.goes, each.why) for each in verdicts}


def goes(verdicts):
    return {each.name for each in verdicts if each.goes}


RULES = Retention(
    (
        RetentionRule("builds", ("ci-*",), ("ci-keep",), keep_last=2, younger_than_days=10),
        RetentionRule("pulled", ("ci-*",), (), pulled_within_days=5),
        RetentionRule("other", ("demo/other:*",), (), keep_last=1),
    )
)


OLD = (
    "rule builds: not among the last 2, not pushed within 10 days; "
    "rule pulled: not pulled within 5 days"
)


def test_each_verdict_says_why():
    tags = [
        tag("ci-1", 50),
        tag("ci-2", 40, pulled=NOW - 3 * DAY),
        tag("ci-3", 9),
        tag("ci-4", 30),
        tag("ci-5", 0),
        tag("ci-6", 60, kept="immutable by rule releases"),
        tag("ci-keep", 80),
        tag("latest", 70),
    ]
    assert told(plan_tags("demo/app", RULES, tags, NOW)) == {
        "ci-1": (True, OLD),
        "ci-2": (False, "rule pulled: pulled within 5 days"),
        "ci-3": (False, "rule builds: among the last 2"),
        "ci-4": (True, OLD),
        "ci-5": (False, "rule builds: among the last 2"),
        "ci-6": (False, "immutable by rule releases"),
        "ci-keep": (
            True,
            "rule pulled: not pulled within 5 days",
        ),
        "latest": (False, "no rule matches"),
    }


UNTAGGED = Retention((), untagged_days=7)


def manifest(number, days, children=(), subject=""):
    return ManifestFacts(D[number], NOW - days * DAY, [D[each] for each in children], subject)


def test_what_is_needed_stays():
    tags = [tag("v1", 90, D[0])]
    manifests = [
        manifest(0, 90, children=[1, 2]),
        *(manifest(number, 90) for number in (1, 2, 3)),
        manifest(4, 3, children=[5]),
        manifest(5, 90),
        manifest(6, 90, subject=D[1]),
        manifest(7, 90, subject=D[3]),
        manifest(8, 90, children=[9]),
        manifest(9, 90),
    ]
    made = plan(UNTAGGED, tags, manifests)
    assert goes(made.manifests) == {D[3], D[7], D[8], D[9]}
    assert told(made.manifests)[D[6]] == (False, f"needed by {D[1]}")
    assert told(made.manifests)[D[5]] == (False, f"needed by {D[4]}")
    assert told(made.manifests)[D[4]] == (False, "untagged for less than 7 days")
    assert goes(plan(Retention(), tags, manifests).manifests) == set()


def test_a_tagged_referrer_keeps_its_subject():
    tags = [tag("signature", 90, D[0])]
    made = plan(UNTAGGED, tags, [manifest(0, 90, subject=D[1]), manifest(1, 90)])
    assert goes(made.manifests) == set()


def test_tags_that_are_named_after_a_manifest_belong_to_it():
    keep_one = Retention((RetentionRule("all", ("*",), (), keep_last=1),), untagged_days=7)
    signature, orphan = f"sha256-{HEX[0]}.sig", f"sha256-{HEX[9]}"
    tags = [
        tag("v1", 90, D[0]),
        tag("v2", 80, D[1]),
        tag(signature, 1, D[2]),
        tag(orphan, 90, D[3]),
    ]
    manifests = [manifest(number, 90) for number in range(4)]
    made = plan(keep_one, tags, manifests)
    assert goes(made.tags) == {"v1", orphan}, "it counts for no rule"
    assert told(made.tags)[signature] == (False, f"it belongs to {D[0]}")
    assert named_after("sha256-abc") == named_after("v1") == ""


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        (Retention((RetentionRule("r", ("*",)),)), "says nothing that it keeps"),
        (Retention((RetentionRule("r", (), keep_last=1),)), "no pattern"),
        (Retention((RetentionRule("r", ("*",), pulled_within_days=1),)), "not known"),
        (Retention((RetentionRule("r", ("x/y:*",), keep_last=1),)), "of no repository of demo"),
        (Retention((RetentionRule("r", ("*",), keep_last=1),) * 2), "two rules"),
        (Retention((RetentionRule("r", ("demo/app:*", "v*"), ("*x",), 1, 2),), 1), ""),
    ],
)
def test_faults(retention, said):
    found = faults("demo", retention, pulls=False)
    assert said in found
    assert bool(found) is bool(said)


_days = st.one_of(st.none(), st.integers(1, 20))
_rule = st.builds(
    RetentionRule,
    st.just("r"),
    st.lists(st.sampled_from(["a*", "b*", "*", "demo/app:a?"]), min_size=1, max_size=2).map(tuple),
    st.lists(st.sampled_from(["a1", "*2"]), max_size=1).map(tuple),
    st.one_of(st.none(), st.integers(1, 4)),
    _days,
    _days,
)
_retention = st.builds(Retention, st.lists(_rule, max_size=3).map(tuple), _days)
_tags = st.lists(
    st.builds(
        TagFacts,
        st.sampled_from(
            ["a1", "a2", "a3", "b1", "b2", "c", *(f"sha256-{each}.sig" for each in HEX[:4])]
        ),
        st.sampled_from(D[:8]),
        st.integers(0, 30).map(lambda days: NOW - days * DAY),
        st.one_of(st.none(), st.integers(0, 30).map(lambda days: NOW - days * DAY)),
        st.sampled_from(["", "", "immutable"]),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)


@st.composite
def _manifests(draw):
    """Indexes list what comes later, so that there are no cycles; subjects are anything."""
    found = []
    for number in range(8):
        later = st.lists(st.sampled_from(D[number + 1 : 9]), max_size=2)
        subject = draw(st.sampled_from(["", "", *D[:8]]))
        days = draw(st.integers(0, 30))
        found.append(ManifestFacts(D[number], NOW - days * DAY, draw(later), subject))
    return draw(st.lists(st.sampled_from(found), unique_by=lambda each: each.digest))


@settings(max_examples=300)
@given(_retention, _tags, _manifests())
def test_what_every_plan_has_to_be(retention, tags, manifests):
    made = plan(retention, tags, manifests)
    facts = {each.name: each for each in tags}
    assert [each.name for each in made.tags] == sorted(facts)
    assert all(each.why for each in (*made.tags, *made.manifests))
    gone = goes(made.tags)
    for name in gone:
        assert not facts[name].kept
    for rule in retention.rules:
        # What a rule keeps by number are the youngest of what it matches.
        one = Retention((rule,))
        matched = [
            each for each in plan_tags("demo/app", one, tags, NOW) if "no rule" not in each.why
        ]
        if rule.keep_last is not None:
            assert len([each for each in matched if not each.goes]) >= min(
                rule.keep_last, len(matched)
            )
    # With another rule, nothing goes that would have stayed by a rule.
    by_rule = {each.name for each in made.tags if not each.goes and each.why.startswith("rule")}
    more = Retention((*retention.rules, RetentionRule("x", ("*",), (), 1)), retention.untagged_days)
    assert not by_rule & goes(plan(more, tags, manifests).tags)
    # No manifest goes to which a tag leads or that something needs that stays.
    away = goes(made.manifests)
    belonging = {each.digest for each in tags if named_after(each.name) and not each.kept}
    belonging -= {each.digest for each in tags if each.kept or not named_after(each.name)}
    there = {each.digest: each for each in manifests if each.digest not in {*away, *belonging}}
    assert not away & {each.digest for each in tags}
    for each in there.values():
        assert not away & {*each.children, each.subject}
    for each in manifests:
        if each.digest in away:
            assert each.subject not in there
            assert retention.untagged_days is not None
            assert NOW - each.since >= retention.untagged_days * DAY
    # A signature by name stays with its manifest.
    for name in gone:
        assert named_after(name) not in {each.digest for each in manifests}
