"""The sections of the configuration, one frozen Struct each.

The description in each annotation is what ``moorage config schema`` prints, and
docs/reference/configuration.md has a row for every field; a test holds the two together.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from registry.config.audit import AuditConfig
from registry.config.auth import AuthConfig
from registry.config.backup import BackupConfig
from registry.config.collection import CollectionConfig
from registry.config.console import ConsoleConfig
from registry.config.environments import EnvironmentsConfig
from registry.config.platform import PlatformConfig
from registry.config.pulls import PullsConfig
from registry.config.quota import QuotaConfig
from registry.config.scrub import ScrubConfig
from registry.config.tags import TagsConfig
from registry.config.tracing import TracingConfig
from registry.config.values import Address, Secret
from registry.config.webhooks import WebhooksConfig
from storage.ports import MAX_VALUE

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Pause = Annotated[float, Meta(ge=0, le=86_400)]


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and how the API is served."""

    addr: Annotated[
        Address, Meta(description="Address of the API, host:port; port 0 takes any free port.")
    ] = field(default_factory=lambda: Address.parse("127.0.0.1:5000"))
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?)?\Z",
            description="Scheme, host and port that clients use; empty: those of each request.",
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Networks of proxies whose X-Forwarded-For is believed; empty: none."),
    ] = ()
    open_to_network: Annotated[
        bool,
        Meta(description="Serve without login on an address that other machines can reach."),
    ] = False
    workers: Annotated[
        int, Meta(ge=1, le=256, description="Processes that serve the port; one for each core.")
    ] = 1
    loop: Annotated[
        Literal["asyncio", "uvloop"], Meta(description="The event loop of each worker.")
    ] = "uvloop"
    backlog: Annotated[
        int, Meta(ge=1, le=65_535, description="Connections that may wait to be accepted.")
    ] = 1024
    max_connections: Annotated[
        int, Meta(ge=1, description="Connections of one worker; one more is answered 503.")
    ] = 8192
    header_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 20, description="Largest request head; a larger one gets 431.")
    ] = 32_768
    head_seconds: Annotated[
        Seconds, Meta(description="Time in which a client must have sent a whole request head.")
    ] = 15.0
    idle_seconds: Annotated[
        Seconds, Meta(description="Time after which an idle keep-alive connection is closed.")
    ] = 75.0
    drain_delay_seconds: Annotated[
        Pause,
        Meta(description="Time to go on accepting after SIGTERM, with /readyz already at 503."),
    ] = 0.0
    drain_seconds: Annotated[
        Pause, Meta(description="Time that running requests get to finish after SIGTERM.")
    ] = 30.0


class TLSConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """HTTPS, when a certificate is given."""

    certificate: Annotated[
        str, Meta(description="PEM file with the certificate and its chain; empty: plain HTTP.")
    ] = ""
    key: Annotated[str, Meta(description="PEM file with the private key.")] = ""
    key_password: Annotated[
        Secret, Meta(description="Password of the private key, if it has one.")
    ] = field(default_factory=Secret)
    client_ca: Annotated[
        str,
        Meta(description="PEM file of authorities for client certificates; empty: none is asked."),
    ] = ""
    handshake_seconds: Annotated[
        Seconds, Meta(description="Time in which a client must have finished the TLS handshake.")
    ] = 10.0
    reload_seconds: Annotated[
        Seconds, Meta(description="How often the files are looked at for a change.")
    ] = 10.0


