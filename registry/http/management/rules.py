"""Rules of projects about their tags."""

from auth.policy import Verb
from registry.http.management.inputs import OfProject
from registry.http.management.route import Call, Reply, Route
from registry.http.management.tag_views import TagRulesTerms, TagRulesView, TagRuleTerms
from registry.http.management.views import maybe
from registry.service.projects.tag_rules import RulesOfTags
from registry.spec.problems import Changed, Invalid
from registry.spec.tagrules import TagRule


async def get_tag_rules(call: Call[OfProject, None]) -> Reply:
    """Tell which tags of a project stay what they are."""
    found = await call.tenancy.tag_rules.get(call.tenant)
    return Reply(_view(found), version=found.version)


async def put_tag_rules(call: Call[OfProject, TagRulesTerms]) -> Reply:
    """Set all tag rules of a project."""
    rules = [
        TagRule(each.name, each.tags, each.exceptions, each.changed_by) for each in call.body.rules
    ]
    found = await call.tenancy.tag_rules.put(call.tenant, rules, call.identity, call.version())
    return Reply(_view(found), version=found.version)


def _view(found: RulesOfTags) -> TagRulesView:
    return TagRulesView(
        rules=tuple(
            TagRuleTerms(
                name=rule.name,
                tags=rule.tags,
                exceptions=rule.exceptions,
                changed_by=rule.changed_by,
            )
            for rule in found.rules
        ),
        changed=maybe(found.at),
        by=found.by,
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/tag-rules",
        "tag-rules.get",
        Verb.DESCRIBE,
        "Tell which tags stay what they are",
        get_tag_rules,
        OfProject,
        TagRulesView,
    ),
    Route.of(
        "PUT /projects/{project}/tag-rules",
        "tag-rules.put",
        Verb.ADMINISTER,
        "Set the tag rules of a project",
        put_tag_rules,
        OfProject,
        TagRulesView,
        body=TagRulesTerms,
        conditional=True,
        refusals=(Invalid, Changed),
    ),
)
