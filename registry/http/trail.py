"""What requests leave in the audit log: logins, what was denied, and what was changed.

A read that is allowed leaves nothing, and costs nothing here.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp.web import BaseRequest

from auth.access import Tenant
from auth.chain import TooManyAttempts
from auth.credentials import Basic, InvalidCredentials
from auth.identity import ANONYMOUS, Identity, Scheme
from auth.policy import Action, Deny, Verb
from auth.token_service import Granted
from registry.http.answer import Answer
from registry.http.login import credentials_of
from registry.http.observe import RequestRecord
from registry.logs import redact
from registry.service.audit.events import AuditEvent, Happening, Origin, asked_by
from registry.service.audit.journal import Journal
from registry.spec import requests as spec
from registry.spec.digest import Digest
from registry.spec.errors import RegistryError
from registry.spec.names import RepositoryName
from registry.spec.problems import Problem

SAME_LOGIN: Final = 300.0
"""Seconds for which a credential that is shown again, from the same address, is the same login."""

_LOGINS: Final = 4096
_REFUSALS: Final = (RegistryError, Problem, InvalidCredentials, TooManyAttempts)

Change = tuple[Happening, object, dict[str, object]]
"""What happened, what to, and details."""


class Trail:
    """Tells a journal what requests do."""

    def __init__(self, journal: Journal | None = None) -> None:
        """Tell ``journal``; ``None``: nobody is told."""
        self._journal = journal
        self._logins: dict[tuple[str, str, str], float] = {}

    def login(self, record: RequestRecord, identity: Identity) -> None:
        """A request showed a credential that was found good: an event, unless it did just before.

        A token of this registry is none: that it was issued has its event.
        """
        if self._journal is None or identity.scheme is Scheme.NONE or identity.projects is not None:
            return
        now = time.monotonic()
        shown = identity.name, identity.credential, record.remote
        before = self._logins.get(shown)
        if before is not None and now - before < SAME_LOGIN:
            return
        self._logins.pop(shown, None)
        self._logins[shown] = now
        if len(self._logins) > _LOGINS:
            del self._logins[next(iter(self._logins))]
        origin = _origin(record, identity)
        self._tell(Happening.LOGIN_SUCCEEDED, origin, scheme=identity.scheme.value)

    def login_failed(self, record: RequestRecord, account: str, reason: str) -> None:
        """A request showed a credential that was found wrong; ``account`` is whose it said."""
        origin = Origin(redact(account), record.remote, record.request_id)
        self._tell(
            Happening.LOGIN_FAILED, origin, repository=record.repository, reason=redact(reason)
        )

    def denied(self, record: RequestRecord, identity: Identity, action: Action, deny: Deny) -> None:
        """A decision denied something.

        That who has shown nothing yet is asked to log in (``GET /v2/``) is how each login begins.
        """
        if identity.scheme is Scheme.NONE and action.verb is Verb.ENTER:
            return
        self._tell(
            Happening.ACCESS_DENIED,
            _origin(record, identity),
            # Of a project that is not there, the name that was asked for.
            project=deny.tenant.name if deny.tenant else action.concerns,
            tenant=deny.tenant.id if deny.tenant else "",
            repository=action.repository or "",
            subject=action.subject,
            asked=record.action,
            verb=action.verb.value,
            why=deny.why.value,
        )

    def refused(self, record: RequestRecord, identity: Identity, tenant: Tenant | None) -> None:
        """A handler refused what is for others, after the decision."""
        self._tell(
            Happening.ACCESS_DENIED,
            _origin(record, identity),
            **_project(tenant),
            asked=record.action,
            why="role",
        )

    @asynccontextmanager
    async def change(
        self, record: RequestRecord, identity: Identity = ANONYMOUS, tenant: Tenant | None = None
    ) -> AsyncIterator[None]:
        """Make a change inside, and tell of it by ``did``, or let the services tell.

        ``Unavailable`` before it, if it could not be told of. One that breaks off has its event
        too: nobody knows how far it came. In strict mode it ends when the store has its events.
        """
        journal = self._journal
        if journal is None:
            yield
            return
        with journal.room(), asked_by(_origin(record, identity)):
            try:
                yield
            except BaseException as error:
                if not isinstance(error, _REFUSALS) or getattr(error, "status", 400) >= 500:
                    self.did(
                        Happening.CHANGE_BROKEN,
                        tenant,
                        repository=record.repository,
                        subject=record.action,
                        upload=record.upload or None,
                        path=None if record.repository else record.path,
                    )
                raise
            if journal.strict:
                await journal.settled()

    @asynccontextmanager
    async def asking(self, record: RequestRecord) -> AsyncIterator[None]:
        """Tell of what services do inside that this request asked for it."""
        with asked_by(_origin(record, ANONYMOUS)):
            yield

    def issued(self, record: RequestRecord, granted: Granted, asked: Sequence[str]) -> None:
        """A token was issued. It is kept with its project's events, if it is for one alone."""
        one = len(granted.projects) == 1
        tenants = [Tenant(number, name) for name, number in granted.projects.items()]
        self._tell(
            Happening.TOKEN_ISSUED,
            _origin(record, granted.identity),
            **_project(tenants[0] if one else None),
            subject=granted.scopes,
            scheme=granted.identity.scheme.value,
            asked=" ".join(asked) or None,
        )

    def did(
        self,
        what: Happening,
        tenant: Tenant | None = None,
        *,
        repository: str = "",
        subject: object = "",
        **details: object,
    ) -> None:
        """Tell of something that was done inside ``change`` or ``asking``."""
        self._tell(
            what, None, **_project(tenant), repository=repository, subject=subject, **details
        )

    def changed(
        self, request: spec.Request, answer: Answer, record: RequestRecord, tenant: Tenant | None
    ) -> None:
        """Tell of what a request of ``CHANGES`` did, by its answer."""
        for what, subject, details in CHANGES[type(request)](request, answer):
            self.did(
                what, tenant, repository=record.repository, subject=subject or record.upload,
                **details,
            )  # fmt: skip

    def _tell(self, what: Happening, origin: Origin | None, **facts: Any) -> None:
        if self._journal is not None:
            self._journal.record(AuditEvent.of(time.time(), what, origin, **facts))


