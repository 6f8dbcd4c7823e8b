"""The composition root's part for logins: keys, tokens, authenticators, the token service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp

from auth import keyring
from auth.authenticators.certificates import ClientCertificates
from auth.authenticators.hopsworks import PlatformUsers
from auth.authenticators.htpasswd import HtpasswdUsers
from auth.authenticators.issued import (
    ClaimsReader,
    IssuedTokens,
    ServiceAccounts,
    Trust,
    UserClaims,
)
from auth.authenticators.ldap import DirectoryUsers
from auth.authenticators.local import LocalAccounts, LocalCredentials
from auth.browser_sessions import BrowserSessions
from auth.chain import Attempts, Authenticator, Chain
from auth.challenge import Challenges
from auth.fetch import HttpFetch
from auth.identity import Kind
from auth.issuers import FileKeys, IssuerKeys, PublishedKeys, TrustedIssuer
from auth.keyring import KeptKeys, KeyFiles, KeyRing
from auth.ldap_servers import Servers
from auth.passwords import Passwords
from auth.platform import Platform
from auth.policy import Policy
from auth.rules import Rule, Rules, pattern
from auth.standing import StandingOf
from auth.token_service import OfflineTokens, TokenService
from auth.tokens import GRACE, LEEWAY, TokenIssuer, TokenVerifier
from registry.backend import Backend
from registry.background import beside
from registry.config import AuthConfig, Config
from registry.config.auth import (
    HopsworksConfig,
    KubernetesConfig,
    LdapConfig,
    OIDCConfig,
    RuleConfig,
    TokenConfig,
    WorkloadConfig,
)
from registry.http.console.login import Entrance
from registry.http.limits import Limits
from registry.http.login import Login
from registry.http.token import TokenEndpoint
from registry.http.trail import Trail
from registry.service.signing_keys import SigningKeys
from storage.ports import ObjectStore

_DAY: Final = 86_400

_Reload = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What logins need to know of projects and accounts."""

    policy: Policy
    local: LocalCredentials
    standing: StandingOf
    offline: OfflineTokens


@dataclass(frozen=True, slots=True)
class Logins:
    """How requests are told apart, where tokens are had, and where browsers log in."""

    login: Login
    tokens: TokenEndpoint
    entrance: Entrance


@contextlib.asynccontextmanager
async def opened(
    config: Config,
    backend: Backend,
    accounts: Accounts,
    passwords: Passwords,
    limits: Limits,
    attempts: Attempts | None = None,
    trail: Trail | None = None,
) -> AsyncIterator[Logins]:
    """Read the keys and the files, and keep them up to date as long as the context is open.

    ``KeyUnusable`` or ``HtpasswdError`` where a file that the configuration names can't be used.
    """
    auth = config.auth
    ring = _ring(auth.token, backend.store)
    await ring.reload()
    async with contextlib.AsyncExitStack() as stack:
        outside = _Outside(backend.traces("issuer"))
        stack.push_async_callback(outside.close)
        chain = Chain(_authenticators(auth, accounts.local, passwords, outside), attempts)
        challenges = Challenges(
            auth.token.service,
            public=config.server.public_url,
            basic=auth.token.offer_basic,
            elsewhere=auth.token.realm,
        )
        issuer, name = auth.token.issuer, auth.token.service
        service = TokenService(
            chain,
            accounts.policy,
            TokenIssuer(ring.current, issuer=issuer, service=name, seconds=auth.token.seconds),
            service=name,
            offline=accounts.offline if auth.token.offline else None,
            standing=accounts.standing,
        )
        verifier = TokenVerifier(ring.current, issuer=issuer, service=name, most_seconds=_DAY)
        watching = (
            keyring.watch(ring, auth.token.reload_seconds),
            _reload(outside.reloads, auth.token.reload_seconds),
        )
        await stack.enter_async_context(beside(*watching))
        yield Logins(
            Login(chain, verifier, challenges),
            TokenEndpoint(service, challenges, ring.current, limits, trail or Trail()),
            Entrance(
                chain,
                accounts.standing,
                BrowserSessions(
                    ring.current, issuer=issuer, seconds=config.console.session_seconds
                ),
                config.server.public_url,
            ),
        )


def _ring(token: TokenConfig, store: ObjectStore) -> KeyRing:
    if token.keys:
        return KeyFiles([Path(file) for file in token.keys], token.key_password.reveal())
    return kept_keys(token, store)


def kept_keys(token: TokenConfig, store: ObjectStore) -> KeptKeys:
    """Return the keys that the registry keeps in ``store``."""
    return KeptKeys(
        SigningKeys(store),
        algorithm=token.algorithm,
        rotate_seconds=token.rotate_days * _DAY,
        # Longer than any token that it signed can be of use, even to finish an upload.
        verify_seconds=_DAY + GRACE + LEEWAY,
        password=token.key_password.reveal(),
    )


class _Outside:
    """What authenticators look at beside the store: files, and addresses of other issuers."""

    def __init__(self, traces: Sequence[aiohttp.TraceConfig]) -> None:
        self._traces = traces
        self.reloads: list[_Reload] = []
        self.closing: list[Callable[[], None]] = []
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Return the one client session; it is made when it is first needed."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=16, force_close=True),
                trace_configs=list(self._traces),
            )
        return self._session

    async def close(self) -> None:
        for close in self.closing:
            close()
        if self._session is not None:
            await self._session.close()