class S3Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bucket that content is kept in, where ``storage.driver`` is ``s3``."""

    bucket: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?\Z",
            description="Name of the bucket. It must exist.",
        ),
    ] = ""
    create_bucket: Annotated[
        bool, Meta(description="Make the bucket if it is missing: for tests and trials.")
    ] = False
    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/?#@\s]+)?\Z",
            description="URL of the store, https://host:port; empty: Amazon's of the region.",
        ),
    ] = ""
    region: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9-]{0,64}\Z",
            description="Region that requests are signed for; empty: AWS_REGION, or us-east-1.",
        ),
    ] = ""
    prefix: Annotated[
        str,
        Meta(
            max_length=200,
            pattern=r"^([A-Za-z0-9._=-]+/)*\Z",
            description="What every key in the bucket begins with; ends with a slash.",
        ),
    ] = ""
    addressing: Annotated[
        Literal["auto", "path", "virtual"],
        Meta(description="Where the bucket's name stands: in the path, or in the host's name."),
    ] = "auto"
    access_key: Annotated[
        Secret, Meta(description="Access key; without one, botocore looks for credentials.")
    ] = field(default_factory=Secret)
    secret_key: Annotated[Secret, Meta(description="Secret key of the access key.")] = field(
        default_factory=Secret
    )
    session_token: Annotated[
        Secret, Meta(description="Session token, where the keys are temporary ones.")
    ] = field(default_factory=Secret)
    ca_file: Annotated[
        str, Meta(description="PEM file of authorities to trust; empty: the system's.")
    ] = ""
    connections: Annotated[
        int, Meta(ge=4, le=4096, description="Connections to the store that a worker may open.")
    ] = 64
    connect_seconds: Annotated[
        Seconds, Meta(description="Time in which a connection to the store must stand.")
    ] = 3.0
    read_seconds: Annotated[
        Seconds, Meta(description="Time in which the store must send its next byte.")
    ] = 20.0
    total_seconds: Annotated[
        Seconds, Meta(description="Time for one call, all repetitions included; then 503.")
    ] = 60.0
    wait_seconds: Annotated[
        Seconds, Meta(description="Time that a start waits for a store that does not answer.")
    ] = 90.0
    part_bytes: Annotated[
        int,
        # not imported from the driver, which the supervisor of workers does not load
        Meta(ge=5 << 20, le=64 << 20, description="Size of the first parts of content."),
    ] = 8 * 1024 * 1024
    parts_in_flight: Annotated[
        int, Meta(ge=1, le=16, description="Parts of one upload that are sent at a time.")
    ] = 2
    buffer_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 40,
            description="Memory of a worker for parts of all uploads, beyond 7 MiB for each.",
        ),
    ] = 16 * 1024 * 1024
    redirect: Annotated[
        bool, Meta(description="Send clients to the store for large blobs, by presigned URLs.")
    ] = False
    redirect_seconds: Annotated[
        int, Meta(ge=10, le=604_800, description="Time for which a presigned URL is good.")
    ] = 600
    public_endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/?#@\s]+)?\Z",
            description="URL of the store as clients reach it; empty: as the endpoint.",
        ),
    ] = ""


class StorageConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where content is kept."""

    driver: Annotated[
        Literal["filesystem", "s3", "memory"],
        Meta(description="filesystem and s3 keep content; memory forgets it at the end."),
    ] = "filesystem"
    path: Annotated[
        str, Meta(min_length=1, description="Directory of the file-system store; made if missing.")
    ] = ".data"
    s3: S3Config = field(default_factory=S3Config)


class RedisConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The Redis through which replicas coordinate."""

    url: Annotated[
        str,
        Meta(
            description="redis://host:port/0, redis+sentinel://host:port,…/name or "
            "redis+cluster://host:port,…; rediss for TLS."
        ),
    ] = ""
    username: Annotated[str, Meta(description="User of Redis; empty: the default user.")] = ""
    password: Annotated[Secret, Meta(description="Password of that user.")] = field(
        default_factory=Secret
    )
    sentinel_username: Annotated[str, Meta(description="User of the Sentinels.")] = ""
    sentinel_password: Annotated[
        Secret, Meta(description="Password for the Sentinels, if they want one.")
    ] = field(default_factory=Secret)
    ca_file: Annotated[
        str, Meta(description="PEM file of authorities to trust; empty: the system's.")
    ] = ""
    certificate: Annotated[
        str, Meta(description="PEM file with a certificate to show to Redis and the Sentinels.")
    ] = ""
    key: Annotated[str, Meta(description="PEM file with that certificate's private key.")] = ""
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._-]{1,64}\Z",
            description="What every key in Redis begins with, before the store's own number.",
        ),
    ] = "moorage"
    timeout_seconds: Annotated[
        float,
        Meta(gt=0, le=5, description="Time in which Redis must answer; then go on without it."),
    ] = 0.5


class CoordinationConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the processes that serve one store hear of each other's changes."""

    driver: Annotated[
        Literal["auto", "host", "redis"],
        Meta(description="redis: on any machine; host: on this one; auto: redis if it has a URL."),
    ] = "auto"
    redis: RedisConfig = field(default_factory=RedisConfig)


class LimitsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one client may take of the server."""

    manifest_bytes: Annotated[
        int, Meta(ge=65_536, le=MAX_VALUE // 2, description="Largest manifest; above it, 413.")
    ] = 4 * 1024 * 1024
    page: Annotated[
        int, Meta(ge=1, le=10_000, description="Most entries of one page of a list.")
    ] = 1000
    idle_seconds: Annotated[
        Seconds,
        Meta(description="Time without progress after which a body, in or out, is given up."),
    ] = 60.0
    slowest_bytes: Annotated[
        int, Meta(ge=1, description="Bytes that a body must bring in each idle_seconds.")
    ] = 16 * 1024
    allow_sparse: Annotated[
        bool,
        Meta(description="Take manifests whose blobs or child manifests are missing."),
    ] = False


_PerSecond = Annotated[float, Meta(ge=0, le=1_000_000)]
_Burst = Annotated[int, Meta(ge=1, le=10_000_000)]


class RatesConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often one address and one caller may ask."""

    enabled: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="Whether there are limits; auto: where auth.mode is projects."),
    ] = "auto"
    address_per_second: Annotated[
        _PerSecond, Meta(description="Requests of one address in a second, lasting; 0: any number.")
    ] = 500.0
    address_burst: Annotated[
        _Burst, Meta(description="Requests of one address that may come at once.")
    ] = 5000
    principal_per_second: Annotated[
        _PerSecond, Meta(description="Requests of one caller in a second, lasting; 0: any number.")
    ] = 200.0
    principal_burst: Annotated[
        _Burst, Meta(description="Requests of one caller that may come at once.")
    ] = 2000
    management_per_second: Annotated[
        _PerSecond,
        Meta(description="Management calls of one caller in a second, lasting; 0: any number."),
    ] = 20.0
    management_burst: Annotated[
        _Burst, Meta(description="Management calls of one caller that may come at once.")
    ] = 200
    logins: Annotated[
        bool, Meta(description="Let callers wait longer and longer after failed logins.")
    ] = True


class CacheConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a worker remembers of the store, so as not to ask it again."""

    bytes: Annotated[
        int, Meta(ge=0, description="Memory for it in each worker, in bytes; 0: nothing.")
    ] = 32 * 1024 * 1024


class MetricsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prometheus metrics, on a port of their own."""

    addr: Annotated[
        Address | None, Meta(description="Address of /metrics, host:port; none: no metrics.")
    ] = None


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The log of events and the log of requests."""

    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="json for machines, text for people; auto: text on a terminal."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe event that is logged."),
    ] = "info"
    file: Annotated[
        str, Meta(description="File to append to, opened anew on SIGHUP; empty: stderr.")
    ] = ""
    access: Annotated[bool, Meta(description="Log one line for each request.")] = True
    access_file: Annotated[
        str, Meta(description="File for the requests' lines; empty: where events go.")
    ] = ""


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set."""

    server: ServerConfig = field(default_factory=ServerConfig)
    tls: TLSConfig = field(default_factory=TLSConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    coordination: CoordinationConfig = field(default_factory=CoordinationConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    rates: RatesConfig = field(default_factory=RatesConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    quota: QuotaConfig = field(default_factory=QuotaConfig)
    scrub: ScrubConfig = field(default_factory=ScrubConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    tags: TagsConfig = field(default_factory=TagsConfig)
    pulls: PullsConfig = field(default_factory=PullsConfig)
    environments: EnvironmentsConfig = field(default_factory=EnvironmentsConfig)
    webhooks: WebhooksConfig = field(default_factory=WebhooksConfig)
    platform: PlatformConfig = field(default_factory=PlatformConfig)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)
    log: LogConfig = field(default_factory=LogConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
