"""What went wrong, as the client is told of it: one mapping for every room."""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from registry.spec.errors import Internal, RegistryError, Unavailable, UploadInvalid
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import AlreadyExists, PreconditionFailed
from storage.ports import Unavailable as StoreUnavailable

_log = logging.getLogger("moorage.http")


def refused(error: Exception, request_id: str) -> RegistryError | None:
    """Return what the client is told, and log what it is not.

    ``None`` for what is no answer but the end of the connection, and has to be raised again.
    """
    match error:
        case RegistryError():
            return error
        case StoreUnavailable() | CoordinationUnavailable():
            _log.warning("request %s: %s", request_id, error)
            return Unavailable(5)
        case LeaseHeld() | AlreadyExists() | PreconditionFailed():
            # Another writer has it, or took it over from one that was thought dead.
            _log.info("request %s: %s", request_id, error)
            return Unavailable(1)
        case HttpProcessingError():
            return UploadInvalid(f"the body is no HTTP: {error.message}")
        case ConnectionError() | HTTPException():
            return None
    _log.error("request %s failed", request_id, exc_info=error)
    return Internal(request_id)
