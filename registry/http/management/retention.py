"""Retention: what projects keep, what would go, and letting it go now."""

from auth.policy import Verb
from registry.http.management.inputs import OfProject, OfRepository
from registry.http.management.retention_views import (
    MOST,
    PlanTerms,
    PlanView,
    RetentionRuleTerms,
    RetentionTerms,
    RetentionView,
    RunTerms,
    RunView,
    VerdictView,
)
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import maybe
from registry.service.audit.events import Happening
from registry.service.projects.retention import RetentionOfProject, check
from registry.spec.problems import Changed, Invalid
from registry.spec.retention import Plan, Retention, RetentionRule


async def get_retention(call: Call[OfProject, None]) -> Reply:
    """Tell what a project keeps."""
    found = await call.tenancy.retention.get(call.tenant)
    return Reply(_view(found), version=found.version)


async def put_retention(call: Call[OfProject, RetentionTerms]) -> Reply:
    """Say what a project keeps."""
    found = await call.tenancy.retention.put(
        call.tenant,
        _read(call.body),
        call.identity,
        call.version(),
        pulls=call.managed.services.pulls.counting,
    )
    return Reply(_view(found), version=found.version)


async def plan(call: Call[OfRepository, PlanTerms]) -> Reply:
    """Tell what would go of a repository now, and why."""
    if call.body.retention is None:
        retention = (await call.tenancy.retention.get(call.tenant)).retention
    else:
        retention = _read(call.body.retention)
        check(call.tenant, retention, pulls=call.managed.services.pulls.counting)
    name = call.input.repository
    made = await call.managed.services.retainer.plan(call.place, name, retention)
    verdicts = _verdicts(made)
    left = [each for each in verdicts if f"{each.kind} {each.name}" > call.body.after]
    items = left[:MOST]
    following = f"{items[-1].kind} {items[-1].name}" if len(left) > MOST else None
    going = sum(each.goes for each in verdicts)
    return Reply(PlanView(items=tuple(items), going=going, next=following))


async def run(call: Call[OfRepository, RunTerms]) -> Reply:
    """Delete what goes of a repository now."""
    kept = await call.tenancy.retention.get(call.tenant)
    name = call.input.repository
    done = await call.managed.services.retainer.run(
        call.place, name, kept.retention, limit=call.body.limit
    )
    for what, gone in (
        (Happening.TAG_EXPIRED, done.tags),
        (Happening.MANIFEST_EXPIRED, done.manifests),
    ):
        for each in gone:
            call.managed.trail.did(what, call.allowed.tenant, repository=name, subject=each)
    return Reply(RunView(tags=tuple(done.tags), manifests=tuple(done.manifests), more=done.more))


def _verdicts(made: Plan) -> list[VerdictView]:
    """All verdicts, by kind and name."""
    found = [
        VerdictView(kind=kind, name=each.name, digest=each.digest, goes=each.goes, why=each.why)
        for kind, verdicts in (("manifest", made.manifests), ("tag", made.tags))
        for each in verdicts
    ]
    return sorted(found, key=lambda each: f"{each.kind} {each.name}")


def _read(terms: RetentionTerms) -> Retention:
    return Retention(
        tuple(
            RetentionRule(
                each.name,
                each.tags,
                each.exceptions,
                each.keep_last,
                each.younger_than_days,
                each.pulled_within_days,
            )
            for each in terms.rules
        ),
        terms.untagged_days,
    )


def _view(found: RetentionOfProject) -> RetentionView:
    return RetentionView(
        rules=tuple(
            RetentionRuleTerms(
                name=rule.name,
                tags=rule.tags,
                exceptions=rule.exceptions,
                keep_last=rule.keep_last,
                younger_than_days=rule.younger_than_days,
                pulled_within_days=rule.pulled_within_days,
            )
            for rule in found.retention.rules
        ),
        untagged_days=found.retention.untagged_days,
        changed=maybe(found.at),
        by=found.by,
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/retention",
        "retention.get",
        Verb.DESCRIBE,
        "Tell what a project keeps",
        get_retention,
        OfProject,
        RetentionView,
    ),
    Route.of(
        "PUT /projects/{project}/retention",
        "retention.put",
        Verb.OPERATE,
        "Say what a project keeps",
        put_retention,
        OfProject,
        RetentionView,
        body=RetentionTerms,
        conditional=True,
        refusals=(Invalid, Changed),
    ),
    Route.of(
        "POST /repositories/{repository}/retention/plan",
        "retention.plan",
        Verb.DELETE,
        "Tell what would go of a repository, and why",
        plan,
        OfRepository,
        PlanView,
        body=PlanTerms,
        refusals=(Invalid,),
    ),
    Route.of(
        "POST /repositories/{repository}/retention/run",
        "retention.run",
        Verb.DELETE,
        "Delete what goes of a repository now",
        run,
        OfRepository,
        RunView,
        body=RunTerms,
        refusals=(Invalid,),
    ),
)
