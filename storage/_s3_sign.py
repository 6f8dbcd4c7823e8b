"""Who asks: botocore's credentials, refreshed as they run out, and its signatures."""

from typing import Any, Final, final
from urllib.parse import quote

from aiobotocore.session import get_session
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from storage._s3_settings import S3Settings
from storage.ports import Unavailable

_UNSIGNED: Final = {"client_config": Config(s3={"payload_signing_enabled": False})}
_SIGNED: Final = {"client_config": Config(s3={"payload_signing_enabled": True})}


@final
class Signer:
    """Signs requests to one bucket (Signature Version 4)."""

    def __init__(self, region: str, credentials: Any) -> None:
        self.region = region
        self._credentials = credentials
        self._refreshes = hasattr(credentials, "refresh_needed")
        self._auth = None if self._refreshes else self._for(credentials)

    def _for(self, credentials: Any) -> S3SigV4Auth:
        return S3SigV4Auth(credentials, "s3", self.region)

    async def sign(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> dict[str, str]:
        """Return the headers with the signature. ``None`` for a body: it is left out of that."""
        request = AWSRequest(method, url, headers, body or b"")
        request.context.update(_UNSIGNED if body is None else _SIGNED)
        auth = self._auth or self._for(await self._current())
        auth.add_auth(request)
        return dict(request.headers.items())

    async def presign(self, url: str, query: dict[str, str], seconds: int) -> str:
        """Return the URL with a signature that lets anyone GET it for ``seconds``."""
        if query:
            url += "?" + query_string(query)
        request = AWSRequest("GET", url)
        auth = S3SigV4QueryAuth(await self._current(), "s3", self.region, expires=seconds)
        auth.add_auth(request)
        signed: str = request.url
        return signed

    async def _current(self) -> Any:
        if not self._refreshes:
            return self._credentials
        try:
            return await self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise Unavailable("credentials", f"they can't be refreshed: {error}") from error


def query_string(query: dict[str, str]) -> str:
    """A query as signatures want it: sorted, and escaped."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
    )


async def signer(settings: S3Settings) -> Signer:
    """Find region and credentials. ``Unavailable`` where there are none."""
    session = get_session()
    try:
        region = settings.region or session.get_config_variable("region") or "us-east-1"
        if settings.access_key:
            return Signer(
                region,
                ReadOnlyCredentials(
                    settings.access_key, settings.secret_key, settings.session_token or None
                ),
            )
        found = await session.get_credentials()
    except BotoCoreError as error:
        raise Unavailable("credentials", str(error)) from error
    if found is None:
        raise Unavailable(
            "credentials",
            "none for S3: set storage.s3 access_key and secret_key, or give the process some that "
            "botocore finds (AWS_ACCESS_KEY_ID, a profile, a web identity, an instance's role)",
        )
    return Signer(region, found)
