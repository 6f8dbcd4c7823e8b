"""What the S3 driver is told: where the bucket is, who asks, and how much it may take."""

from dataclasses import dataclass, field
from typing import Literal, final
from urllib.parse import quote

from storage._s3_plan import PartPlan

ADDRESSING = ("auto", "path", "virtual")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """One bucket, or what is below ``prefix`` in it. Times are in seconds."""

    bucket: str
    endpoint: str = ""
    """``http(s)://host[:port]``; empty: Amazon's endpoint of the region."""

    region: str = ""
    """Empty: what botocore's configuration says, else ``us-east-1``."""

    prefix: str = ""
    """What every key begins with; empty, or ends with ``/``."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Whether the bucket stands in the path or in the host; auto: in the path at an endpoint."""

    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    """All empty: botocore's own chain (environment, files, web identity, container, instance)."""

    ca_file: str = ""
    """PEM file of the authorities that may vouch for the endpoint; empty: the system's."""

    connections: int = 64
    """Connections to the store, at most; a call that finds none free waits."""

    connect_seconds: float = 3.0
    """For a connection to stand."""

    read_seconds: float = 20.0
    """For the store to take the next bytes of a request, and to send the next of its answer."""

    total_seconds: float = 60.0
    """For one call with all its repetitions, but the bytes of a download."""

    parts: PartPlan = field(default_factory=PartPlan)
    """How content is cut into parts."""

    buffer_bytes: int = 16 * 1024 * 1024
    """What all uploads may hold together, beyond one part of the smallest size for each."""

    public_endpoint: str = ""
    """The endpoint in presigned URLs, as clients reach it; empty: ``endpoint``."""

    def base_url(self, region: str, endpoint: str = "") -> str:
        """The URL that keys are appended to, ending in ``/``, at this endpoint."""
        endpoint = (endpoint or self.endpoint).rstrip("/")
        inside = self.addressing == "virtual"
        if not endpoint:
            endpoint = f"https://s3.{region}.amazonaws.com"
            # a dot in the bucket's name breaks the endpoint's certificate
            inside = self.addressing != "path" and "." not in self.bucket
        if inside:
            scheme, _, rest = endpoint.partition("://")
            endpoint = f"{scheme}://{self.bucket}.{rest}"
        else:
            endpoint = f"{endpoint}/{self.bucket}"
        return f"{endpoint}/{escaped(self.prefix)}"


def escaped(key: str) -> str:
    """The key as it stands in a URL and in what is signed."""
    return quote(key, safe="/~")
