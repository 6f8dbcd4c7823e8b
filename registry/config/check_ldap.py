"""What must hold between the settings about a directory."""

import re

from auth.urls import is_protected
from registry.config.auth import LdapConfig
from registry.config.errors import error


def check_ldap(ldap: LdapConfig) -> None:
    """Raise ``ConfigError`` on the first thing that does not fit together."""
    place = "auth.ldap"
    for name, url in (("url", ldap.url), *(("others", each) for each in ldap.others)):
        if ldap.start_tls and url.startswith("ldaps:"):
            raise error(f"{place}.start_tls", "ldaps:// begins with TLS: set one of the two")
        if not (ldap.start_tls or ldap.plain or is_protected(url)):
            raise error(
                f"{place}.{name}",
                f"{url} would get passwords without TLS: use ldaps:// or start_tls; plain "
                "allows it",
            )
    if bool(ldap.bind_dn) != bool(ldap.bind_password_file):
        raise error(place, "bind_dn and bind_password_file go together")
    if not (ldap.base or ldap.user_dn):
        raise error(place, "it needs base, to search users below, or user_dn")
    named = "user_dn" if ldap.user_dn else "user_filter"
    if "{username}" not in getattr(ldap, named):
        raise error(f"{place}.{named}", "it needs {username}, or everybody is the same one")
    if ldap.group_filter and not (ldap.group_base or ldap.base):
        raise error(place, "it needs group_base, to search groups below; or group_filter empty")
    if ldap.group_filter and not re.search("{dn}|{username}", ldap.group_filter):
        raise error(
            f"{place}.group_filter", "it needs {dn} or {username}, or all are in all groups"
        )
