"""All services of projects over one store, and the policy that decides by them."""

from dataclasses import dataclass
from typing import Self

from auth.passwords import Passwords
from auth.policy import ProjectPolicy
from registry.service.platform.lifecycle import Lifecycle
from registry.service.platform.terms import PlatformTerms
from registry.service.projects.access_tokens import AccessTokens
from registry.service.projects.accounts import Accounts
from registry.service.projects.credentials import Credentials
from registry.service.projects.directory import StoredDirectory
from registry.service.projects.events import Events, log_event
from registry.service.projects.members import Members
from registry.service.projects.offline import StoredOfflineTokens
from registry.service.projects.projects import Projects
from registry.service.projects.pull_secrets import PullSecrets
from registry.service.projects.quotas import ProjectQuotas
from registry.service.projects.removals import SETTLE, Removals
from registry.service.projects.retention import ProjectRetention
from registry.service.projects.robots import Robots
from registry.service.projects.shares import Shares
from registry.service.projects.tag_rules import ProjectTagRules
from registry.service.services import Services
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.subscriptions import Subscriptions
from registry.spec.destinations import Destinations
from registry.spec.quota import NO_LIMITS, Limits
from storage.coordination import Coordinator
from storage.ports import ObjectStore


@dataclass(frozen=True, slots=True)
class TenancyTerms:
    """How projects are governed.

    ``users_create``: every user may create projects. ``bootstrap``: the secret that makes the first
    administrator. ``offline_days``: days without use after which an offline token ends. ``settle``:
    seconds until it is looked a last time for what is left of a removed project. ``limits``: what
    a new project may hold. ``destinations``: where webhooks may lead. ``public_url``: scheme, host
    and port that clients use, ``""`` if they are not known. ``platform``: how projects of a
    platform are kept.
    """

    users_create: bool = False
    bootstrap: str = ""
    offline_days: int = 90
    settle: float = SETTLE
    limits: Limits = NO_LIMITS
    destinations: Destinations = Destinations()  # noqa: RUF009 -- a constant
    public_url: str = ""
    platform: PlatformTerms = PlatformTerms()  # noqa: RUF009 -- a constant


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Projects and all that goes with them."""

    directory: StoredDirectory
    policy: ProjectPolicy
    projects: Projects
    members: Members
    robots: Robots
    pull_secrets: PullSecrets
    shares: Shares
    tag_rules: ProjectTagRules
    retention: ProjectRetention
    accounts: Accounts
    access_tokens: AccessTokens
    credentials: Credentials
    offline: StoredOfflineTokens
    removals: Removals
    quotas: ProjectQuotas
    webhooks: Subscriptions
    platform: Lifecycle

    @classmethod
    def over(
        cls,
        store: ObjectStore,
        coordinator: Coordinator,
        services: Services,
        passwords: Passwords,
        *,
        memory: int,
        terms: TenancyTerms | None = None,
        events: Events = log_event,
    ) -> Self:
        """Build them over the store that ``services`` are over.

        They remember up to ``memory`` bytes of it, and tell ``events`` of each change.
        """
        terms = terms or TenancyTerms()
        directory = StoredDirectory(store, coordinator, memory)
        policy = ProjectPolicy(
            directory, users_create=terms.users_create, provisioner=terms.platform.service
        )
        projects = Projects(store, coordinator, directory, events, services.quotas, terms.limits)
        members = Members(store, projects, events)
        robots = Robots(store, projects, events)
        webhooks = Subscriptions(
            store, coordinator, projects, events, DeliveryQueue(store), terms.destinations
        )
        return cls(
            directory,
            policy,
            projects,
            members,
            robots,
            PullSecrets(robots, terms.public_url),
            Shares(store, projects, directory, events),
            ProjectTagRules(store, projects, events),
            ProjectRetention(store, projects, events),
            Accounts(store, coordinator, passwords, members, events, terms.bootstrap),
            AccessTokens(store, coordinator, events),
            Credentials(store, coordinator, directory, passwords),
            StoredOfflineTokens(store, coordinator, events, terms.offline_days),
            Removals(
                store,
                coordinator,
                policy,
                projects,
                services.blobs,
                services.uploads,
                events,
                services.candidates,
                services.quotas,
                settle=terms.settle,
                last=webhooks.forget,
            ),
            ProjectQuotas(services.quotas, events),
            webhooks,
            Lifecycle(store, coordinator, projects, members, terms.platform),
        )
