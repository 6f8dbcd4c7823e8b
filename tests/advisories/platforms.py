"""Advisories of Harbor and of other platforms around a registry."""

from tests.advisories.rows import Row, cut
from tests.advisories.shared import (
    FOREIGN_BLOB,
    JUDGEMENT,
    MANAGED,
    MATRIX,
    PROTECTIONS,
    ROOM,
)

ROWS = (
    Row(
        "harbor#23675",
        "Harbor",
        "a robot account is trusted for the prefix of its name",
        (
            cut(
                JUDGEMENT,
                "    role = access.role\n",
                '    role = max(Role) if "scanner-" in identity.name else access.role\n',
                "tests/projects/test_robots.py::test_a_name_that_sounds_important_gives_nothing",
            ),
            cut(
                "auth/policy.py",
                "if identity.kind is Kind.SYSTEM and await",
                'if identity.name.startswith("system:") and await',
                f"{PROTECTIONS}harbor_23675_the_registrys_own_work_is_known_by_its_kind",
            ),
        ),
    ),
    Row(
        "harbor#22900, harbor#23270",
        "Harbor",
        "tokens of a deleted project open the next one of its name; a missing claim is a crash",
        (
            cut(
                JUDGEMENT,
                "return None if made_for == tenant.id else Why.GENERATION",
                "return None if made_for else Why.GENERATION",
                "tests/auth/test_token_endpoint.py::"
                "test_harbor_22900_a_project_made_anew_honours_no_older_token",
                f"{MATRIX}[owner of an earlier project of that name, with its token-own]",
            ),
            cut(
                "auth/tokens.py",
                "except (ValueError, RecursionError) as error:",
                "except RecursionError as error:",
                "tests/auth/test_tokens.py::"
                "test_a_claim_that_must_be_there_is_missing_or_no_such_claim",
            ),
        ),
    ),
    Row(
        "CVE-2024-22278, CVE-2022-31666 to 31671",
        "Harbor",
        "what is addressed by an id is changed without a look at who asks",
        (
            cut(
                ROOM,
                "            return decision\n        assert action",
                "            return decision\n        if route.writes:\n"
                "            return Allow()\n        assert action",
                f"{MANAGED}[foreign-stranger]",
            ),
            cut(
                "auth/roles.py",
                "    Role.MAINTAINER: _READ | {",
                "    Role.MAINTAINER: _READ | {Verb.ADMINISTER, ",
                f"{MANAGED}[own-maintainer]",
            ),
        ),
    ),
    Row(
        "CVE-2025-30086",
        "Harbor",
        "a filter of a listing reaches any field, a password's hash too",
        (
            cut(
                "registry/http/management/inputs.py",
                "        if name in path or name not in hints:\n",
                "        if name not in hints:\n            continue\n        if name in path:\n",
                "tests/management/test_strict.py::test_queries_are_read_strictly",
            ),
        ),
    ),
    Row(
        "CVE-2019-16097",
        "Harbor",
        "who registers says that it is an administrator",
        (
            cut(
                "registry/http/management/views.py",
                "class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True",
                "class Terms(msgspec.Struct, frozen=True, kw_only=True",
                "tests/management/test_accounts_api.py::test_nobody_becomes_more_than_was_meant",
            ),
        ),
    ),
    Row(
        "CVE-2020-29662",
        "Harbor",
        "another spelling of the catalog's path asks for no login",
        (
            cut(
                "registry/spec/requests.py",
                '    if raw_path[:4] != "/v2/":\n',
                '    raw_path = "/" + "/".join(filter(None, raw_path.split("/")))\n'
                '    if raw_path[:4] != "/v2/":\n',
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-path-two-slashes-first]",
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-path-catalog-slash]",
            ),
            cut(
                "registry/spec/requests.py",
                '    if raw_path[:4] != "/v2/":\n',
                "    from urllib.parse import unquote\n"
                "    raw_path = unquote(raw_path)\n"
                '    if raw_path[:4] != "/v2/":\n',
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-path-catalog-encoded]",
            ),
        ),
    ),
    Row(
        "CVE-2020-13788",
        "Harbor",
        "the test of a webhook's address reaches internal services",
        (
            cut(
                "registry/spec/destinations.py",
                "        if not self.admits(address):\n",
                "        if False:\n",
                "tests/webhooks/test_destinations.py::test_urls_that_nothing_is_sent_to",
            ),
            cut(
                "registry/spec/destinations.py",
                "        return [address.ipv4_mapped]\n",
                "        return []\n",
                "tests/webhooks/test_destinations.py::test_inner_addresses_are_refused",
            ),
        ),
    ),
    Row(
        "CVE-2024-22244",
        "Harbor",
        "an answer redirects to where the request says",
        (
            cut(
                "registry/spec/requests.py",
                '    return f"/v2/{request.repository}/{tail}"\n',
                '    return f"//{request.repository}/{tail}"\n',
                "tests/http/test_wire.py::"
                "test_locations_and_links_are_relative_whatever_the_host_headers_say",
            ),
        ),
    ),
    Row(
        "CVE-2023-20902",
        "Harbor",
        "the time of comparing a secret tells how much of it is right",
        (
            cut(
                "registry/service/projects/secrets.py",
                "hmac.compare_digest(_hash(self.text), record.sha256)",
                "_hash(self.text) == record.sha256",
                f"{PROTECTIONS}cve_2023_20902_secrets_are_compared_in_constant_time",
            ),
            cut(
                "registry/service/projects/accounts.py",
                "hmac.compare_digest(given, self._bootstrap.encode())",
                "given == self._bootstrap.encode()",
                f"{PROTECTIONS}cve_2023_20902_the_bootstrap_secret_too",
            ),
            cut(
                "registry/service/sessions.py",
                "not hmac.compare_digest(proof, expected)",
                "proof != expected",
                f"{PROTECTIONS}cve_2023_20902_secrets_are_compared_in_constant_time",
            ),
            cut(
                "auth/passwords.py",
                "            await self._run(partial(self._check, self._nobody, data))\n",
                "",
                "tests/auth/test_passwords.py::"
                "test_an_unknown_account_is_checked_as_a_wrong_password_is",
            ),
        ),
    ),
    Row(
        "CVE-2025-32019",
        "Harbor",
        "what a user wrote is a page of the registry's own to a browser",
        (
            cut(
                "registry/spec/mediatype.py",
                "    return _PAGE(media_type.lower()) is not None\n",
                "    return False\n",
                f"{PROTECTIONS}cve_2025_32019_no_manifest_is_a_page_to_a_browser",
            ),
            cut(
                "registry/http/answer.py",
                '{status.phrase}\\r\\n{_ALWAYS}"',
                '{status.phrase}\\r\\n"',
                f"{PROTECTIONS}cve_2025_32019_no_answer_is_a_page_to_a_browser",
            ),
        ),
    ),
    Row(
        "CVE-2019-19025",
        "Harbor",
        "another site's page makes a browser send requests (CSRF)",
        (
            cut(
                ROOM,
                "        if _JSON.fullmatch(kind) is None:\n",
                "        if False:\n",
                "tests/management/test_strict.py::test_only_json_is_taken",
            ),
        ),
    ),
    Row(
        "CVE-2024-22261, CVE-2019-19026, CVE-2019-19029",
        "Harbor",
        "SQL injection",
        cannot="there is no database: a name becomes a storage key only after it was parsed",
    ),
    Row(
        "GHSA-prh4-vhfh-24mj",
        "Harbor",
        "secrets in the audit log",
        (
            cut(
                "auth/credentials.py",
                "    password: str = field(repr=False)\n",
                "    password: str\n",
                "tests/auth/test_credentials.py::test_secrets_do_not_show",
            ),
            cut(
                "registry/spec/token.py",
                'return f"TokenRequest({self.grant}, {self.username!r}, {self.scopes!r})"',
                'return f"TokenRequest({self.grant}, {self.secret!r}, {self.scopes!r})"',
                "tests/spec/test_token.py::test_a_request_does_not_show_its_secret",
            ),
        ),
    ),
    Row(
        "CVE-2026-4404",
        "Harbor <= 2.15",
        "there is a default password",
        (
            cut(
                "registry/service/projects/accounts.py",
                "        if not right or not self._bootstrap:\n",
                "        if not right:\n",
                "tests/projects/test_accounts.py::test_without_a_secret_there_is_no_way",
            ),
            cut(
                "registry/config/check_auth.py",
                "if 0 < len(auth.bootstrap_secret.reveal()) < _SHORTEST_SECRET:",
                "if False:",
                "tests/config/test_config.py::"
                "test_what_is_wrong_with_logins_is_said_with_its_place",
            ),
        ),
    ),
    Row(
        "CVE-2022-47747",
        "Kraken",
        "any file of the server is read through the storage",
        (
            cut(
                "storage/_root.py",
                "_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW\n",
                "_FLAGS = os.O_CLOEXEC\n_has_openat2 = False\n",
                "tests/storage/test_file_faults.py::test_no_link_is_followed_out_of_the_store",
            ),
        ),
    ),
    Row(
        "artifact-keeper#3316",
        "artifact-keeper",
        "a token's limit to one repository is lost where it is shown itself",
        (
            cut(
                JUDGEMENT,
                "        if not any(ceiling.permits(*each) for each in wanted):\n",
                "        if False:\n",
                "tests/projects/test_accounts.py::"
                "test_scopes_narrow_an_access_token_however_it_is_shown",
                f"{MATRIX}[owner with a narrow access token-own]",
                f"{MATRIX}[owner with a token of a narrow access token-own]",
                f"{MATRIX}[narrow robot-own]",
            ),
        ),
    ),
    Row(
        "artifact-keeper#3408",
        "artifact-keeper",
        "a token that may only push may pull",
        (
            cut(
                JUDGEMENT,
                '    return [("repository", name, wanted) for name in names]\n',
                '    return [("repository", name, "push" if wanted == "pull" and'
                " verb is Verb.PULL else wanted) for name in names]\n",
                "tests/projects/test_accounts.py::"
                "test_scopes_narrow_an_access_token_however_it_is_shown",
            ),
        ),
    ),
    Row(
        "artifact-keeper#3053",
        "artifact-keeper",
        "a scope that is spelt in another way means something else than was meant",
        (
            cut(
                "registry/service/projects/names.py",
                "            if not _is_meant(word):\n",
                "            if False:\n",
                "tests/projects/test_accounts.py::test_access_tokens_in_pages_and_their_limits",
            ),
        ),
    ),
    Row(
        "artifact-keeper#3269",
        "artifact-keeper",
        "the catalog lists names that the caller may not see",
        (
            cut(
                "registry/service/catalog.py",
                "                if project.shows(name):\n",
                "                if True:\n",
                "tests/auth/test_matrix.py::test_the_catalog_lists_what_may_be_pulled",
            ),
        ),
    ),
    Row(
        "artifact-keeper#2477",
        "artifact-keeper",
        "a refresh token that is used twice revokes the login",
        (
            cut(
                "registry/service/projects/offline.py",
                "        await self._used(principal, kept)\n",
                "        await self._store.delete(kept.key)\n",
                "tests/projects/test_accounts.py::"
                "test_an_offline_token_is_for_whoever_logs_in_by_password",
            ),
        ),
    ),
    Row(
        "openshift/origin#9819",
        "OpenShift",
        "who may pull one repository pulls any blob",
        (
            FOREIGN_BLOB,
            cut(
                "registry/service/memberships.py",
                '    return f"blob/{repository}/{digest}"\n',
                '    return f"blob/{digest}"\n',
                f"{PROTECTIONS}openshift_9819_what_is_remembered_of_one_repository_opens_no_other",
            ),
        ),
    ),
)
