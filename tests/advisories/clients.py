"""Advisories of clients and of libraries: what a registry owes to those that are careful now."""

from tests.advisories.rows import Row, cut
from tests.advisories.shared import BLOBS, PROTECTIONS

CHALLENGE = "auth/challenge.py"
_CLIENT_ONLY = "it is about what a client does with what another host tells it"

REALM = cut(
    CHALLENGE,
    "if host is None or _HOST.fullmatch(host) is None:",
    "if host is None:",
    "tests/auth/test_challenge.py::test_a_poisoned_host_gets_no_challenge",
)
LOCATION = cut(
    "registry/spec/requests.py",
    '    return f"/v2/{request.repository}/{tail}"\n',
    '    return f"https://blobs.example/v2/{request.repository}/{tail}"\n',
    "tests/http/test_wire.py::test_locations_and_links_are_relative_whatever_the_host_headers_say",
)
_REDIRECT = cut(
    "registry/config/checks.py",
    '    if registry and (host == registry or host.endswith(f".{registry}")):\n',
    "    if registry and host == registry:\n",
    "tests/config/test_s3_config.py::test_redirects_to_where_credentials_would_go_along_are_refused",
)
_UNPACKS_NOTHING = cut(
    "registry/service/uploads.py",
    "from dataclasses import dataclass\n",
    "import gzip\nfrom dataclasses import dataclass\n",
    "tests/advisories/test_sources.py::test_cve_2021_3762_no_layer_is_unpacked",
)
ENDS = cut(
    "registry/service/referrers.py",
    "wanted = PAGE if page.n is None else min(page.n, PAGE)",
    "wanted = 10**9 if page.n is None else page.n",
    "tests/http/test_lists_http.py::test_many_referrers_come_in_pages_filtered_or_not",
)
_AIOHTTP = cut(
    "requirements/runtime.lock",
    "aiohttp==3.14.5",
    "aiohttp==3.8.5",
    "tests/advisories/test_sources.py::test_libraries_are_newer_than_their_advisories",
)

