"""Who asks: botocore's credentials, refreshed as they run out, and its signatures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final
from urllib.parse import quote

from aiobotocore.session import get_session
from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from storage._s3_settings import S3Settings
from storage.ports import Unavailable

_UNSIGNED: Final = {"client_config": Config(s3={"payload_signing_enabled": False})}
_SIGNED: Final = {"client_config": Config(s3={"payload_signing_enabled": True})}
_UNCOVERED: Final = frozenset(SIGNED_HEADERS_BLACKLIST)


@dataclass(slots=True)
class _Request:
    """What botocore's signatures need of its ``AWSRequest``, with headers in a plain dict."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    context: dict[str, Any]
    params: None = None
    covered: dict[str, str] = field(default_factory=dict)


class _Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signatures, without what it would do anew for each request, or twice.

    That is to derive the day's key, to read the host out of the URL, and to gather the headers.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        super().__init__(credentials, "s3", region)
        self._hosts: dict[str, str] = {}
        self._day = ""
        self._key = b""

    def headers_to_sign(self, request: _Request) -> dict[str, str]:
        if not request.covered:
            covered = {name.lower(): value for name, value in request.headers.items()}
            covered["host"] = self._host(request)
            request.covered = {
                name: covered[name] for name in sorted(covered) if name not in _UNCOVERED
            }
        return request.covered

    def canonical_headers(self, headers_to_sign: Mapping[str, str]) -> str:
        return "\n".join(
            [f"{name}:{' '.join(value.split())}" for name, value in headers_to_sign.items()]
        )

    def signed_headers(self, headers_to_sign: Mapping[str, str]) -> str:
        return ";".join(headers_to_sign)

    def signature(self, string_to_sign: str, request: _Request) -> str:
        day = request.context["timestamp"][:8]
        if day != self._day:
            key = f"AWS4{self.credentials.secret_key}".encode()
            for part in (day, self._region_name, self._service_name, "aws4_request"):
                key = self._sign(key, part)
            self._day, self._key = day, key
        proof: str = self._sign(self._key, string_to_sign, hex=True)
        return proof

    def _host(self, request: _Request) -> str:
        """The host as botocore reads it; of the few bases that URLs have."""
        base = request.url[: request.url.index("/", len("https://"))]
        host = self._hosts.get(base)
        if host is None:
            whole = super().headers_to_sign(AWSRequest(request.method, base))
            host = self._hosts[base] = whole["host"]
        return host


@final
class Signer:
    """Signs requests to one bucket (Signature Version 4)."""

    def __init__(self, region: str, credentials: Any) -> None:
        self.region = region
        self._credentials = credentials
        self._refreshes = hasattr(credentials, "refresh_needed")
        self._auth = _Auth(credentials, region)

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> dict[str, str]:
        """Return the headers with the signature. ``None`` for a body: it is left out of that.

        No header may be there twice, be it in upper and lower case.
        """
        if self._refreshes:
            current = await self._current()
            if current != self._auth.credentials:
                self._auth = _Auth(current, self.region)
        context = dict(_UNSIGNED if body is None else _SIGNED)
        request = _Request(method, url, dict(headers), body or b"", context)
        self._auth.add_auth(request)
        return request.headers

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
