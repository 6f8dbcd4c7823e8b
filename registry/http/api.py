"""The registry's own API, ``/v2/``: understand a request, decide on it, hand it to its handler."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp.web import BaseRequest

from auth.policy import Action, Deny, Verb
from registry.http import blobs, lists, manifests, uploads
from registry.http.answer import Answer
from registry.http.call import Call, Handler, Server
from registry.http.observe import RequestRecord
from registry.http.trail import CHANGES, claimed
from registry.spec import requests as spec
from registry.spec.errors import Unauthorized
from registry.spec.names import RepositoryName

ROUTES: Final[Mapping[type, tuple[Verb, Handler[Any]]]] = {
    spec.Ping: (Verb.ENTER, lists.ping),
    spec.GetBlob: (Verb.PULL, blobs.get_blob),
    spec.DeleteBlob: (Verb.DELETE, blobs.delete_blob),
    spec.StartUpload: (Verb.PUSH, uploads.start_upload),
    spec.GetUpload: (Verb.PUSH, uploads.get_upload),
    spec.AppendUpload: (Verb.PUSH, uploads.append_upload),
    spec.FinishUpload: (Verb.PUSH, uploads.finish_upload),
    # Clients cancel what they began with the right to push only (containers/image does).
    spec.CancelUpload: (Verb.PUSH, uploads.cancel_upload),
    spec.GetManifest: (Verb.PULL, manifests.get_manifest),
    spec.PutManifest: (Verb.PUSH, manifests.put_manifest),
    spec.DeleteManifest: (Verb.DELETE, manifests.delete_manifest),
    spec.ListReferrers: (Verb.PULL, manifests.list_referrers),
    spec.ListTags: (Verb.PULL, lists.list_tags),
    spec.ListRepositories: (Verb.CATALOG, lists.list_repositories),
}
"""What the caller of each request must be allowed, and who handles it."""

_SHOWN: Final = 16
"""Characters of a session's id that logs have: they tell sessions apart, and are no proof of it."""


class RegistryApi:
    """Answers the paths below ``/v2``."""

    def __init__(self, server: Server) -> None:
        """Serve ``server``'s services."""
        self._server = server

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer | None:
        """See ``Room``. What begins like one of its paths and is none is refused."""
        if not record.path.startswith("/v2"):
            return None
        request = spec.parse(record.method, record.path, record.query)
        record.action = request.action
        record.upload = str(getattr(request, "session", ""))[:_SHOWN]
        repository: RepositoryName | None = getattr(request, "repository", None)
        record.repository = str(repository or "")
        verb, handler = ROUTES[type(request)]
        server = self._server
        try:
            identity = await server.gate.identify(http, request, verb)
        except Unauthorized as error:
            server.trail.login_failed(record, claimed(http), error.message)
            raise
        record.principal = identity.name
        server.trail.login(record, identity)
        if server.throttle is not None:
            await server.throttle.principal(identity, record)
        action = Action(verb, repository, address=record.remote)
        view = server.view(repository, identity, record.remote)
        if view is None:
            decision = await server.policy.decide(identity, action)
        else:
            decision = await view.decide(verb, request)
        if isinstance(decision, Deny):
            server.trail.denied(record, identity, action, decision)
            raise server.gate.refuse(http, identity, action, decision)
        call = Call(http, request, identity, decision.place, server, record, decision.role, view)
        if type(request) not in CHANGES:
            return await handler(call)
        async with server.trail.change(record, identity, decision.tenant):
            answer = await handler(call)
            record.upload = record.upload or answer.header("Docker-Upload-UUID")[:_SHOWN]
            server.trail.changed(request, answer, record, decision.tenant)
        return answer