def claimed(http: BaseRequest) -> str:
    """Whose the credential is, as far as a request says: its user name, else nothing."""
    try:
        shown = credentials_of(http)
    except InvalidCredentials:
        return ""
    return f"user:{shown.username}" if isinstance(shown, Basic) else ""


def _origin(record: RequestRecord, identity: Identity) -> Origin:
    return Origin(identity.name, record.remote, record.request_id, identity.credential)


def _project(tenant: Tenant | None) -> dict[str, str]:
    return {"project": tenant.name, "tenant": tenant.id} if tenant is not None else {}


def _start_upload(request: spec.StartUpload, answer: Answer) -> Iterable[Change]:
    if answer.status != 201:  # a session, of which nothing is stored
        return
    digest = answer.header("Docker-Content-Digest")
    if request.mount is None or request.digest is not None:
        yield Happening.BLOB_PUSHED, digest, {}
    else:
        yield Happening.BLOB_MOUNTED, digest, {"source": _sibling(request)}


def _sibling(request: spec.StartUpload) -> RepositoryName | None:
    """Where it was mounted from, if that is of the same project: members learn of no other."""
    source = request.source
    return source if source and source.project == request.repository.project else None


def _put_manifest(request: spec.PutManifest, answer: Answer) -> Iterable[Change]:
    digest = answer.header("Docker-Content-Digest")
    yield Happening.MANIFEST_PUSHED, digest, {**answer.told}
    named = () if isinstance(request.reference, Digest) else (request.reference,)
    for tag in (*named, *request.tags):
        yield Happening.TAG_PUSHED, tag, {"digest": digest, **answer.told}


def _delete_manifest(request: spec.DeleteManifest, _: Answer) -> Iterable[Change]:
    whole = isinstance(request.reference, Digest)
    what = Happening.MANIFEST_DELETED if whole else Happening.TAG_DELETED
    yield what, request.reference, {}


CHANGES: Final[Mapping[type, Callable[[Any, Answer], Iterable[Change]]]] = {
    spec.StartUpload: _start_upload,
    spec.FinishUpload: lambda request, _: [(Happening.BLOB_PUSHED, request.digest, {})],
    spec.CancelUpload: lambda _, __: [(Happening.UPLOAD_CANCELLED, "", {})],
    spec.DeleteBlob: lambda request, _: [(Happening.BLOB_DELETED, request.digest, {})],
    spec.PutManifest: _put_manifest,
    spec.DeleteManifest: _delete_manifest,
}
"""The requests that change what is stored, and what they did."""
