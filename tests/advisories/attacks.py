"""Further ideas of attacks: on what requests hold."""

from tests.advisories.clients import ENDS
from tests.advisories.rows import Row, cut
from tests.advisories.shared import FOREIGN_BLOB, MANIFEST, PROTECTIONS

BAD = "tests/http/test_bad_input.py::test_it_is_refused_and_nothing_is_stored"
TOKENS = "tests/auth/test_tokens.py::test_"
QUERY = "registry/spec/query.py"
RANGES = "registry/spec/ranges.py"


ROWS = (
    Row(
        "digest-strings",
        "any",
        "digests with dots, line feeds, capitals, foreign digits, or of another length",
        (
            cut(
                "registry/spec/digest.py",
                '_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}").fullmatch',
                '_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}").match',
                "tests/spec/test_digest.py::test_malformed_digests",
                f"{BAD}[memory-blobs-GET-encoded-slash]",
            ),
            cut(
                "registry/spec/digest.py",
                "sha256:[a-f0-9]{64}|sha512",
                "sha256:[a-fA-F0-9]{64}|sha512",
                f"{BAD}[memory-blobs-GET-upper-case-hex]",
            ),
        ),
    ),
    Row(
        "repository-names",
        "any",
        "names with dots, empty parts, encoded slashes, capitals, or too long",
        (
            cut(
                "registry/spec/names.py",
                "    if _NAME(text) is None:\n",
                "    if False:\n",
                "tests/spec/test_names.py::test_bad_names",
                f"{BAD}[memory-name-tags-dots]",
                f"{BAD}[memory-name-tags-encoded-slash]",
            ),
            cut(
                "registry/spec/names.py",
                "    if len(text) > MAX_NAME:\n",
                "    if False:\n",
                f"{BAD}[memory-name-tags-251-characters]",
            ),
        ),
    ),
    Row(
        "tag-names",
        "any",
        "tags of more than 128 characters, with slashes or line feeds",
        (
            cut(
                "registry/spec/names.py",
                "        if _TAG(text) is None:\n",
                "        if False:\n",
                "tests/spec/test_names.py::test_bad_tags",
                f"{BAD}[memory-tag-put-129-characters]",
            ),
        ),
    ),
    Row(
        "mount-from",
        "any",
        "a mount from a repository that is foreign, or that is not there",
        (
            cut(
                "registry/service/blobs.py",
                "            blob = await self.find(source, digest)\n",
                "            blob = Blob(digest, (await self._pointer(digest)).size, '')\n",
                f"{PROTECTIONS}a_mount_takes_only_what_the_source_holds",
            ),
            cut(
                "registry/http/uploads.py",
                "return None if source is None else await blobs.mount(call.place, digest, source)",
                "return await blobs.mount(call.place, digest, source or Place(asked.source))",
                f"{PROTECTIONS}a_mount_takes_only_what_the_caller_may_pull",
            ),
        ),
    ),
    Row(
        "parameters-twice",
        "any",
        "two `from`, `mount` or `digest`: proxies disagree on which counts",
        (
            cut(
                QUERY,
                "    if len(values) > 1:\n",
                "    if False:\n",
                "tests/spec/test_requests.py::test_what_is_no_request_is_refused_with_its_error",
                "tests/spec/test_token.py::test_a_doubled_or_malformed_query_parameter_is_refused",
            ),
        ),
    ),
    Row(
        "content-range",
        "any",
        "chunks that overlap, leave a gap, or whose range is huge or negative",
        (
            cut(
                "registry/spec/upload.py",
                "    if content_range.start != offset:\n",
                "    if False:\n",
                f"{BAD}[memory-content-range-overlap-PATCH]",
                f"{BAD}[memory-content-range-gap-PUT]",
            ),
            cut(
                RANGES,
                "        match = _CHUNK(header) or _CHUNK_HTTP(header)\n",
                '        match = re.match(r"\\D*(\\d+)-(\\d+)", header)\n',
                "tests/spec/test_ranges.py::test_a_malformed_content_range_is_refused",
            ),
        ),
    ),
    Row(
        "body-length",
        "any",
        "a body that is longer or shorter than was announced",
        (
            cut(
                "registry/spec/upload.py",
                "    if content_length is not None and content_length != content_range.length:\n",
                "    if False:\n",
                "tests/http/test_uploads_http.py::"
                "test_a_content_range_that_disagrees_with_the_length_gets_416_before_any_byte[memory]",
            ),
            cut(
                "registry/service/intake.py",
                "            if wanted is not None and came > wanted:\n",
                "            if False:\n",
                "tests/http/test_uploads_http.py::"
                "test_a_streamed_chunk_is_never_taken_beyond_its_content_range[memory-0-2-3]",
            ),
        ),
    ),
    Row(
        "gzip-body",
        "any",
        "a compressed body is unpacked on the way in",
        (
            cut(
                "registry/http/connection.py",
                '"auto_decompress": False,  # a blob',
                '"auto_decompress": True,  # a blob',
                "tests/http/test_uploads_http.py::"
                "test_a_gzip_content_encoding_is_stored_as_sent[memory]",
            ),
        ),
    ),
    Row(
        "slow-loris",
        "any",
        "a head or a body that comes byte by byte holds a connection for ever",
        (
            cut(
                "registry/http/body.py",
                "            async with asyncio.timeout(limits.idle_seconds - waited):\n",
                "            async with asyncio.timeout(None):\n",
                f"{PROTECTIONS}a_body_that_trickles_is_given_up",
            ),
            cut(
                "registry/http/connection.py",
                "        if self.waiting:\n            self._refuse(RequestTimeout()",
                "        if False:\n            self._refuse(RequestTimeout()",
                "tests/http/test_bad_input.py::test_a_head_that_never_ends_is_given_408",
            ),
        ),
    ),
    Row(
        "chunked-bodies",
        "any (CVE-2025-22871)",
        "chunks ended by a bare LF or sized otherwise than in hexadecimal: a request in a body",
        (
            cut(
                "registry/http/chunked.py",
                '_NEXT: Final = re.compile(rb"\\r\\n" + _SIZE)',
                '_NEXT: Final = re.compile(rb"\\r?\\n" + _SIZE)',
                "tests/http/test_chunked.py::test_what_is_spelled_otherwise_is_refused",
            ),
            cut(
                "registry/http/endpoint.py",
                "            if (broken := http.content.exception()) is not None:\n",
                "            if (broken := None) is not None:\n",
                "tests/http/test_receive.py::"
                "test_a_request_that_comes_with_a_malformed_body_is_not_done",
            ),
        ),
    ),
    Row(
        "range-flood",
        "any (CVE-2011-3192)",
        "`Range: bytes=0-0,0-0,…`, ten thousand times",
        (
            cut(
                RANGES,
                "    return None if _overlap(found) else tuple(found)\n",
                "    return tuple(found)\n",
                "tests/spec/test_ranges.py::test_headers_that_are_ignored",
            ),
            cut(
                RANGES,
                "    if len(specs) > MAX_RANGES:\n",
                "    if False:\n",
                "tests/spec/test_ranges.py::test_headers_that_are_ignored",
            ),
        ),
    ),
    Row(
        "many-descriptors",
        "any",
        "a manifest of a hundred thousand descriptors",
        (
            cut(
                MANIFEST,
                "    if len(descriptors) > MAX_DESCRIPTORS:\n",
                "    if False:\n",
                "tests/spec/test_manifest.py::test_a_malformed_image_is_refused",
            ),
        ),
    ),
    Row(
        "duplicate-keys",
        "any",
        "a key twice in a manifest: two readers take it for two manifests",
        (
            cut(
                MANIFEST,
                "        _check_spelling(body)\n",
                "        pass\n",
                "tests/spec/test_manifest.py::test_a_field_that_differs_from_ours_in_case_is_refused",
            ),
        ),
    ),
    Row(
        "depth-bomb",
        "any",
        "lists in lists, a hundred thousand deep",
        (
            cut(
                MANIFEST,
                "    except RecursionError:\n"
                '        raise ManifestInvalid("the manifest is nested too deeply") from None\n',
                "    except ZeroDivisionError:\n        raise\n",
                "tests/spec/test_manifest.py::test_what_is_no_json_document_is_refused",
            ),
        ),
    ),
    Row(
        "sizes",
        "any",
        "sizes that are negative, NaN, or of four hundred digits",
        (
            cut(
                MANIFEST,
                "_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]",
                "_Size = int | float | None",
                "tests/spec/test_manifest.py::test_a_malformed_descriptor_is_refused_with_its_place",
            ),
        ),
    ),
    Row(
        "size-mismatch",
        "any",
        "a descriptor whose size is not that of the stored content",
        (
            cut(
                "registry/service/images.py",
                "            if size is not None and size != descriptor.size:\n",
                "            if False:\n",
                f"{BAD}[memory-layer-size-is-not-the-stored-one]",
                f"{BAD}[memory-child-size-is-not-the-stored-one]",
            ),
        ),
    ),
    Row(
        "foreign-descriptor",
        "any",
        "a manifest that names content of another tenant",
        (FOREIGN_BLOB,),
    ),
    Row(
        "index-of-itself",
        "any",
        "an index that lists itself",
        (
            cut(
                "registry/service/images.py",
                "        if missing and not self._allow_sparse:\n",
                "        if False:\n",
                f"{BAD}[memory-manifest-index-that-names-a-digest-nobody-can-know]",
                f"{BAD}[memory-manifest-missing-child]",
            ),
        ),
    ),
    Row(
        "subject-cycles",
        "any",
        "manifests that are each other's subjects",
        (
            cut(
                "registry/service/deletions.py",
                "        await self._deleted.keep(repository, stored, manifest, by)\n",
                "        listed = await self._referrers.page(repository, reference, (),"
                " __import__('registry.spec.pagination').spec.pagination.Page(), {})\n"
                "        for each in listed.descriptors:\n"
                "            await self.delete(repository, Digest(each['digest']), conditions,"
                " by)\n"
                "        await self._deleted.keep(repository, stored, manifest, by)\n",
                "tests/http/test_bad_input.py::test_a_chain_of_subjects_is_walked_by_nobody",
            ),
        ),
    ),
    Row(
        "referrers-flood",
        "any",
        "referrers by the thousand, and large ones",
        (
            ENDS,
            cut(
                "registry/service/referrers.py",
                "_AT_ONCE: Final = 8",
                "_AT_ONCE: Final = 100",
                "tests/service/test_large_manifests.py::"
                "test_a_page_of_large_referrers_takes_no_more_of_them_than_are_read_at_once",
            ),
        ),
    ),
    Row(
        "names-of-paths",
        "any",
        "a repository is called so that its requests pass for an upload's, which have no limit",
        (
            cut(
                "registry/http/throttle.py",
                "names_session(record.path)",
                '"/blobs/uploads/" in record.path',
                "tests/management/test_limits.py::"
                "test_what_a_repository_is_called_spares_nobody_a_limit",
            ),
        ),
    ),
    Row(
        "artifact-type-injection",
        "any",
        "a filter that holds a header, a script or JSON",
        (
            cut(
                "registry/spec/requests.py",
                "        if not is_content_type(each):\n",
                "        if False:\n",
                f"{BAD}[memory-filter-header]",
                f"{BAD}[memory-filter-script]",
            ),
        ),
    ),
    Row(
        "header-splitting",
        "any",
        "a line break in what is sent back in `Location`, `Link` or `OCI-Tag`",
        (
            cut(
                "registry/http/answer.py",
                "            if not (value.isascii() and value.isprintable()):\n",
                "            if False:\n",
                f"{PROTECTIONS}no_header_is_split",
            ),
            cut(
                "registry/spec/requests.py",
                "quote(value, safe=':/')",
                "value",
                "tests/spec/test_requests.py::test_urls_hold_only_characters_that_a_header_may_hold",
            ),
        ),
    ),
    Row(
        "tag-echo",
        "any",
        "a tag with a header in it comes back in `OCI-Tag`",
        (
            cut(
                "registry/spec/requests.py",
                "    return tuple(Tag.parse(text) for text in texts)\n",
                "    return tuple(Tag(text) for text in texts)\n",
                f"{BAD}[memory-tag-parameter-encoded-header]",
            ),
        ),
    ),
    Row(
        "webhooks",
        "any",
        "webhooks to internal addresses; a replayed secret of one",
        (
            cut(
                "registry/http/webhooks.py",
                "        if not self._destinations.admits(",
                "        if False and not self._destinations.admits(",
                "tests/webhooks/test_delivery.py::test_a_name_that_leads_inside_is_not_connected_to",
            ),
            cut(
                "registry/http/webhooks.py",
                "url, data=body, headers=headers, allow_redirects=False",
                "url, data=body, headers=headers, allow_redirects=True",
                "tests/webhooks/test_delivery.py::test_a_redirect_is_not_followed",
            ),
        ),
    ),
)
