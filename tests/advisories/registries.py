"""Advisories of Distribution, zot and Quay, and of what they are made with."""

from tests.advisories.rows import Cut, Row, cut
from tests.advisories.shared import (
    API,
    BLOBS,
    FOREIGN_BLOB,
    JOSE,
    LEAKS,
    MANIFEST,
    MATRIX,
    PROTECTIONS,
)

_NO_UPSTREAM = "nothing is fetched from other registries: there is no pull-through cache"

ROWS = (
    Row(
        "CVE-2023-2253",
        "Distribution < 2.8.2",
        "the `n` of a listing decides an allocation",
        (
            cut(
                "registry/spec/pagination.py",
                'maximum if len(digits) > len(str(maximum)) else min(int(digits or "0"), maximum)',
                'int(digits or "0")',
                "tests/spec/test_pagination.py::"
                "test_n_is_cut_to_the_maximum_and_never_refused_for_its_size",
            ),
            cut(
                "registry/http/lists.py",
                "page if page.n is None or page.n <= most else Page(most, page.last)",
                "page",
                "tests/http/test_lists_http.py::test_a_page_holds_no_more_than_the_limit_says",
            ),
        ),
    ),
    Row(
        "CVE-2017-11468",
        "Distribution",
        "a manifest of any size is read into memory",
        (
            cut(
                MANIFEST,
                "if len(body) > MAX_SIZE:",
                "if False:",
                "tests/spec/test_manifest.py::test_a_manifest_of_exactly_the_limit_is_accepted",
            ),
            cut(
                "registry/http/body.py",
                "if len(body) > most:",
                "if False:",
                f"{PROTECTIONS}a_body_is_read_no_further_than_its_limit",
            ),
            cut(
                "registry/http/body.py",
                "if (request.content_length or 0) > most:",
                "if False:",
                f"{PROTECTIONS}a_body_that_says_it_is_too_long_is_not_read_at_all",
            ),
        ),
    ),
    Row(
        "CVE-2025-24976",
        "Distribution 3.0.0-beta",
        "a token brings the key along that verifies it",
        (
            cut(
                JOSE,
                "    key = key_for(header.kid)\n",
                "    from jwt import PyJWK\n"
                '    part = token.split(".")[0]\n'
                '    part += "=" * (-len(part) % 4)\n'
                "    given = msgspec.json.decode(urlsafe_b64decode(part))\n"
                '    key = key_for(header.kid) if "jwk" not in given else VerifyingKey.of(\n'
                '        PyJWK(given["jwk"]).key)\n',
                "tests/auth/test_jose.py::test_cve_2025_24976_a_key_in_the_token_is_ignored",
            ),
        ),
    ),
    Row(
        "CVE-2022-29217",
        "PyJWT",
        "the token, not the key, decides on the algorithm",
        (
            cut(
                JOSE,
                "if header.alg not in key.algorithms:",
                "if False:",
                "tests/auth/test_jose.py::"
                "test_a_key_of_one_algorithm_is_not_used_with_another_of_its_kind",
            ),
        ),
    ),
    Row(
        "CVE-2017-11424",
        "PyJWT",
        "a token without a good signature is taken",
        (
            cut(
                JOSE,
                "algorithms=[header.alg])",
                'algorithms=[header.alg], options={"verify_signature": False})',
                "tests/auth/test_jose.py::test_a_token_that_was_changed_anywhere_is_refused",
            ),
            Cut(
                (
                    (JOSE, "if header.alg not in key.algorithms:", "if False:"),
                    (
                        JOSE,
                        "algorithms=[header.alg])",
                        'algorithms=[header.alg], options={"verify_signature": False})',
                    ),
                ),
                (
                    "tests/auth/test_jose.py::test_cve_2017_11424_a_token_without_a_signature_is_refused",
                ),
            ),
        ),
    ),
    Row(
        "CVE-2026-33540",
        "Distribution < 3.1.0",
        "an upstream decides where the proxy's credentials go",
        (
            cut(
                "auth/issuers.py",
                "if (own.scheme, own.netloc) != (theirs.scheme, theirs.netloc):",
                "if False:",
                "tests/auth/test_issuers.py::"
                "test_keys_on_another_host_are_not_fetched_unless_that_is_configured",
            ),
        ),
        cannot=f"{_NO_UPSTREAM}; the same rule holds for the keys of token issuers",
    ),
    Row(
        "CVE-2026-35172",
        "Distribution < 3.1.0 with Redis",
        "a blob that was deleted here is readable again once another repository is asked for it",
        (
            cut(
                BLOBS,
                "        async with self._coordinator.change(member_name(repository, digest)):\n"
                "            if not await self._members.hide",
                "        if True:\n            if not await self._members.hide",
                "tests/http/test_blobs_http.py::"
                "test_a_deleted_blob_is_gone_at_once_and_can_be_pushed_again",
                f"{PROTECTIONS}cve_2026_35172_what_was_deleted_here_stays_so_whoever_reads_it_there",
            ),
        ),
    ),
    Row(
        "CVE-2026-41888",
        "Distribution < 3.1.1",
        "deleting a tag passes by the rule that forbids deletions",
        (
            cut(
                API,
                "spec.DeleteManifest: (Verb.DELETE,",
                "spec.DeleteManifest: (Verb.PUSH,",
                f"{MATRIX}[developer-own]",
                "tests/auth/test_matrix.py::test_every_route_has_its_examples",
            ),
            cut(
                API,
                "if isinstance(decision, Deny):",
                "if isinstance(decision, Deny) and verb is not Verb.DELETE:",
                f"{MATRIX}[developer-own]",
            ),
        ),
    ),
    Row(
        "CVE-2021-41190",
        "Distribution, Docker, containerd",
        "one document is an image to one client and an index to another",
        (
            cut(
                MANIFEST,
                "if image and index:",
                "if False:",
                "tests/spec/test_manifest.py::test_an_image_that_is_also_an_index_is_refused",
            ),
            cut(
                MANIFEST,
                "if inner and inner != outer:",
                "if False:",
                "tests/spec/test_manifest.py::test_types_that_disagree_are_refused",
            ),
            cut(
                MANIFEST,
                "if known is not None and known != field:",
                "if False:",
                "tests/spec/test_manifest.py::test_a_field_that_differs_from_ours_in_case_is_refused",
            ),
        ),
    ),
    Row(
        "CVE-2024-39897",
        "zot < 2.1.0",
        "who knows a digest reads the blob through a repository of its own",
        (
            FOREIGN_BLOB,
            cut(
                "registry/service/blobs.py",
                "await self._holders(repository.tenant, digest):\n"
                "            if await readable(candidate):\n",
                "await self._holders(repository.tenant, digest):\n            if True:\n",
                f"{LEAKS}a_token_for_the_target_only_mounts_nothing",
            ),
        ),
    ),
    Row(
        "GHSA-qg67-7m6v-qg25",
        "zot < 2.1.18",
        "a bearer that may push may delete",
        (
            cut(
                API,
                "spec.DeleteBlob: (Verb.DELETE,",
                "spec.DeleteBlob: (Verb.PUSH,",
                f"{MATRIX}[developer with a token-own]",
            ),
            cut(
                "auth/roles.py",
                "    Role.DEVELOPER: _READ | {Verb.DESCRIBE, Verb.PUSH},",
                "    Role.DEVELOPER: _READ | {Verb.DESCRIBE, Verb.PUSH, Verb.DELETE},",
                f"{MATRIX}[developer with a token-own]",
            ),
        ),
    ),
    Row(
        "CVE-2026-31801",
        "zot < 2.1.15",
        "the tag `latest` is overwritten by who may only create",
        (
            Cut(
                (
                    (
                        "registry/service/manifests.py",
                        "if not push.conditions.check_write(current):",
                        "if False:",
                    ),
                    (
                        "registry/service/manifests.py",
                        "push.conditions if tag == push.reference else Conditions()",
                        'push.conditions if tag != "latest" else Conditions()',
                    ),
                ),
                (f"{PROTECTIONS}cve_2026_31801_no_tag_is_special",),
            ),
        ),
    ),
    Row(
        "CVE-2025-23208",
        "zot < 2.1.2",
        "groups that a provider withdrew still count",
        (
            cut(
                "auth/authenticators/issued.py",
                "        groups = [group for group in values(claims, self._groups)"
                " if self._counts(group)]\n",
                "        was = self.__dict__.setdefault('was', {}).setdefault(names[0], [])\n"
                "        was += [group for group in values(claims, self._groups)]\n"
                "        groups = was\n",
                "tests/auth/test_authenticators.py::"
                "test_cve_2025_23208_groups_are_those_of_this_token_and_no_others",
            ),
            cut(
                "registry/service/projects/directory.py",
                "groups = identity.groups if standing.groups is None else standing.groups\n"
                '        others = [f"group',
                "groups = identity.groups | (standing.groups or frozenset())\n"
                '        others = [f"group',
                "tests/projects/test_accounts.py::"
                "test_groups_of_a_local_account_count_as_they_are_now",
            ),
        ),
    ),
    Row(
        "CVE-2025-48374",
        "zot",
        "secrets in the log",
        (
            cut(
                "registry/logs.py",
                "        text = pattern.sub(instead, text)\n",
                "        pass\n",
                "tests/ops/test_accesslog.py::test_credentials_are_redacted_in_events",
            ),
            cut(
                "registry/http/accesslog.py",
                'if name in _PARAMETERS else "***")',
                "if True else '')",
                "tests/ops/test_accesslog.py::test_only_the_apis_own_parameters_are_logged",
            ),
        ),
    ),
    Row(
        "CVE-2026-32589",
        "Quay",
        "any pusher reads, feeds and cancels the upload of another",
        (
            cut(
                "registry/service/sessions.py",
                "if not hmac.compare_digest(proof, expected) or age(session) > LIFETIME:",
                "if age(session) > LIFETIME:",
                f"{LEAKS}a_session_is_its_principals_in_its_repository",
                "tests/http/test_uploads_http.py::test_a_foreign_session_is_unknown",
            ),
            cut(
                "registry/service/sessions.py",
                "(seed, repository.encode(), principal.encode())",
                "(seed, repository.encode(), b'')",
                f"{LEAKS}a_session_is_its_principals_in_its_repository",
            ),
        ),
    ),
    Row(
        "CVE-2026-32590",
        "Quay",
        "the state of an upload is unpickled",
        (
            cut(
                "registry/service/records.py",
                "import msgspec\n",
                "import pickle\nimport msgspec\n",
                "tests/advisories/test_sources.py::test_cve_2026_32590_nothing_is_unpickled_or_evaluated",
            ),
        ),
        cannot="records are JSON, read into types",
    ),
    Row(
        "CVE-2026-32591, CVE-2026-2376",
        "Quay",
        "a proxy's upstream, or a redirect, leads to internal addresses",
        (
            cut(
                "auth/fetch.py",
                "allow_redirects=False,",
                "allow_redirects=True,",
                "tests/auth/test_issuers.py::test_redirects_are_not_followed",
            ),
            cut(
                "registry/service/blobs.py",
                "from registry.service.presence import exists\n",
                "import urllib.request\nfrom registry.service.presence import exists\n",
                "tests/advisories/test_sources.py::test_only_what_the_configuration_names_is_asked",
            ),
        ),
        cannot=f"{_NO_UPSTREAM}; only addresses of the configuration are asked",
    ),
    Row(
        "CVE-2026-10517",
        "claircore",
        "whoever names a URL has it fetched by the scanner",
        (
            cut(
                "registry/service/manifests.py",
                "import asyncio\n",
                "import asyncio\nimport aiohttp\n",
                "tests/advisories/test_sources.py::test_only_what_the_configuration_names_is_asked",
            ),
        ),
        cannot="there is no scanner, and no call that takes a URL to fetch",
    ),
    Row(
        "CVE-2021-3762",
        "claircore",
        "a layer's paths lead out of the directory that it is unpacked into",
        (
            cut(
                "registry/service/intake.py",
                "import asyncio\n",
                "import asyncio\nimport tarfile\n",
                "tests/advisories/test_sources.py::test_cve_2021_3762_no_layer_is_unpacked",
            ),
        ),
        cannot="layers are bytes: none is ever unpacked",
    ),
)
