"""Requests made from the OpenAPI document, good ones and bad ones: no 5xx, and answers as it says.

Schemathesis makes them. `MOORAGE_FUZZ_EXAMPLES=500` makes so many for each operation.
"""

import contextlib
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.http.management.openapi import document
from registry.http.management.table import ROUTES
from tests.auth.tenants import basic, quick_passwords, tenants

EXAMPLES = int(os.environ.get("MOORAGE_FUZZ_EXAMPLES", "6"))
"""Requests for each operation, fitting the document or not; every caller sends each."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

TOO_LONG = 431
"""What the listener says of a URL that is longer than any request's head may be."""

KNOWN = {
    "project": "demo",
    "user": "bob",
    "principal": "user:bob",
    "repository": "demo",
    "target": "other",
    "robot": "ci",
    "tag": "latest",
}
"""What is there, by the names of parameters: what is made up is nearly always absent."""

CALLERS = {"nobody": None, "guest": "bob", "owner": "ann", "administrator": "adm"}
"""The least first: what the others delete is there for them."""

SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]

pytestmark = [
    pytest.mark.timeout(max(120, EXAMPLES * 20)),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def registry():
    """A registry with two projects and who has a part in the first."""
    with contextlib.ExitStack() as stack:
        with quick_passwords():
            registry = stack.enter_context(tenants(settings={"rates.enabled": "off"}))
            registry.user("adm", administrator=True)
            for name in ("ann", "bob"):
                registry.user(name)
        registry.project("demo", ann="owner", bob="guest")
        registry.project("other", ann="owner")
        yield registry


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_breaks_it(registry, operation):
    """Whoever sends it: to make a request costs more than to have every caller send it."""
    callers = [{"Authorization": basic(name)} if name else {} for name in CALLERS.values()]
    modes = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=modes.flatmap(operation.as_strategy), known=st.booleans())
    def each(case, known):
        if known:
            given_ones = case.path_parameters or {}
            case.path_parameters = {**given_ones, **{n: KNOWN[n] for n in given_ones if n in KNOWN}}
        for headers in callers:
            response = case.call(base_url=f"http://{registry.address}", headers=headers)
            if response.status_code != TOO_LONG:
                case.validate_response(response, checks=CHECKS)

    each()
