"""The OpenAPI document and the reference page: they say what the table of routes says."""

import json
import re
from pathlib import Path

import pytest

from auth.roles import Verb
from registry.http.management.openapi import document
from registry.http.management.problems import TITLES, code_of, title_of
from registry.http.management.table import ROUTES
from registry.spec.errors import STATUSES
from registry.spec.problems import PROBLEMS
from tests.docs.test_docs import rows

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"

WHO = {
    None: "anyone",
    Verb.ENTER: "login",
    Verb.CATALOG: "login",
    Verb.PULL: "pull",
    Verb.LIST: "pull",
    Verb.DELETE: "delete",
    Verb.PUSH: "push",
    Verb.DESCRIBE: "members",
    Verb.OPERATE: "maintainers",
    Verb.ADMINISTER: "owners",
    Verb.CREATE: "administrators",
    Verb.PROVISION: "the platform",
    Verb.GOVERN: "administrators",
    Verb.ACCOUNT: "self",
}


def test_the_document_in_the_documentation_is_the_one_that_is_served():
    """Where it is not, it is written anew, to be looked at and moved."""
    kept = REFERENCE / "openapi.json"
    made = json.dumps(document(ROUTES), indent=1) + "\n"
    if not kept.exists() or kept.read_text() != made:
        fresh = Path(__file__).parents[2] / "build" / "openapi.json"
        fresh.parent.mkdir(exist_ok=True)
        fresh.write_text(made)
        pytest.fail(f"{kept} is out of date: mv {fresh} {kept}")


def test_every_route_has_its_row_and_no_other_has():
    documented = [row[:3] for row in rows(REFERENCE / "management-api.md", "route")]
    assert documented == [
        [f"`{route.method} {route.path.shown}`", f"`{route.action}`", WHO[route.verb]]
        for route in ROUTES
    ]


def test_actions_and_paths_are_unique():
    assert len({route.action for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path.shown) for route in ROUTES}) == len(ROUTES)


def test_no_path_is_taken_for_another():
    """Every path that a template makes is matched by that template alone, of its method."""
    for route in ROUTES:
        path = route.path.url(**dict.fromkeys(route.path.parameters, "value"))
        found = [
            each.path.text
            for each in ROUTES
            if each.method == route.method and each.path.match(path) is not None
        ]
        assert found == [route.path.text], path


def test_every_reference_in_the_document_leads_somewhere():
    made = document(ROUTES)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(made)):
        place = made
        for step in reference.split("/"):
            place = place[step]


def test_patterns_are_those_of_ecma():
    """`\\Z` is Python's own."""
    found = list(patterns(document(ROUTES)))
    assert len(found) > 10
    assert not [each for each in found if r"\Z" in each]


def patterns(part):
    """Every pattern of a schema."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "pattern":
                yield value
            else:
                yield from patterns(value)
    elif isinstance(part, list):
        for each in part:
            yield from patterns(each)


def test_every_refusal_has_a_word_and_a_title_of_its_own():
    codes = [kind for kind, _, _ in PROBLEMS.values()]
    codes += [code_of(kind) for kind in TITLES]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert all(title_of(kind) != "Refused" for route in ROUTES for kind in route.refusals)
    assert {kind.__name__ for kind in TITLES} <= set(STATUSES)
