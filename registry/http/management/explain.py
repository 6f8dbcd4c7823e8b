"""Why something is allowed or denied: for those who run a project."""

import time
from typing import Annotated, Any, Literal

from msgspec import Meta

from auth import explain as reasons
from auth.explain import Explanation
from auth.identity import Identity, Kind
from auth.judgement import REASONS
from auth.policy import Action, Allow, Deny, Verb, Why
from auth.roles import PROJECT_VERBS, REPOSITORY_VERBS
from registry.http.management.inputs import OfProject
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import ExplanationView
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName
from registry.spec.problems import RequestInvalid

_KINDS = {"user": Kind.USER, "robot": Kind.ROBOT, "workload": Kind.WORKLOAD}


Wish = Annotated[
    Literal["pull", "push", "delete", "list", "describe", "operate", "administer"],
    Meta(description="What it wants to do."),
]
Where = Annotated[
    Annotated[str, Meta(max_length=250)] | None,
    Meta(description="In which repository; without it, in the one named as the project."),
]


class OwnQuestion(OfProject, frozen=True, kw_only=True):
    """What the caller may do. The project is a parameter of the query."""

    verb: Wish = "pull"
    repository: Where = None


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
    verb: Wish = "pull"
    repository: Where = None
    group: Annotated[
        tuple[Annotated[str, Meta(max_length=128)], ...],
        Meta(max_length=64, description="A group that its credentials name; may be repeated."),
    ] = ()
    address: Annotated[str, Meta(max_length=64, description="Where it comes from.")] = ""


async def explain(call: Call[Question, None]) -> Reply:
    """Say whether somebody may do something in the project, and why."""
    identity = _identity(call.input)
    found = await _explained(call, identity, _action(call.input, call.input.address))
    return Reply(_view(found))


async def explain_own(call: Call[OwnQuestion, None]) -> Reply:
    """Say whether the caller itself may do something, and why.

    Of what is to look as if it were not there it learns what it would of nothing: how far its
    credential reaches is all that depends on it alone.
    """
    action = _action(call.input, call.address)
    found = await _explained(call, call.identity, action)
    decision = found.decision
    if isinstance(decision, Allow) or decision.visible:
        return Reply(_view(found))
    findings = [f"nothing connects you with a project {action.concerns!r}, if there is one"]
    if call.identity.ceiling is not None:
        findings.append(f"and your credential is good for no more than: {call.identity.ceiling}")
    unrelated = Deny(REASONS[Why.UNRELATED], Why.UNRELATED)
    return Reply(_view(Explanation(unrelated, tuple(findings))))


async def _explained(call: Call[Any, None], identity: Identity, action: Action) -> Explanation:
    facts = await call.tenancy.policy.facts(identity, action)
    return reasons.explain(identity, action, facts, time.time())


def _view(found: Explanation) -> ExplanationView:
    decision = found.decision
    if isinstance(decision, Allow):
        return ExplanationView(allowed=True, findings=found.findings)
    return ExplanationView(
        allowed=False, reason=decision.reason, why=decision.why, findings=found.findings
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


def _action(asked: Question | OwnQuestion, address: str) -> Action:
    verb = Verb(asked.verb)
    try:
        repository = RepositoryName.parse(asked.repository or asked.project)
    except NameInvalid as error:
        raise RequestInvalid(error.message, parameter="repository") from None
    if repository.project != asked.project:
        raise RequestInvalid(
            f"{repository} is no repository of the project {asked.project}", parameter="repository"
        )
    if verb in PROJECT_VERBS:
        return Action(verb, project=asked.project, address=address)
    assert verb in REPOSITORY_VERBS  # noqa: S101 -- the type of the parameter says so
    return Action(verb, repository, address=address)


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
    Route.of(
        "GET /explain",
        "explain.own",
        Verb.ENTER,
        "Say why the caller itself may or may not do something",
        explain_own,
        OwnQuestion,
        ExplanationView,
    ),
)
