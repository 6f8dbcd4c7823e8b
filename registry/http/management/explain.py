"""Why something is allowed or denied: for those who run a project."""

import time
from typing import Annotated, Literal

from msgspec import Meta

from auth import explain as reasons
from auth.identity import Identity, Kind
from auth.judgement import Allow
from auth.policy import Action, Verb
from auth.roles import PROJECT_VERBS, REPOSITORY_VERBS
from registry.http.management.inputs import OfProject
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import ExplanationView
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName
from registry.spec.problems import RequestInvalid

_KINDS = {"user": Kind.USER, "robot": Kind.ROBOT, "workload": Kind.WORKLOAD}


class Question(OfProject, frozen=True, kw_only=True):
    """Who may do what."""

    principal: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=300,
            description="Who: user:<name>, robot:<project>/<name>, workload:<name> or anonymous.",
            examples=["user:bob"],
        ),
    ]
    verb: Annotated[
        Literal["pull", "push", "delete", "list", "describe", "operate", "administer"],
        Meta(description="What it wants to do."),
    ] = "pull"
    repository: Annotated[
        Annotated[str, Meta(max_length=250)] | None,
        Meta(description="In which repository; without it, in the one named as the project."),
    ] = None
    group: Annotated[
        tuple[Annotated[str, Meta(max_length=128)], ...],
        Meta(max_length=64, description="A group that its credentials name; may be repeated."),
    ] = ()
    address: Annotated[str, Meta(max_length=64, description="Where it comes from.")] = ""


async def explain(call: Call[Question, None]) -> Reply:
    """Say whether somebody may do something in the project, and why."""
    asked = call.input
    identity = _identity(asked)
    action = _action(asked)
    facts = await call.tenancy.policy.facts(identity, action)
    found = reasons.explain(identity, action, facts, time.time())
    if isinstance(found.decision, Allow):
        return Reply(ExplanationView(allowed=True, findings=found.findings))
    return Reply(
        ExplanationView(
            allowed=False,
            reason=found.decision.reason,
            why=found.decision.why,
            findings=found.findings,
        )
    )


def _identity(asked: Question) -> Identity:
    kind, _, name = asked.principal.partition(":")
    if asked.principal == Kind.ANONYMOUS:
        return Identity(Kind.ANONYMOUS, Kind.ANONYMOUS)
    if kind not in _KINDS or not name or not name.isprintable():
        raise RequestInvalid(
            "say who: user:<name>, robot:<project>/<name>, workload:<name> or anonymous",
            parameter="principal",
        )
    return Identity(asked.principal, _KINDS[kind], frozenset(asked.group))


def _action(asked: Question) -> Action:
    verb = Verb(asked.verb)
    if verb in PROJECT_VERBS:
        return Action(verb, project=asked.project, address=asked.address)
    assert verb in REPOSITORY_VERBS  # noqa: S101 -- the type of the parameter says so
    try:
        repository = RepositoryName.parse(asked.repository or asked.project)
    except NameInvalid as error:
        raise RequestInvalid(error.message, parameter="repository") from None
    if repository.project != asked.project:
        raise RequestInvalid(
            f"{repository} is no repository of the project {asked.project}", parameter="repository"
        )
    return Action(verb, repository, address=asked.address)


ROUTES = (
    Route.of(
        "GET /projects/{project}/explain",
        "explain",
        Verb.OPERATE,
        "Say why somebody may or may not do something",
        explain,
        Question,
        ExplanationView,
    ),
)
