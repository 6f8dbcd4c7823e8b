"""The scope grammar as clients write it, and the algebra of scopes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.scopes import ACTIONS, MAX_SCOPES, MAX_TEXT, NONE, Resource, Scopes, TooManyScopes
from tests.auth.strategies import ceilings, scopes
from tests.spec.strategies import repositories

DEMO = Resource("repository", "demo")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("repository:demo:pull", "repository:demo:pull"),
        ("repository:demo:push,pull", "repository:demo:pull,push"),
        ("repository:demo:pull,push,delete", "repository:demo:pull,push,delete"),
        ("repository:demo:*", "repository:demo:pull,push,delete"),
        ("repository(plugin):demo:pull", "repository:demo:pull"),
        ("repository:demo:pull repository:demo:push", "repository:demo:pull,push"),
        ("repository:b:pull repository:a:pull", "repository:a:pull repository:b:pull"),
        ("registry:catalog:*", "registry:catalog:*"),
        ("project:demo:*", "project:demo:manage"),
        ("repository:reg.example.com:5000/demo/env:pull",
         "repository:reg.example.com:5000/demo/env:pull"),
        ("  repository:demo:pull   ", "repository:demo:pull"),
    ],
)  # fmt: skip
def test_what_clients_send_is_understood(text, canonical):
    found = Scopes.parse(text)
    assert str(found) == canonical
    assert Scopes.parse(canonical) == found


@pytest.mark.parametrize(
    "text",
    ["", " ", "repository", "repository:demo", "repository:demo:", "repository::pull",
     "repository:demo:fly", "Repository:demo:pull", "repository:DEMO:pull", "image:demo:pull",
     "registry:users:*", "project:demo/env:manage", "project:demo:pull", "project:a:5000/b:manage",
     "registry:catalog:pull", "repository:a/../b:pull",
     "repository:demo\n:pull", "repository:demo:pull\n", "repository\n:demo:pull",
     "repository(x:demo:pull", "repo(x)sitory:demo:pull", "repository:*:pull",
     "repository:demo/*:pull", "repository:a:b:c:pull", "repository:host:99999999/x:pull",
     "repository:demo:pull\t", ":::", "repository:%2e:pull", "\ufeffrepository:demo:pull"],
)  # fmt: skip
def test_what_is_unknown_or_malformed_is_dropped(text):
    """Never an error: pulp's token service fails on actions that it does not know."""
    assert Scopes.parse(text) == NONE
    assert Scopes.parse(f"{text} repository:demo:pull") == Scopes.parse("repository:demo:pull")


def test_unknown_actions_are_dropped_beside_known_ones():
    assert str(Scopes.parse("repository:demo:fly,pull,,swim")) == "repository:demo:pull"


def test_scopes_may_be_given_one_by_one_or_spaced():
    one = Scopes.parse("repository:a:pull", "repository:b:push registry:catalog:*")
    assert one == Scopes.parse("registry:catalog:* repository:b:push repository:a:pull")


def test_a_host_with_a_port_is_part_of_the_name_and_not_the_repository():
    found = Scopes.parse("repository:reg:5000/demo:pull")
    assert not found.permits(*DEMO, "pull")
    assert found.permits("repository", "reg:5000/demo", "pull")


def test_a_flood_of_scopes_is_refused():
    with pytest.raises(TooManyScopes):
        Scopes.parse(*(f"repository:a{n}:pull" for n in range(MAX_SCOPES + 1)))
    with pytest.raises(TooManyScopes):
        Scopes.parse("x" * (MAX_TEXT + 1))
    with pytest.raises(TooManyScopes):
        Scopes.from_access(("repository", f"a{n}", ["pull"]) for n in range(MAX_SCOPES + 1))


def test_a_pattern_is_a_pattern_in_a_ceiling_only():
    ceiling = Scopes.parse_ceiling("repository:demo/*:pull,push")
    assert ceiling.permits("repository", "demo/a/b", "push")
    for foreign in ("demo", "demox", "demo-x/a", "dem", "other"):
        assert not ceiling.permits("repository", foreign, "pull")
    assert Scopes.from_access([("repository", "demo/*", ["pull"])]) == NONE
    assert Scopes.parse_ceiling("repository:*:pull").permits(*DEMO, "pull")
    assert not Scopes.parse_ceiling("repository:*:pull").permits("registry", "catalog", "*")
    assert not Scopes.parse_ceiling("repository:*:*").permits("project", "demo", "manage")
    assert Scopes.parse_ceiling("project:*:*").permits("project", "demo", "manage")


def test_the_access_claim_keeps_what_is_known():
    found = Scopes.from_access(
        [("repository", "demo", ["push", "pull", "fly"]), ("image", "x", ["pull"]),
         ("repository", "*", ["pull"]), ("repository", "demo", ["*"]),
         ("registry", "catalog", ["*"])]
    )  # fmt: skip
    assert str(found) == "registry:catalog:* repository:demo:pull,push"


def test_what_a_pattern_covers_is_not_kept_beside_it():
    assert Scopes.parse_ceiling("repository:demo/a:pull repository:demo/*:pull") == (
        Scopes.parse_ceiling("repository:demo/*:pull")
    )
    assert str(Scopes.parse_ceiling("repository:a/b:pull,push repository:*:pull")) == (
        "repository:*:pull repository:a/b:push"
    )


def test_the_intersection_of_a_pattern_and_a_name_is_the_name():
    asked = Scopes.parse("repository:demo/env:pull,push repository:other/env:pull")
    ceiling = Scopes.parse_ceiling("repository:demo/*:pull")
    assert str(asked & ceiling) == "repository:demo/env:pull"
    assert str(Scopes.parse_ceiling("repository:demo/a/*:push,pull") & ceiling) == (
        "repository:demo/a/*:pull"
    )


every = st.one_of(scopes, ceilings)
resources = st.builds(Resource, st.just("repository"), repositories) | st.just(
    Resource("registry", "catalog")
)


@given(scopes)
def test_written_and_read_again_it_is_the_same(one):
    assert Scopes.parse(str(one)) == one
    assert hash(Scopes.parse(str(one))) == hash(one)
    assert Scopes.from_access((each.type, each.name, actions) for each, actions in one) == one


@given(ceilings)
def test_a_ceiling_written_and_read_again_is_the_same(one):
    assert Scopes.parse_ceiling(str(one)) == one


@given(every, every, every)
def test_union_and_intersection_are_those_of_sets(one, two, three):
    assert one | two == two | one
    assert one & two == two & one
    assert (one | two) | three == one | (two | three)
    assert (one & two) & three == one & (two & three)
    assert one & (two | three) == (one & two) | (one & three)
    assert one | one == one & one == one
    assert one | NONE == one
    assert one & NONE == NONE
    assert one & two <= one <= one | two
    assert (one >= two) == (one | two == one) == (one & two == two)


@given(every, every, resources)
def test_a_permission_is_in_the_union_and_in_the_intersection_as_in_sets(one, two, resource):
    for action in ACTIONS[resource.type]:
        has_one, has_two = one.permits(*resource, action), two.permits(*resource, action)
        assert (one | two).permits(*resource, action) == (has_one or has_two)
        assert (one & two).permits(*resource, action) == (has_one and has_two)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_is_read(texts):
    found = Scopes.parse(*texts)
    assert Scopes.parse(str(found)) == found
    assert len(found) <= sum(map(len, texts))
