"""Which tags never move."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.roles import Role
from registry.spec.tagrules import (
    CHANGERS,
    NOBODY,
    ProjectRules,
    TagRule,
    TagRules,
    faults,
    pattern_fault,
)

_texts = st.text("ab.*?", min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("tag", "immutable"),
    [("v1", True), ("v1-rc1", False), ("V1", False), ("latest", False), ("av1", False)],
)
def test_a_pattern_is_of_the_whole_tag_and_exceptions_count(tag, immutable):
    assert TagRules(["v*", "release"], ["*-rc*"]).immutable(tag) is immutable


@given(st.lists(_texts, max_size=3), st.lists(_texts, max_size=3), st.text("ab.", max_size=4))
def test_a_tag_is_immutable_by_one_pattern_and_no_exception(patterns, exceptions, tag):
    rules = TagRules(patterns, exceptions)
    wanted = any(fnmatchcase(tag, each) for each in patterns)
    excepted = any(fnmatchcase(tag, each) for each in exceptions)
    assert rules.immutable(tag) is (wanted and not excepted)
    assert bool(rules) is bool(patterns)


def test_roles_are_those_of_projects():
    assert (*Role, NOBODY) == CHANGERS


RULES = ProjectRules(
    "demo",
    [
        TagRule("releases", ("v*",), ("*-rc*",)),
        TagRule("live", ("demo/app:live", "demo/*/x:*"), (), "owner"),
        TagRule("stable", ("stable",), (), "maintainer"),
    ],
)


@pytest.mark.parametrize(
    ("repository", "tag", "role", "rule"),
    [
        ("demo", "v1", "owner", "releases"),
        ("demo/a", "v1", "", "releases"),
        ("demo/a", "v1-rc1", "developer", None),
        ("demo/app", "live", "maintainer", "live"),
        ("demo/app", "live", "owner", None),
        ("demo/app2", "live", "developer", None),
        ("demo/a/b/x", "any", "developer", "live"),
        ("demo/x", "any", "developer", None),
        ("demo", "stable", "developer", "stable"),
        ("demo", "stable", "maintainer", None),
        ("demo", "stable", "owner", None),
        ("demo", "stable", "king", "stable"),
    ],
)
def test_the_first_rule_that_covers_a_tag_for_a_role(repository, tag, role, rule):
    found = RULES.covering(repository, tag, role)
    assert (found.name if found else None) == rule


_globs = st.text("ab*?:/", min_size=1, max_size=5)
_rules = st.lists(
    st.builds(
        TagRule,
        st.just("r"),
        st.lists(_globs, min_size=1, max_size=3).map(tuple),
        st.lists(_globs, max_size=2).map(tuple),
        st.sampled_from(["maintainer", "owner", "nobody"]),
    ),
    max_size=3,
)


def covers(rule, repository, tag):
    def match(globs):
        return any(
            fnmatchcase(f"{repository}:{tag}" if ":" in each else tag, each) for each in globs
        )

    return match(rule.tags) and not match(rule.exceptions)


@given(
    _rules,
    st.sampled_from(["a", "a/b", "a/a/b"]),
    st.text("ab", min_size=1, max_size=3),
    st.sampled_from(["", *Role]),
)
def test_a_tag_may_be_changed_if_every_rule_that_covers_it_lets_the_role(
    rules, repository, tag, role
):
    order = ["", *Role, NOBODY]
    covering = [each for each in rules if covers(each, repository, tag)]
    refused = any(order.index(role) < order.index(each.changed_by) for each in covering)
    found = ProjectRules("a", rules).covering(repository, tag, role)
    assert (found is not None) == refused
    assert found is None or found in covering
    higher = [each for each in order[:-1] if order.index(each) > order.index(role)]
    if found is None:
        assert all(
            ProjectRules("a", rules).covering(repository, tag, each) is None for each in higher
        )


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("v*", True),
        ("demo:v*", True),
        ("demo/app:*", True),
        ("*:v*", True),
        ("dem*:v1", True),
        ("demo/*:v1", True),
        ("demo*/app:v1", True),
        ("d[ae]mo:v1", True),
        ("other/app:v1", False),
        ("demo2/*:v1", False),
        ("x*:v1", False),
        ("demo/app", False),
        (":v1", False),
    ],
)
def test_a_pattern_that_can_be_of_no_tag_of_the_project_is_a_fault(pattern, fits):
    assert (pattern_fault("demo", pattern) == "") is fits
    assert (faults("demo", [TagRule("r", (pattern,))]) == "") is fits
    assert (faults("demo", [TagRule("r", ("*",), (pattern,))]) == "") is fits


def test_a_rule_without_a_pattern_is_a_fault():
    assert "no pattern" in faults("demo", [TagRule("r", ())])


def test_two_rules_of_one_name_are_a_fault():
    assert "'r'" in faults("demo", [TagRule("r", ("a",)), TagRule("r", ("b",))])


@given(_globs, st.sampled_from(["a", "a/b", "a/b/a"]), st.text("ab", min_size=1, max_size=3))
def test_no_pattern_that_matches_a_tag_of_the_project_is_a_fault(pattern, repository, tag):
    if covers(TagRule("r", (pattern,)), repository, tag):
        assert pattern_fault("a", pattern) == "" or "/" in pattern.partition(":")[0]
