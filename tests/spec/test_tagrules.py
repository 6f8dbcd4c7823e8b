"""Which tags never move."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.tagrules import TagRules

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
