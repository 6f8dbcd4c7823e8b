"""All services of one process over one store."""

from dataclasses import dataclass, field
from typing import Self

from registry.service.blobs import Blobs
from registry.service.catalog import Catalog
from registry.service.collection.candidates import Candidates
from registry.service.collection.standing import Standing
from registry.service.deleted import Deleted
from registry.service.deletions import Deletions
from registry.service.derivations import Derivations
from registry.service.enrolment import Enrolment
from registry.service.entries import Entries
from registry.service.environments import Environments
from registry.service.expiry import Expiry
from registry.service.history import HISTORY_TERMS, HistoryTerms
from registry.service.image_configs import ImageConfigs
from registry.service.manifests import Manifests
from registry.service.mounting import Mounting
from registry.service.mounts import Mounts
from registry.service.pulls.history import PullHistory
from registry.service.quotas.quotas import Quotas
from registry.service.quotas.terms import QUOTA_TERMS, QuotaTerms
from registry.service.redirects import Redirects
from registry.service.referrers import Referrers
from registry.service.reinstatements import Reinstatements
from registry.service.repositories import Repositories
from registry.service.retention import Retainer
from registry.service.rollbacks import Rollbacks
from registry.service.tag_rules import Guards
from registry.service.tags import Tags
from registry.service.terms import TERMS, Terms
from registry.service.uploads import Uploads
from registry.spec.tagrules import NO_RULES, TagRules
from storage.coordination import Coordinator
from storage.ports import ContentStore, FileContent


@dataclass(frozen=True, slots=True)
class Services:
    """What the registry can do, whatever the wire."""

    blobs: Blobs
    uploads: Uploads
    manifests: Manifests
    tags: Tags
    catalog: Catalog
    candidates: Candidates
    quotas: Quotas
    guards: Guards
    pulls: PullHistory
    terms: Terms = TERMS
    redirects: Redirects | None = None
    """Where clients may be sent to the store for large blobs."""

    deleted: Deleted = field(kw_only=True)
    deletions: Deletions = field(kw_only=True)
    reinstatements: Reinstatements = field(kw_only=True)
    expiry: Expiry = field(kw_only=True)
    retainer: Retainer = field(kw_only=True)
    environments: Environments = field(kw_only=True)
    configs: ImageConfigs = field(kw_only=True)
    repositories: Repositories = field(kw_only=True)
    standing: Standing = field(kw_only=True)
    mounting: Mounting = field(kw_only=True)

    @property
    def derivations(self) -> Derivations:
        """Makes images of images that are there."""
        return Derivations(self.mounting, self.manifests, self.quotas)

    @property
    def rollbacks(self) -> Rollbacks:
        """Points tags back at what they were."""
        return Rollbacks(self.manifests, self.tags)

    @classmethod
    def over(
        cls,
        store: ContentStore,
        coordinator: Coordinator,
        *,
        files: FileContent | None,
        memory: int,
        allow_sparse: bool = False,
        redirects: Redirects | None = None,
        exact: bool = True,
        terms: Terms = TERMS,
        rules: TagRules = NO_RULES,
        projects: bool = False,
        history: HistoryTerms = HISTORY_TERMS,
        quota_terms: QuotaTerms = QUOTA_TERMS,
    ) -> Self:
        """Build them; together they remember up to ``memory`` bytes of the store.

        ``files`` is the store itself where its content is local files, else ``None``; ``exact``
        tells whether the store deletes an object at a version in one step. ``terms`` say how long
        what nothing needs stays, ``rules`` which tags never move. ``projects``: there are some,
        which may have quotas and tag rules of their own. ``history`` says how much is kept of what
        tags were.
        """
        quotas = Quotas(store, coordinator, enabled=projects, terms=quota_terms)
        entries, candidates = Entries(store, exact=exact), Candidates(store, terms)
        mounts = Mounts(store, coordinator, memory // 100)
        blobs = Blobs(
            store,
            files,
            coordinator,
            memory * 39 // 100,
            entries,
            candidates,
            terms,
            quotas,
            mounts,
        )
        catalog = Catalog(store, coordinator, entries, memory // 20)
        tags = Tags(
            store, coordinator, catalog, memory * 19 // 100, quotas, exact=exact, history=history
        )
        guards = Guards(store, coordinator, rules, memory // 100, projects=projects)
        referrers = Referrers(store)
        deleted = Deleted(store, candidates, terms)
        deletions = Deletions(store, coordinator, tags, referrers, deleted, quotas, guards, terms)
        enrolment = Enrolment(store, catalog, deletions)
        manifests = Manifests(
            store,
            coordinator,
            blobs,
            tags,
            referrers,
            catalog,
            entries,
            enrolment,
            deleted,
            candidates,
            quotas,
            guards,
            memory=memory * 33 // 100,
            allow_sparse=allow_sparse,
            terms=terms,
        )
        reinstatements = Reinstatements(
            manifests.images, tags, catalog, enrolment, deleted, candidates, quotas, guards, terms
        )
        expiry = Expiry(store, coordinator, deleted, deletions, reinstatements, terms)
        uploads = Uploads(store, coordinator, blobs, terms, quotas)
        pulls = PullHistory(store)
        return cls(
            blobs,
            uploads,
            manifests,
            tags,
            catalog,
            candidates,
            quotas,
            guards,
            pulls,
            terms,
            redirects,
            deleted=deleted,
            deletions=deletions,
            reinstatements=reinstatements,
            expiry=expiry,
            retainer=Retainer(store, expiry, reinstatements, tags, guards, pulls, terms),
            environments=Environments(manifests, tags, blobs, pulls, memory * 3 // 200),
            configs=ImageConfigs(manifests, blobs, memory // 200),
            repositories=Repositories(
                store, deletions, deleted, reinstatements, tags, catalog, guards, quotas, terms
            ),
            standing=Standing(store, entries, terms),
            mounting=Mounting(store, entries, blobs, mounts, quotas, terms),
        )
