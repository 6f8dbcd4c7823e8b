"""The OpenAPI document, made of the table of routes and the types that they take and give.

OpenAPI 3.1, whose schemas are JSON Schema 2020-12, so the types' own schemas go in as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from auth.roles import Verb
from registry.http.management.inputs import PARAMETERS
from registry.http.management.problems import (
    MEDIA_TYPE,
    ProblemDetails,
    code_of,
    title_of,
)
from registry.http.management.route import PREFIX, Refusal, Route
from registry.spec import errors, problems
from registry.version import __version__

_REF: Final = "#/components/schemas/{name}"

_ALWAYS: Final[Sequence[Refusal]] = (
    problems.RequestInvalid,
    errors.Unauthorized,
    errors.TooManyRequests,
    errors.Unavailable,
    errors.Internal,
)
"""What any route may be refused with."""

_DESCRIPTION: Final = """\
Projects, members, robot accounts, tokens and shares of a Moorage registry, and what its
repositories hold.

Log in by Basic, with a password, an access token or a robot account's secret; or by Bearer, with a
token of the token service for the scope `project:<name>:manage`. What the caller may not know of is
answered as if it were not there. Refusals are problem details (RFC 9457); `code` tells them apart.

A list comes in pages: go on with `after=<next>`, or follow the `Link` header. PUT may be repeated.
Where there is an `ETag`, `If-Match` makes a change conditional on it, and `If-None-Match: *` a
creation on there being nothing."""

_VERBS: Final[Mapping[Verb, str]] = {
    Verb.ENTER: "For every caller that has logged in.",
    Verb.CATALOG: "For every caller that has logged in, if its credential reaches the catalog.",
    Verb.DESCRIBE: "For members of the project.",
    Verb.OPERATE: "For maintainers of the project.",
    Verb.ADMINISTER: "For owners of the project.",
    Verb.CREATE: "For administrators, and for users where `auth.users_create` is set.",
    Verb.PROVISION: "For the platform itself (`auth.hopsworks.service`), and for administrators.",
    Verb.GOVERN: "For administrators.",
    Verb.ACCOUNT: "For the account's owner, and for administrators.",
    Verb.PULL: "For whoever may pull from the repository.",
    Verb.LIST: "For whoever may pull from the project.",
    Verb.PUSH: "For whoever may push to the repository.",
    Verb.DELETE: "For whoever may delete from the repository.",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document, ready to be encoded."""
    types = dict.fromkeys(
        each for route in routes for each in (route.body, route.answer) if each is not None
    )
    inputs = dict.fromkeys(route.input for route in routes)
    _, components = msgspec.json.schema_components(
        [*types, *inputs, ProblemDetails], schema_hook=_schema, ref_template=_REF
    )
    parameters = {kind: components.pop(kind.__name__) for kind in inputs}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, parameters[route.input])
        paths.setdefault(PREFIX + route.path.shown, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Moorage", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "responses": {
                "Problem": {
                    "description": "A refusal.",
                    "content": {MEDIA_TYPE: {"schema": _ref(ProblemDetails)}},
                }
            },
            "schemas": _portable(dict(sorted(components.items()))),
        },
    }


def _schema(kind: type[Any]) -> dict[str, Any]:
    return PARAMETERS[kind][1]


def _portable(schema: Any) -> Any:
    """Write patterns as ECMA-262 has them, where nothing but the end of the text matches ``$``."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" else _portable(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    return schema


def _operation(route: Route, parameters: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.action,
        "tags": [route.action.partition(".")[0]],
        "summary": route.summary,
    }
    if route.verb is None:
        described["security"] = [{}]
    else:
        described["description"] = _VERBS[route.verb]
    described["parameters"] = [*_parameters(route, parameters), *_conditions(route)]
    if route.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    described["responses"] = _responses(route)
    return described


def _parameters(route: Route, schema: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    required = schema.get("required", ())
    for name, each in schema["properties"].items():
        where = "path" if name in route.path.parameters else "query"
        yield {
            "name": name,
            "in": where,
            "required": name in required,
            "schema": _portable(_unwrapped(each)),
        }


def _unwrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out that a parameter may be null: in a URL it is there or it is not."""
    some: list[dict[str, Any]] = [
        each for each in schema.get("anyOf", ()) if each != {"type": "null"}
    ]
    if len(some) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return some[0] | rest


def _conditions(route: Route) -> Iterable[dict[str, Any]]:
    if route.conditional:
        yield {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": "The ETag of what is to be changed.",
            "schema": {"type": "string", "pattern": '^"[!#-~]*"$'},
        }


def _responses(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in route.statuses:
        found[str(status)] = _success(route, status)
    by_status: dict[int, list[Refusal]] = {}
    for kind in dict.fromkeys((*_ALWAYS, *_usual(route), *route.refusals)):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        words = ", ".join(f"`{code_of(kind)}`" for kind in kinds)
        titles = "; ".join(dict.fromkeys(title_of(kind) for kind in kinds))
        found[str(status)] = {
            "$ref": "#/components/responses/Problem",
            "description": f"{titles}: {words}.",
        }
    return found


def _success(route: Route, status: int) -> dict[str, Any]:
    made = {201: "Made.", 202: "Begun.", 204: "Done."}.get(status, "What was asked for.")
    if route.answer is None:
        return {"description": made}
    headers: dict[str, Any] = {}
    if "limit" in {each.name for each in msgspec.structs.fields(route.input)}:
        headers["Link"] = {
            "description": "Where the next page is, if there is one.",
            "schema": {"type": "string"},
        }
    answer: dict[str, Any] = {
        "description": made,
        "content": {"application/json": {"schema": _ref(route.answer)}},
    }
    if headers:
        answer["headers"] = headers
    return answer


def _usual(route: Route) -> Iterable[Refusal]:
    """What a route may be refused with by what it is about."""
    names = {each.name for each in msgspec.structs.fields(route.input)}
    yield problems.ProjectsOff
    if route.verb is not None and route.verb is not Verb.ENTER:
        yield problems.NotAllowed
    if "project" in names:
        yield from (problems.ProjectUnknown, problems.ProjectNameInvalid)
    if "repository" in names and "project" not in names:
        yield from (errors.NameUnknown, errors.NameInvalid)
    if "tag" in names:
        yield errors.TagInvalid
    if route.body is not None:
        yield from (problems.NotJson, errors.BodyTooLarge, errors.RequestTimeout)


def _ref(kind: type[Any]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=kind.__name__)}
