"""Path templates: each path has one meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.paths import MAX_PATH, Template

ROBOT = Template.parse("/projects/{project}/robots/{robot}")
MEMBER = Template.parse("/projects/{project}/members/{principal*}")


@pytest.mark.parametrize(
    "text", ["", "a", "/", "/{a*}/b", "/{A}", "/{a}b", "/a//b", "/a/", "/{a b}", "/a?b", "/..%2f"]
)
def test_what_is_no_template(text):
    with pytest.raises(ValueError):
        Template.parse(text)


def test_a_path_is_matched_part_by_part():
    assert ROBOT.parameters == ("project", "robot")
    assert ROBOT.match("/projects/demo/robots/ci") == {"project": "demo", "robot": "ci"}
    assert ROBOT.match("/projects/a%2Fb/robots/%63i") == {"project": "a/b", "robot": "ci"}
    assert MEMBER.shown == "/projects/{project}/members/{principal}"


@pytest.mark.parametrize(
    "raw",
    [
        *("", "/", "projects/demo/robots/ci", "/projects/demo/robots/", "/projects//robots/ci"),
        *("/projects/demo/robots/ci/", "/projects/demo/robots", "/projects/demo/robots/ci/x"),
        *("/Projects/demo/robots/ci", "/projects/demo/robot%73/ci", "//projects/demo/robots/ci"),
        *("/projects/demo/robots/%", "/projects/demo/robots/%2", "/projects/demo/robots/%zz"),
        *("/projects/demo/robots/%ff", "/projects/demo/robots/%00", "/projects/demo/robots/a%0a"),
        *("/projects/demo/robots/a\n", "/projects/demo/robots/\u00e9", "/projects/demo/robots/a b"),
        "/projects/demo/robots/" + "a" * MAX_PATH,
    ],
)
def test_what_matches_nothing(raw):
    assert ROBOT.match(raw) is None


@pytest.mark.parametrize("raw", ["group:corp/ml", "group:corp%2Fml", "group%3Acorp%2fml"])
def test_the_last_parameter_may_take_all_that_follows(raw):
    found = MEMBER.match(f"/projects/demo/members/{raw}")
    assert found == {"project": "demo", "principal": "group:corp/ml"}
    assert MEMBER.match("/projects/demo/members/") is None


names = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=40)


@given(names.filter(str.isprintable), names.filter(str.isprintable))
def test_url_and_match_are_inverse(project, last):
    for template, name in ((ROBOT, "robot"), (MEMBER, "principal")):
        values = {"project": project, name: last}
        assert template.match(template.url(**values)) == values


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_none(text):
    found = MEMBER.match(f"/projects/demo/members/{text}")
    assert found is None or found["principal"].isprintable()
