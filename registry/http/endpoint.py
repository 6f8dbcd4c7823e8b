"""Every request's way: understand it, decide on it, handle it, account for it."""

import itertools
import logging
import secrets
import time
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import BaseRequest, StreamResponse
from aiohttp.web_exceptions import HTTPException

from auth.identity import ANONYMOUS
from auth.policy import Action, Deny, Verb
from registry.http import blobs, lists, manifests, uploads
from registry.http.answer import Answer
from registry.http.call import Call, Handler, Server
from registry.http.health import Health
from registry.http.observe import Observer, RequestRecord
from registry.spec import requests as spec
from registry.spec.errors import (
    Denied,
    Internal,
    RegistryError,
    Unavailable,
    UploadInvalid,
    encode,
)
from registry.spec.names import Place, RepositoryName
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import AlreadyExists, PreconditionFailed
from storage.ports import Unavailable as StoreUnavailable

_log = logging.getLogger("moorage.http")

CLIENT_GONE = 499
"""What the access log says where the client left before its answer."""

_ROUTES: dict[type, tuple[Verb | None, Handler[Any]]] = {
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


class Endpoint:
    """Answers all requests of one process."""

    def __init__(self, server: Server, health: Health, observer: Observer) -> None:
        """Serve ``server``'s services; tell ``observer`` of each request once."""
        self._server = server
        self._health = health
        self._observer = observer
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, http: BaseRequest) -> StreamResponse:
        """Answer one request. Whatever happens, the client gets the API's JSON or a cut line."""
        began = time.perf_counter()
        path, _, query = http.raw_path.partition("?")
        record = RequestRecord(
            request_id=f"{self._prefix}-{next(self._numbers):x}",
            method=http.method,
            path=path,
            query=query,
            remote=http.remote or "",
            user_agent=http.headers.get("User-Agent", ""),
            principal=ANONYMOUS.name,
            status=CLIENT_GONE,
        )
        self._observer.started()
        try:
            answer = await self._answer(http, record)
            record.status = answer.status
            record.sent = answer.sent(http)
        finally:
            record.time = time.time()
            record.seconds = time.perf_counter() - began
            record.received = http.content.total_bytes
            self._observer.finished(record)
        return answer

    async def _answer(self, http: BaseRequest, record: RequestRecord) -> Answer:
        try:
            answer = await self._health.answer(http, record.path)
            if answer is None:
                answer = await self._dispatch(http, record)
        except RegistryError as error:
            return _refusal(error, record)
        except (StoreUnavailable, CoordinationUnavailable) as error:
            _log.warning("request %s: %s", record.request_id, error)
            return _refusal(Unavailable(5), record)
        except (LeaseHeld, AlreadyExists, PreconditionFailed) as error:
            # Another writer has it, or took it over from one that was thought dead.
            _log.info("request %s: %s", record.request_id, error)
            return _refusal(Unavailable(1), record)
        except HttpProcessingError as error:
            return _refusal(UploadInvalid(f"the body is no HTTP: {error.message}"), record)
        except (ConnectionError, HTTPException):
            raise
        except Exception:  # noqa: BLE001 -- a defect is answered and logged, whatever it is
            _log.exception("request %s failed", record.request_id)
            return _refusal(Internal(record.request_id), record)
        return answer

    async def _dispatch(self, http: BaseRequest, record: RequestRecord) -> Answer:
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


def _refusal(error: RegistryError, record: RequestRecord) -> Answer:
    record.code = error.code
    headers = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", record.request_id),
        *error.lines(),
    ]
    return Answer(error.status, headers, encode(error))
