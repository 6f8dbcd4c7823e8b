"""Quotas of projects."""

from auth.policy import Verb
from registry.http.management.inputs import OfProject
from registry.http.management.route import Call, Reply, Route
from registry.http.management.views import AmountsView, QuotaTerms, QuotaView, maybe
from registry.service.quotas.quotas import version_of
from registry.spec.problems import Changed, ProjectUnknown
from registry.spec.quota import Account, Amounts, Limits


async def get_quota(call: Call[OfProject, None]) -> Reply:
    """Tell what the project may hold, and what it holds."""
    account = await call.tenancy.quotas.get(call.tenant)
    return Reply(quota_view(account), version=version_of(account))


async def put_quota(call: Call[OfProject, QuotaTerms]) -> Reply:
    """Set what the project may hold, and count what it does if that was not known."""
    project = await call.tenancy.projects.named(call.input.project)
    if project is None:
        raise ProjectUnknown
    wanted = call.body
    limits = Limits(wanted.bytes, wanted.repositories, wanted.tags, wanted.warn_percent)
    account = await call.tenancy.quotas.set(project.tenant, limits, call.identity, call.version())
    return Reply(quota_view(account), version=version_of(account))


def quota_view(account: Account | None) -> QuotaView:
    """Describe an account; ``None``: that there is none."""
    if account is None:
        return QuotaView()
    limits = account.limits
    return QuotaView(
        limits=QuotaTerms(
            bytes=limits.bytes,
            repositories=limits.repositories,
            tags=limits.tags,
            warn_percent=limits.warn_percent,
        ),
        used=_amounts(account.used),
        reserved=_amounts(account.total - account.used),
        physical_bytes=account.physical,
        counted=maybe(account.counted),
    )


def _amounts(amounts: Amounts) -> AmountsView:
    return AmountsView(
        bytes=max(0, amounts.bytes),
        repositories=max(0, amounts.repositories),
        tags=max(0, amounts.tags),
    )


ROUTES = (
    Route.of(
        "GET /projects/{project}/quota",
        "quota.get",
        Verb.DESCRIBE,
        "Tell what a project may hold, and what it holds",
        get_quota,
        OfProject,
        QuotaView,
    ),
    Route.of(
        "PUT /projects/{project}/quota",
        "quota.set",
        Verb.GOVERN,
        "Set what a project may hold",
        put_quota,
        OfProject,
        QuotaView,
        body=QuotaTerms,
        conditional=True,
        refusals=(Changed, ProjectUnknown),
    ),
)
