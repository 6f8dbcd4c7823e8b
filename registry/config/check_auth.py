"""What must hold between the settings about logins."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from auth.urls import is_protected
from registry.config.auth import (
    AuthConfig,
    KubernetesConfig,
    OIDCConfig,
    RuleConfig,
    WorkloadConfig,
)
from registry.config.check_ldap import check_ldap
from registry.config.errors import error
from registry.config.sections import Config
from registry.spec.errors import NameInvalid
from registry.spec.names import RepositoryName

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)

_SHORTEST_SECRET: Final = 16

_Issuer = OIDCConfig | WorkloadConfig | KubernetesConfig


def check_auth(config: Config) -> None:
    """Raise ``ConfigError`` on the first thing that does not fit together."""
    auth = config.auth
    issuers = dict(_issuers(auth))
    rules = auth.certificates.rules
    platform = auth.hopsworks.url
    outside = (auth.htpasswd, issuers, rules, platform, auth.ldap.url)
    if auth.mode == "open" and any(outside):
        raise error("auth.mode", 'where nobody is asked to log in, this does nothing: "projects"')
    if 0 < len(auth.bootstrap_secret.reveal()) < _SHORTEST_SECRET:
        raise error(
            "auth.bootstrap_secret", f"it can be guessed: use {_SHORTEST_SECRET} characters or more"
        )
    for place, issuer in issuers.items():
        _check_issuer(place, issuer)
    if platform and not (auth.hopsworks.plain_http or is_protected(platform)):
        raise error(
            "auth.hopsworks.url", f"{platform} would get keys without TLS: plain_http allows it"
        )
    if auth.ldap.url:
        check_ldap(auth.ldap)
    _check_platform(config)
    if rules and not config.tls.client_ca:
        raise error("auth.certificates", "no client shows a certificate without tls.client_ca")
    if rules:
        _check_rules("auth.certificates", rules)


def _check_platform(config: Config) -> None:
    platform = config.platform
    secret = len(platform.events_secret.reveal())
    if platform.service and config.auth.mode == "open":
        raise error(
            "platform.service", 'where there are no projects, this does nothing: "projects"'
        )
    if platform.shared_repository:
        _check_shared(config)
    if 0 < secret < _SHORTEST_SECRET:
        raise error(
            "platform.events_secret",
            f"it can be guessed: use {_SHORTEST_SECRET} characters or more",
        )
    if secret and not platform.service:
        raise error(
            "platform.service", "events are done in its name: give the platform's principal"
        )


def _check_shared(config: Config) -> None:
    place = "platform.shared_repository"
    if config.auth.mode == "open":
        raise error(place, 'where there are no projects, this does nothing: "projects"')
    try:
        RepositoryName.parse(config.platform.shared_repository)
    except NameInvalid as problem:
        raise error(place, problem.message) from None


def _issuers(auth: AuthConfig) -> Iterable[tuple[str, _Issuer]]:
    sections: Mapping[str, Mapping[str, _Issuer]] = {
        "oidc": auth.oidc,
        "workload": auth.workload,
        "kubernetes": auth.kubernetes,
    }
    for section, found in sections.items():
        for name, issuer in found.items():
            if _NAME.fullmatch(name) is None:
                raise error(
                    f"auth.{section}", f"the name {name!r} needs lower-case letters and digits only"
                )
            yield f"auth.{section}.{name}", issuer


def _check_issuer(place: str, issuer: _Issuer) -> None:
    if not issuer.issuer or not issuer.audiences:
        raise error(place, "issuer and audiences must be given")
    if not isinstance(issuer, KubernetesConfig) and issuer.jwks_url and issuer.jwks_file:
        raise error(place, "jwks_url and jwks_file exclude each other")
    url = issuer.jwks_url or issuer.issuer
    if not (issuer.jwks_file or issuer.plain_http or is_protected(url)):
        raise error(place, f"{url} would be asked without TLS: plain_http = true allows it")
    if not isinstance(issuer, OIDCConfig):
        if issuer.rules:
            _check_rules(place, issuer.rules)
        elif isinstance(issuer, WorkloadConfig):
            raise error(place, "it needs rules: without one nobody is let in")


def _check_rules(place: str, rules: Iterable[RuleConfig]) -> None:
    from auth.rules import Rule  # noqa: PLC0415  the supervisor of workers needs no rules

    for number, rule in enumerate(rules):
        at = f"{place}.rules[{number}]"
        if not rule.match:
            raise error(at, "match must name at least one claim, or everybody is let in")
        try:
            Rule.of(rule.match, rule.name, rule.groups, rule.scopes)
        except ValueError as problem:
            raise error(at, str(problem)) from None
