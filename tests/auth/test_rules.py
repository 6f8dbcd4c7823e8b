"""Claim rules: whole values, no prefixes, and names that can't be forged by what is filled in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.identity import Kind, Scheme
from auth.rules import NoRule, Rule, Rules, pattern, values
from auth.scopes import Scopes

GITHUB = {
    "iss": "https://ci.example", "sub": "repo:acme/app:ref:refs/heads/main",
    "repository": "acme/app", "repository_owner": "acme", "ref": "refs/heads/main",
    "run_attempt": "1", "job": {"name": "build", "labels": ["a", "b"]}, "actor_id": 7,
}  # fmt: skip


def rules(*some, prefix="ci/"):
    return Rules(prefix, [Rule.of(**each) for each in some])


def who(claims, *some, **options):
    return rules(*some, **options).identity(claims, Scheme.BEARER, "issuer:ci")


@pytest.mark.parametrize(
    ("text", "fits", "does_not"),
    [
        ("acme", ["acme"], ["acme2", "xacme", "acme/x", "ACME", "acme\n", ""]),
        ("acme/*", ["acme/app", "acme/"], ["acme-evil/app", "acme/app/x", "acme", "x/acme/app"]),
        ("acme/**", ["acme/app", "acme/a/b:c"], ["acme", "evil/acme/x"]),
        ("*", ["a", "a.b-c", ""], ["a/b", "a:b"]),
        ("**", ["a/b:c\nd", ""], []),
        ("repo:acme/*:ref:refs/heads/main", ["repo:acme/app:ref:refs/heads/main"],
         ["repo:acme/app:environment:x:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main2",
          "repo:acme/a/b:ref:refs/heads/main"]),
        ("a.b+c?[d](e)", ["a.b+c?[d](e)"], ["aXb+c?[d](e)", "a.bbc?[d](e)"]),
        ("spiffe://k8s/ns/*/sa/*", ["spiffe://k8s/ns/demo/sa/default"],
         ["spiffe://k8s/ns/a/b/sa/default", "spiffe://k8s/ns/demo/sa/x/y",
          "xspiffe://k8s/ns/demo/sa/default"]),
    ],
)  # fmt: skip
def test_patterns_match_whole_values(text, fits, does_not):
    compiled = pattern(text)
    assert [value for value in fits if not compiled.fullmatch(value)] == []
    assert [value for value in does_not if compiled.fullmatch(value)] == []


@given(st.text(max_size=30), st.text(max_size=5))
def test_a_pattern_without_stars_is_the_text_itself(text, more):
    text = text.replace("*", "")
    assert pattern(text).fullmatch(text)
    assert bool(pattern(text).fullmatch(text + more)) == (more == "")


def test_the_first_rule_that_fits_counts():
    first = {"match": {"ref": "refs/heads/*"}, "name": "branch"}
    second = {"match": {"repository": "acme/*"}, "name": "any", "groups": ("ci",)}
    assert who(GITHUB, first, second).name == "workload:ci/branch"
    found = who({**GITHUB, "ref": "refs/tags/v1"}, first, second)
    assert found.name == "workload:ci/any"
    assert found.kind is Kind.WORKLOAD
    assert found.groups == {"ci/ci"}
    assert found.credential == "issuer:ci"


def test_every_claim_of_a_rule_must_fit():
    rule = {"match": {"repository": "acme/app", "ref": "refs/heads/main"}, "name": "x"}
    assert who(GITHUB, rule)
    for changed in ({"ref": "refs/heads/evil"}, {"repository": "evil/app"}, {"ref": None},
                    {"ref": []}, {"ref": {"x": "refs/heads/main"}}, {"ref": True}):  # fmt: skip
        with pytest.raises(NoRule):
            who({**GITHUB, **changed}, rule)


def test_a_rule_that_asks_for_a_claim_that_is_missing_does_not_fit():
    with pytest.raises(NoRule, match="no rule"):
        who({}, {"match": {"sub": "**"}, "name": "x"})
    with pytest.raises(NoRule):
        who(GITHUB)


def test_names_and_groups_are_filled_in_from_claims():
    rule = {
        "match": {"repository": "acme/*"}, "name": "{repository}:{ref}",
        "groups": ("{repository_owner}", "job-{job.name}", "{actor_id}"),
    }  # fmt: skip
    found = who(GITHUB, rule)
    assert found.name == "workload:ci/acme/app:refs/heads/main"
    assert found.groups == {"ci/acme", "ci/job-build", "ci/7"}


def test_of_several_values_the_one_that_matched_is_filled_in():
    claims = {"dns": ("evil.example", "a.nodes.example")}
    found = who(claims, {"match": {"dns": "*.nodes.example"}, "name": "{dns}"})
    assert found.name == "workload:ci/a.nodes.example"
    with pytest.raises(NoRule, match="not one text"):
        who({**claims, "sub": "x"}, {"match": {"sub": "x"}, "name": "{dns}"})


def test_what_is_filled_in_is_not_filled_in_again():
    claims = {"sub": "x", "name": "{secret}", "secret": "s"}
    found = who(claims, {"match": {"sub": "x"}, "name": "{name}"})
    assert found.name == "workload:ci/{secret}"


@pytest.mark.parametrize("value", ["", "a b", "a\nb", "a\x00", "é", "a" * 250])
def test_a_claim_that_can_be_no_name_lets_nobody_in(value):
    for prefix in ("", "ci/"):
        with pytest.raises(NoRule):
            who({"sub": value}, {"match": {"sub": "**"}, "name": "{sub}"}, prefix=prefix)
        rule = {"match": {"sub": "**"}, "name": "x", "groups": ("{sub}",)}
        with pytest.raises(NoRule):
            who({"sub": value}, rule, prefix=prefix)


def test_a_ceiling_and_a_kind_come_from_the_rule():
    rule = {"match": {"sub": "**"}, "name": "x", "scopes": "repository:demo/*:pull"}
    assert who(GITHUB, rule).ceiling == Scopes.parse_ceiling("repository:demo/*:pull")
    assert who(GITHUB, {"match": {"sub": "**"}, "name": "x"}).ceiling is None
    person = who(GITHUB, {"match": {"sub": "**"}, "name": "x", "kind": Kind.USER}, prefix="")
    assert (person.name, person.kind) == ("user:x", Kind.USER)


@pytest.mark.parametrize("scopes", ["x", "repository:demo:fly", "repository:a:pull image:b:pull"])
def test_scopes_that_mean_nothing_are_refused(scopes):
    with pytest.raises(ValueError, match="means nothing"):
        Rule.of({"sub": "**"}, "x", scopes=scopes)


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("a", ["x"]), ("b", ["y", "z"]), ("c", ["5"]), ("d", []), ("e", []), ("e.f", ["g"]),
        ("h.i", ["j"]), ("k", []), ("e.f.g", []), ("", []), (".", []),
    ],
)  # fmt: skip
def test_values_of_claims(claim, found):
    claims = {"a": "x", "b": ["y", 1, "z"], "c": 5, "d": True, "e": {"f": ["g"]}, "h.i": "j"}
    assert list(values(claims, claim)) == found
