"""The registry's own API, ``/v2/``: understand a request, decide on it, hand it to its handler."""

from typing import Any, Final

from aiohttp.web import BaseRequest

from auth.identity import ANONYMOUS
from auth.policy import Action, Deny, Verb
from registry.http import blobs, lists, manifests, uploads
from registry.http.answer import Answer
from registry.http.call import Call, Handler, Server
from registry.http.observe import RequestRecord
from registry.spec import requests as spec
from registry.spec.errors import Denied
from registry.spec.names import Place, RepositoryName

_ROUTES: Final[dict[type, tuple[Verb | None, Handler[Any]]]] = {
    spec.Ping: (None, lists.ping),
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


class RegistryApi:
    """Answers every path that no other room takes: what is none of its own is refused."""

    def __init__(self, server: Server) -> None:
        """Serve ``server``'s services."""
        self._server = server

    async def answer(self, http: BaseRequest, record: RequestRecord) -> Answer:
        """See ``Room``."""
        request = spec.parse(record.method, record.path, record.query)
        record.action = request.action
        record.upload = str(getattr(request, "session", ""))[:16]
        repository: RepositoryName | None = getattr(request, "repository", None)
        record.repository = str(repository or "")
        verb, handler = _ROUTES[type(request)]
        place = Place()
        if verb is not None:
            decision = await self._server.policy.decide(ANONYMOUS, Action(verb, repository))
            if isinstance(decision, Deny):
                raise Denied(decision.reason)
            place = decision.place
        return await handler(Call(http, request, ANONYMOUS, place, self._server))
