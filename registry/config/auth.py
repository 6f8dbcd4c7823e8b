"""The sections about logins: who is let in, by which credentials, and what tokens are like."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from registry.config.values import Secret

_Prefix = Annotated[
    Annotated[str, Meta(pattern=r"^[!-~]{0,64}\Z")] | None,
    Meta(description="What its names and groups begin with; none: the section's name and a slash."),
]
_Issuer = Annotated[
    str,
    Meta(
        pattern=r"^(https?://[!-~]+)?\Z",
        description="URL of the issuer, letter by letter as its tokens have it.",
    ),
]
_Audiences = Annotated[
    tuple[str, ...],
    Meta(description="Audiences of which a token must name one: this registry."),
]
_JwksUrl = Annotated[
    str, Meta(description="Where its keys are; empty: where its discovery document says.")
]
_JwksFile = Annotated[
    str, Meta(description="File with its keys, for an issuer that can't be asked.")
]
_CaFile = Annotated[str, Meta(description="PEM file of authorities to trust; empty: the system's.")]
_PlainHttp = Annotated[bool, Meta(description="Fetch its keys without TLS.")]
_Longest = Annotated[
    float,
    Meta(gt=0, le=366 * 86_400, description="Longest time that a token of its may have to live."),
]

_ATTRIBUTE = r"^[A-Za-z][A-Za-z0-9-]{0,63}\Z"


class TokenConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tokens that this registry issues."""

    service: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._:-]{1,128}\Z",
            description="Name of the service that tokens are for: their audience.",
        ),
    ] = "moorage"
    issuer: Annotated[
        str,
        Meta(pattern=r"^[!-~]{1,256}\Z", description="Name or URL of who issues them."),
    ] = "moorage"
    realm: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/[A-Za-z0-9._/-]*)?\Z",
            description="URL of a token service elsewhere; empty: the registry's own.",
        ),
    ] = ""
    seconds: Annotated[
        int, Meta(ge=60, le=86_400, description="Time for which a token is good.")
    ] = 900
    algorithm: Annotated[
        Literal["ES256", "RS256", "EdDSA"],
        Meta(description="What tokens are signed with, by keys that the registry makes."),
    ] = "ES256"
    rotate_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which a signing key gets a successor.")
    ] = 30
    keys: Annotated[
        tuple[str, ...],
        Meta(description="PEM files with signing keys: the first signs, all verify."),
    ] = ()
    key_password: Annotated[
        Secret, Meta(description="Password of the signing keys, in files and in the store.")
    ] = field(default_factory=Secret)
    reload_seconds: Annotated[
        float, Meta(gt=0, le=3600, description="How often is looked for changed signing keys.")
    ] = 30.0
    offline: Annotated[
        bool, Meta(description="Give refresh tokens to clients that ask for them.")
    ] = True
    offline_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days without use after which a refresh token ends.")
    ] = 90
    offer_basic: Annotated[
        bool, Meta(description="Offer the Basic scheme too, after Bearer, where a login is needed.")
    ] = False


class RuleConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is let in, and as whom."""

    match: Annotated[
        dict[str, str], Meta(description="What claims must be: patterns of whole values.")
    ]
    name: Annotated[
        str, Meta(min_length=1, description="The name that it gets; claims may stand in braces.")
    ]
    groups: Annotated[
        tuple[str, ...], Meta(description="Groups that it is in; claims may stand in braces.")
    ] = ()
    scopes: Annotated[
        str, Meta(description="The most that it may do, as scopes; empty: what its roles give.")
    ] = ""
    kind: Annotated[
        Literal["workload", "user"], Meta(description="Whether it is a workload or a person.")
    ] = "workload"


class OIDCConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An identity provider of people (OpenID Connect)."""

    issuer: _Issuer = ""
    audiences: _Audiences = ()
    username_claim: Annotated[str, Meta(description="The claim that is a user's name.")] = "sub"
    groups_claim: Annotated[
        str, Meta(description="The claim that lists a user's groups, or the way to it, with dots.")
    ] = "groups"
    groups: Annotated[
        tuple[str, ...], Meta(description="Patterns of groups that count; empty: all.")
    ] = ()
    prefix: _Prefix = None
    jwks_url: _JwksUrl = ""
    jwks_file: _JwksFile = ""
    ca_file: _CaFile = ""
    plain_http: _PlainHttp = False
    longest_seconds: _Longest = 86_400.0


class WorkloadConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An issuer of tokens to workloads, such as a CI system."""

    issuer: _Issuer = ""
    audiences: _Audiences = ()
    rules: tuple[RuleConfig, ...] = ()
    prefix: _Prefix = None
    jwks_url: _JwksUrl = ""
    jwks_file: _JwksFile = ""
    ca_file: _CaFile = ""
    plain_http: _PlainHttp = False
    longest_seconds: _Longest = 86_400.0


class KubernetesConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A Kubernetes cluster whose service accounts are let in."""

    issuer: _Issuer = ""
    audiences: _Audiences = ()
    rules: tuple[RuleConfig, ...] = ()
    prefix: _Prefix = None
    jwks_url: _JwksUrl = "https://kubernetes.default.svc/openid/v1/jwks"
    jwks_file: _JwksFile = ""
    ca_file: _CaFile = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    token_file: Annotated[
        str, Meta(description="File with the token that the cluster is asked with; empty: none.")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  a path
    plain_http: _PlainHttp = False
    longest_seconds: _Longest = 86_400.0


class HopsworksConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A Hopsworks platform whose users are let in, by its API keys and its tokens."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[!-~]+)?\Z",
            description="Where its API is: https://<host>/hopsworks-api/api; empty: there is none.",
        ),
    ] = ""
    issuer: Annotated[
        str, Meta(pattern=r"^[!-~]{1,256}\Z", description="What its tokens have in iss.")
    ] = "hopsworks@logicalclocks.com"
    prefix: Annotated[
        str,
        Meta(pattern=r"^[!-~]{0,64}\Z", description="What their names and groups begin with."),
    ] = "hopsworks/"
    ca_file: _CaFile = ""
    plain_http: Annotated[bool, Meta(description="Ask it without TLS.")] = False
    cache_seconds: Annotated[
        float, Meta(ge=0, le=600, description="Time for which what it said counts.")
    ] = 60.0
    grace_seconds: Annotated[
        float,
        Meta(ge=0, le=86_400, description="The same for reading, where it does not answer."),
    ] = 900.0
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Time in which it must answer.")
    ] = 5.0


_LDAP_URL = r"ldaps?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"


class LdapConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A directory (LDAP) whose users are let in, by the passwords that they have there."""

    url: Annotated[
        str,
        Meta(
            pattern=rf"^({_LDAP_URL})?\Z",
            description="Where it is: ldaps://<host>; empty: there is none.",
        ),
    ] = ""
    others: Annotated[
        tuple[Annotated[str, Meta(pattern=rf"^{_LDAP_URL}\Z")], ...],
        Meta(
            max_length=8,
            description="More servers of the same directory, for when the first does not answer.",
        ),
    ] = ()
    start_tls: Annotated[bool, Meta(description="Begin TLS within an ldap:// connection.")] = False
    ca_file: _CaFile = ""
    plain: Annotated[bool, Meta(description="Show it passwords without TLS.")] = False
    bind_dn: Annotated[
        str, Meta(max_length=1024, description="The account that searches; empty: nobody.")
    ] = ""
    bind_password_file: Annotated[str, Meta(description="File with the password of bind_dn.")] = ""
    base: Annotated[str, Meta(max_length=1024, description="Entry below which users are.")] = ""
    user_filter: Annotated[
        str, Meta(max_length=1024, description="Filter that finds {username}.")
    ] = "(&(objectClass=person)(uid={username}))"
    user_dn: Annotated[
        str, Meta(max_length=1024, description="Entry of {username}; empty: it is searched for.")
    ] = ""
    name_attribute: Annotated[
        str, Meta(pattern=_ATTRIBUTE, description="The attribute that is a user's name.")
    ] = "uid"
    group_base: Annotated[
        str, Meta(max_length=1024, description="Entry below which groups are; empty: base.")
    ] = ""
    group_filter: Annotated[
        str,
        Meta(max_length=1024, description="Filter that finds groups of {dn} or {username}."),
    ] = "(&(objectClass=groupOfNames)(member={dn}))"
    group_attribute: Annotated[
        str, Meta(pattern=_ATTRIBUTE, description="The attribute that is a group's name.")
    ] = "cn"
    groups: Annotated[
        tuple[str, ...], Meta(description="Patterns of groups that count; empty: all.")
    ] = ()
    prefix: Annotated[
        str,
        Meta(pattern=r"^[!-~]{0,64}\Z", description="What their names and groups begin with."),
    ] = "ldap/"
    connections: Annotated[
        int, Meta(ge=1, le=64, description="Most logins that each process asks about at once.")
    ] = 4
    cache_seconds: Annotated[
        float, Meta(ge=0, le=600, description="Time for which what it said counts.")
    ] = 60.0
    grace_seconds: Annotated[
        float,
        Meta(ge=0, le=86_400, description="The same for reading, where it does not answer."),
    ] = 900.0
    timeout_seconds: Annotated[
        int, Meta(ge=1, le=60, description="Time in which it must answer each question.")
    ] = 5


class CertificatesConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Client certificates, where ``tls.client_ca`` asks for them."""

    rules: tuple[RuleConfig, ...] = ()
    prefix: Annotated[
        str,
        Meta(pattern=r"^[!-~]{0,64}\Z", description="What their names and groups begin with."),
    ] = "certificate/"


class AuthConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is let in."""

    mode: Annotated[
        Literal["open", "projects"],
        Meta(description="open: no login, anyone may do all; projects: logins, roles, projects."),
    ] = "open"
    bootstrap_secret: Annotated[
        Secret,
        Meta(description="Secret by which the first administrator is made, once; empty: no way."),
    ] = field(default_factory=Secret)
    users_create: Annotated[
        bool, Meta(description="Let every user create projects, not only administrators.")
    ] = False
    htpasswd: Annotated[
        str, Meta(description="File of users, as htpasswd -B writes it; empty: none.")
    ] = ""
    token: TokenConfig = field(default_factory=TokenConfig)
    oidc: dict[str, OIDCConfig] = {}
    workload: dict[str, WorkloadConfig] = {}
    kubernetes: dict[str, KubernetesConfig] = {}
    hopsworks: HopsworksConfig = field(default_factory=HopsworksConfig)
    ldap: LdapConfig = field(default_factory=LdapConfig)
    certificates: CertificatesConfig = field(default_factory=CertificatesConfig)
