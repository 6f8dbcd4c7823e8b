"""Further ideas of attacks: on who a caller is, and on what it may know."""

from tests.advisories.clients import LOCATION, REALM
from tests.advisories.rows import Row, cut
from tests.advisories.shared import JOSE, LEAKS, PROTECTIONS

TOKENS = "tests/auth/test_tokens.py::test_"

ROWS = (
    Row(
        "jwt-kid",
        "any",
        "a key id that is a path or a query",
        (
            cut(
                "auth/tokens.py",
                'lambda kid: keys.verifying.get(kid or "")',
                "lambda kid: keys.verifying.get(kid or '') or next(iter(keys.verifying.values()))",
                f"{PROTECTIONS}a_key_id_that_is_none_finds_no_key",
            ),
            cut(
                JOSE,
                "    if header.kid is not None and len(header.kid) > _MAX_KID:\n",
                "    if False:\n",
                f"{PROTECTIONS}a_key_id_that_is_none_finds_no_key",
            ),
        ),
    ),
    Row(
        "jwt-exp",
        "any",
        "a token that is good for a hundred years",
        (
            cut(
                "auth/tokens.py",
                "        if not claims.iat <= claims.exp <= claims.iat + self._most_seconds:\n",
                "        if False:\n",
                f"{TOKENS}a_token_that_would_live_too_long_is_refused",
            ),
            cut(
                "auth/issuers.py",
                "        if claims.exp > now + self._longest:\n",
                "        if False:\n",
                "tests/auth/test_issuers.py::test_claims_that_do_not_fit_are_refused",
            ),
        ),
    ),
    Row(
        "jwt-aud",
        "any",
        "a token for another service, or for a list of them",
        (
            cut(
                "auth/tokens.py",
                "        if self._service not in audience:\n",
                "        if False:\n",
                f"{TOKENS}a_token_for_another_service_is_refused",
            ),
            cut(
                "auth/issuers.py",
                "        if self._audiences.isdisjoint(audiences):\n",
                "        if False:\n",
                "tests/auth/test_issuers.py::test_claims_that_do_not_fit_are_refused",
            ),
        ),
    ),
    Row(
        "jwt-iss",
        "any",
        "a token of another issuer",
        (
            cut(
                "auth/tokens.py",
                "        if claims.iss != self._issuer:\n",
                "        if False:\n",
                f"{TOKENS}a_token_of_another_issuer_is_refused",
            ),
        ),
    ),
    Row(
        "jwt-typ",
        "any",
        "a token of another type, an ID token say, where an access token is wanted",
        (
            cut(
                JOSE,
                "    if kind not in types:\n",
                "    if False:\n",
                "tests/auth/test_jose.py::test_other_types_are_refused",
            ),
        ),
    ),
    Row(
        "jwt-nbf",
        "any",
        "a token from the future; clocks that differ",
        (
            cut(
                "auth/tokens.py",
                "        if max(claims.nbf, claims.iat) > now + LEEWAY:\n",
                "        if False:\n",
                f"{TOKENS}a_token_from_the_future_is_refused_beyond_what_clocks_differ_by",
            ),
        ),
    ),
    Row(
        "jwt-access-flood",
        "any",
        "a hundred thousand entries in a token's `access`",
        (
            cut(
                "auth/scopes.py",
                "            if count >= MAX_SCOPES:\n",
                "            if False:\n",
                f"{TOKENS}a_flood_of_access_is_refused",
                "tests/auth/test_scopes.py::test_a_flood_of_scopes_is_refused",
            ),
        ),
    ),
    Row(
        "wildcard-name",
        "any",
        "a star in the name that a token grants, or that a client asks for",
        (
            cut(
                "auth/scopes.py",
                "            resource = _resource(kind, name, _is_name)\n",
                "            resource = _resource(kind, name, _is_pattern)\n",
                f"{TOKENS}a_star_in_a_name_is_no_wildcard",
            ),
            cut(
                "auth/scopes.py",
                "        return cls._read(texts, _is_name)\n",
                "        return cls._read(texts, _is_pattern)\n",
                "tests/auth/test_scopes.py::test_what_is_unknown_or_malformed_is_dropped",
            ),
        ),
    ),
    Row(
        "basic-colon",
        "any",
        "a password with colons in it",
        (
            cut(
                "auth/credentials.py",
                'b64decode(text, validate=True).decode().partition(":")',
                'b64decode(text, validate=True).decode().rpartition(":")',
                "tests/auth/test_credentials.py::test_what_clients_send",
            ),
        ),
    ),
    Row(
        "basic-not-utf-8",
        "any",
        "credentials that are no text",
        (
            cut(
                "auth/credentials.py",
                "    except (Base64Error, UnicodeDecodeError):\n",
                "    except Base64Error:\n",
                "tests/auth/test_credentials.py::test_what_can_not_be_read_is_refused",
            ),
        ),
    ),
    Row(
        "forwarded-host",
        "any",
        "`X-Forwarded-Host` in the realm or the `Location`",
        (
            cut(
                "registry/http/login.py",
                "self._challenges.realm(http.headers.get(hdrs.HOST), secure",
                "self._challenges.realm(http.headers.get('X-Forwarded-Host') or"
                " http.headers.get(hdrs.HOST), secure",
                "tests/auth/test_login.py::test_forwarding_headers_do_not_poison_the_challenge",
            ),
            REALM,
            LOCATION,
        ),
    ),
    Row(
        "forwarded-for",
        "any",
        "`X-Forwarded-For` gets a caller past its address's limits",
        (
            cut(
                "registry/http/forwarded.py",
                "            if not self.knows(found):\n",
                "            if False:\n",
                "tests/management/test_limits.py::test_whom_a_proxy_speaks_for",
            ),
        ),
    ),
    Row(
        "token-brute-force",
        "any",
        "passwords are guessed at the token service",
        (
            cut(
                "auth/chain.py",
                "            await self._attempts.failed(address, account)\n",
                "",
                "tests/auth/test_token_endpoint.py::"
                "test_who_guesses_is_slowed_down_through_the_port",
                "tests/management/test_limits.py::"
                "test_failed_logins_have_to_wait_longer_and_longer",
            ),
            cut(
                "auth/chain.py",
                "        await self._attempts.admit(address, account)\n",
                "",
                "tests/auth/test_token_endpoint.py::"
                "test_who_guesses_is_slowed_down_through_the_port",
            ),
        ),
    ),
    Row(
        "log-injection",
        "any",
        "a line break or an escape in what is logged",
        (
            cut(
                "registry/logs.py",
                "    return _UNPRINTABLE.sub(_escaped, text)\n",
                "    return text\n",
                "tests/ops/test_accesslog.py::test_no_text_of_a_client_can_forge_a_line_or_move_a_cursor",
                "tests/ops/test_accesslog.py::test_events_for_people_can_not_be_forged_either",
            ),
        ),
    ),
    Row(
        "presigned-urls",
        "any",
        "a presigned URL is good for more than its blob, or after access ended",
        (
            cut(
                "registry/http/blobs.py",
                "    blob = await blobs.find(call.place, call.request.digest)\n",
                "    blob = Blob(call.request.digest, 1 << 20, (await blobs._pointer("
                "call.request.digest)).data)\n",
                f"{PROTECTIONS}no_url_is_made_for_what_was_deleted_or_is_foreign",
            ),
            cut(
                "registry/http/blobs.py",
                '("Location", target), ("Cache-Control", "no-store")))',
                '("Location", target)))',
                "tests/http/test_redirects.py::test_a_large_blob_is_fetched_from_the_store",
            ),
        ),
    ),
    Row(
        "session-principal",
        "any",
        "an expired token goes on with more than the upload that it began",
        (
            cut(
                "registry/http/login.py",
                "return isinstance(request, _OF_A_SESSION) and"
                " token.was_good_at(opened(request.session))",
                "return True",
                "tests/auth/test_login.py::test_an_expired_token_is_refused",
                "tests/auth/test_login.py::test_one_that_began_before_or_after_can_not",
            ),
        ),
    ),
    Row(
        "mount-any",
        "any (distribution-spec#275)",
        "a mount without a source tells whether anybody has the blob",
        (
            cut(
                "registry/service/blobs.py",
                "        for candidate in await self._holders(repository.tenant, digest):\n"
                "            if await readable(candidate):\n",
                "        for candidate in await self._holders(repository.tenant, digest):\n"
                "            if True:\n",
                f"{LEAKS}a_token_for_the_target_only_mounts_nothing",
            ),
        ),
    ),
)