def _authenticators(
    auth: AuthConfig, local: LocalCredentials, passwords: Passwords, outside: _Outside
) -> Sequence[Authenticator]:
    chain: list[Authenticator] = []
    if auth.certificates.rules:
        certificates = auth.certificates
        chain.append(ClientCertificates(_rules(certificates.prefix, certificates.rules)))
    trusts = _trusts(auth, outside)
    if trusts:
        chain.append(IssuedTokens(trusts))
    if auth.hopsworks.url:
        chain.append(_platform_users(auth.hopsworks, outside))
    if auth.htpasswd:
        users = HtpasswdUsers(Path(auth.htpasswd), passwords)
        outside.reloads.append(users.reload)
        chain.append(users)
    if auth.ldap.url:
        chain.append(_directory_users(auth.ldap, outside))
    return [*chain, LocalAccounts(local)]


def _platform_users(config: HopsworksConfig, outside: _Outside) -> PlatformUsers:
    fetch = HttpFetch(
        outside.session,
        ca_file=Path(config.ca_file) if config.ca_file else None,
        plain_http=config.plain_http,
        seconds=config.timeout_seconds,
    )
    return PlatformUsers(
        Platform(config.url, fetch.ask),
        issuer=config.issuer,
        prefix=config.prefix,
        fresh=config.cache_seconds,
        grace=config.grace_seconds,
    )


def _directory_users(config: LdapConfig, outside: _Outside) -> DirectoryUsers:
    from auth.ldap import Directory, DirectoryTerms  # noqa: PLC0415  a large library, seldom needed

    first = DirectoryTerms(
        config.url,
        start_tls=config.start_tls,
        ca_file=Path(config.ca_file) if config.ca_file else None,
        bind_dn=config.bind_dn,
        password_file=Path(config.bind_password_file) if config.bind_password_file else None,
        base=config.base,
        user_filter=config.user_filter,
        user_dn=config.user_dn,
        name_attribute=config.name_attribute,
        group_base=config.group_base or config.base,
        group_filter=config.group_filter,
        group_attribute=config.group_attribute,
        seconds=config.timeout_seconds,
    )
    servers = [
        Directory(replace(first, url=url), threads=config.connections)
        for url in (config.url, *config.others)
    ]
    outside.closing += [server.close for server in servers]
    return DirectoryUsers(
        Servers(servers),
        prefix=config.prefix,
        fresh=config.cache_seconds,
        grace=config.grace_seconds,
        at_once=config.connections,
        only=[pattern(text) for text in config.groups],
    )


def _trusts(auth: AuthConfig, outside: _Outside) -> list[Trust]:
    found = []
    for name, oidc in auth.oidc.items():
        users = UserClaims(
            _prefix(oidc.prefix, name),
            username=oidc.username_claim,
            groups=oidc.groups_claim,
            only=[pattern(text) for text in oidc.groups],
        )
        found.append(_trust(f"oidc/{name}", oidc, users, outside))
    for name, workload in auth.workload.items():
        rules = _rules(_prefix(workload.prefix, name), workload.rules)
        found.append(_trust(f"workload/{name}", workload, rules, outside))
    for name, cluster in auth.kubernetes.items():
        rules = _rules(_prefix(cluster.prefix, name), cluster.rules or _EVERY_ACCOUNT)
        found.append(_trust(f"kubernetes/{name}", cluster, ServiceAccounts(rules), outside))
    return found


_EVERY_ACCOUNT: Final = (
    RuleConfig(match={"sub": "**"}, name="{namespace}/{serviceaccount}", groups=("{namespace}",)),
)
"""Without rules, a service account goes by its own name, and is in a group of its namespace."""


def _trust(
    name: str,
    config: OIDCConfig | WorkloadConfig | KubernetesConfig,
    reader: ClaimsReader,
    outside: _Outside,
) -> Trust:
    keys = _issuer_keys(config, outside)
    issuer = TrustedIssuer(
        config.issuer, config.audiences, keys, longest_seconds=config.longest_seconds
    )
    return Trust(name, issuer, reader)


def _issuer_keys(
    config: OIDCConfig | WorkloadConfig | KubernetesConfig, outside: _Outside
) -> IssuerKeys:
    if config.jwks_file:
        keys = FileKeys(Path(config.jwks_file))
        outside.reloads.append(keys.reload)
        return keys
    token_file = config.token_file if isinstance(config, KubernetesConfig) else ""
    fetch = HttpFetch(
        outside.session,
        ca_file=Path(config.ca_file) if config.ca_file else None,
        token_file=Path(token_file) if token_file else None,
        plain_http=config.plain_http,
    )
    return PublishedKeys(config.issuer, fetch, jwks_url=config.jwks_url)


def _prefix(configured: str | None, name: str) -> str:
    return f"{name}/" if configured is None else configured


def _rules(prefix: str, rules: Sequence[RuleConfig]) -> Rules:
    return Rules(
        prefix,
        [
            Rule.of(rule.match, rule.name, rule.groups, rule.scopes, Kind(rule.kind))
            for rule in rules
        ],
    )


async def _reload(reloads: Sequence[_Reload], seconds: float) -> None:
    """Look at every file again and again, until cancelled. What goes wrong is logged there."""
    while True:
        await asyncio.sleep(seconds)
        for reload in reloads:
            await reload()