ROWS = (
    Row(
        "CVE-2026-48978",
        "oras-go < 2.6.1",
        "the challenge names a realm of somebody else, who is given the password",
        (
            REALM,
            cut(
                CHALLENGE,
                "(self._public or origin(host, secure=secure)) + TOKEN_PATH",
                '"https://tokens.example" + TOKEN_PATH',
                "tests/auth/test_challenge.py::"
                "test_a_challenge_names_the_token_service_at_the_clients_own_host_and_port",
            ),
        ),
    ),
    Row(
        "CVE-2026-50151",
        "oras-go < 2.6.1",
        "credentials follow the `Location` of an upload to another host",
        (LOCATION,),
    ),
    Row(
        "GHSA-vh4v-2xq2-g5cg",
        "oras-go < 2.6.1",
        "credentials follow a redirect",
        (_REDIRECT,),
    ),
    Row(
        "CVE-2026-50162, CVE-2026-50163",
        "oras-go < 2.6.1",
        "paths in a tar lead out of the directory that it is unpacked into",
        (_UNPACKS_NOTHING,),
        cannot="layers are bytes: none is ever unpacked",
    ),
    Row(
        "CVE-2026-49349",
        "regclient",
        "the registry's credentials are sent to an external store of blobs",
        (
            cut(
                "registry/config/checks.py",
                "    if s3.redirect:\n",
                "    if False:\n",
                "tests/config/test_s3_config.py::"
                "test_redirects_to_where_credentials_would_go_along_are_refused",
            ),
        ),
    ),
    Row(
        "GHSA-qv35-3gw6-8q4j",
        "regclient",
        "what is pulled by digest is not what the digest names",
        (
            cut(
                "registry/service/manifests.py",
                "if isinstance(push.reference, Digest) and push.reference != digest:",
                "if False:",
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-manifest-of-another-digest]",
            ),
            cut(
                "registry/service/uploads.py",
                "        if actual != digest:\n",
                "        if False:\n",
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-blob-of-another-digest]",
            ),
        ),
    ),
    Row(
        "ocx#272",
        "ocx",
        "a challenge's realm is believed whatever its host",
        (REALM,),
    ),
    Row(
        "CVE-2019-10214",
        "containers/image",
        "credentials are sent to the token service without TLS",
        (
            cut(
                CHALLENGE,
                "return f\"{'https' if secure else 'http'}://{host.lower()}\"",
                'return f"http://{host.lower()}"',
                "tests/auth/test_challenge.py::"
                "test_a_challenge_names_the_token_service_at_the_clients_own_host_and_port",
            ),
        ),
    ),
    Row(
        "CVE-2024-3727",
        "containers/image",
        "a digest that is none is used as a path",
        (
            cut(
                "registry/spec/digest.py",
                "        if _DIGEST(text) is None:\n",
                "        if not _GRAMMAR(text):\n",
                "tests/spec/test_digest.py::test_malformed_digests",
                "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
                "[memory-blobs-GET-upper-case-hex]",
            ),
        ),
    ),
    Row(
        "CVE-2020-15157",
        "containerd",
        "credentials are sent to the URL of a foreign layer",
        (
            cut(
                BLOBS,
                "from registry.service.presence import exists\n",
                "import http.client\nfrom registry.service.presence import exists\n",
                "tests/advisories/test_sources.py::test_only_what_the_configuration_names_is_asked",
            ),
        ),
        cannot="the URLs of foreign layers are kept as they are, and asked by nobody here",
    ),
    Row(
        "CVE-2021-32690",
        "helm",
        "credentials are sent along to another host that an index names",
        (LOCATION, _REDIRECT),
    ),
    Row(
        "CVE-2024-35192",
        "trivy",
        "a cloud's credentials are sent to a registry that asks for them",
        cannot=_CLIENT_ONLY,
    ),
    Row(
        "CVE-2023-46737, CVE-2024-29902, CVE-2024-29903",
        "cosign",
        "referrers, or attachments, without end",
        (
            ENDS,
            cut(
                "registry/service/referrers.py",
                "if len(found) == wanted or (found and size > PAGE_BYTES):",
                "if len(found) == wanted:",
                f"{PROTECTIONS}a_page_of_referrers_is_bounded_in_bytes",
            ),
        ),
    ),
    Row(
        "go-containerregistry#2258",
        "go-containerregistry",
        "clients refuse realms on another host, or without TLS",
        (
            cut(
                CHALLENGE,
                '{host.lower()}"',
                "{host.lower().partition(':')[0]}\"",
                "tests/auth/test_challenge.py::"
                "test_a_challenge_names_the_token_service_at_the_clients_own_host_and_port",
                "tests/auth/test_login.py::"
                "test_the_challenge_names_the_host_of_the_request_or_the_configured_one",
            ),
        ),
    ),
    Row(
        "CVE-2023-47627, CVE-2023-47641, CVE-2023-49081, CVE-2023-49082, CVE-2024-23829",
        "aiohttp",
        "two readings of one request (smuggling), line breaks in headers",
        (
            _AIOHTTP,
            cut(
                "registry/http/answer.py",
                "            if not (value.isascii() and value.isprintable()):\n",
                "            if False:\n",
                f"{PROTECTIONS}no_header_is_split",
            ),
        ),
    ),
    Row(
        "CVE-2024-23334",
        "aiohttp",
        "static files outside their directory",
        (
            cut(
                "registry/http/health.py",
                "from aiohttp.web import",
                "from aiohttp.web import UrlDispatcher,",
                "tests/advisories/test_sources.py::test_cve_2024_23334_no_files_are_served",
            ),
        ),
        cannot="no static files are served",
    ),
    Row(
        "CVE-2023-28858, CVE-2023-28859",
        "redis-py",
        "who is cancelled leaves its reply to the next who asks",
        (
            cut(
                "requirements/runtime.lock",
                "redis==8.1.0",
                "redis==4.5.3",
                "tests/advisories/test_sources.py::test_libraries_are_newer_than_their_advisories",
            ),
            cut(
                "storage/_redis_link.py",
                "            for ask in batch:\n                try:\n",
                "            for ask in batch:\n"
                "                if isinstance(ask, _Call) and ask.future.cancelled():\n"
                "                    continue\n"
                "                try:\n",
                "tests/storage/test_redis.py::"
                "test_a_storm_of_cancellations_gives_nobody_anothers_answer",
            ),
        ),
    ),
)
