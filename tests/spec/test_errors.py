"""Errors: the closed list of codes, one status for each class, and the one encoder."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import errors
from registry.spec.digest import Digest
from registry.spec.errors import ErrorCode, RegistryError, encode

D = Digest.of(b"")
E = Digest.of(b"other")

SPEC_CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
    "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip

EVERY = [
    (errors.BlobUnknown(D), "BLOB_UNKNOWN", 404, {}),
    (errors.UploadUnknown("x"), "BLOB_UPLOAD_UNKNOWN", 404, {}),
    (errors.UploadInvalid("no"), "BLOB_UPLOAD_INVALID", 400, {}),
    (errors.RangeInvalid("no", 5), "BLOB_UPLOAD_INVALID", 416, {"Range": "0-4"}),
    (
        errors.RangeInvalid("no", offset=0, location="/v2/a/blobs/uploads/x"),
        "BLOB_UPLOAD_INVALID",
        416,
        {"Range": "0-0", "Location": "/v2/a/blobs/uploads/x"},
    ),
    (errors.UploadConflict(7), "BLOB_UPLOAD_INVALID", 416, {"Range": "0-6"}),
    (errors.RangeUnsatisfiable(9), "SIZE_INVALID", 416, {"Content-Range": "bytes */9"}),
    (errors.DigestInvalid("x", "why"), "DIGEST_INVALID", 400, {}),
    (errors.DigestMismatch(D, E), "DIGEST_INVALID", 400, {}),
    (errors.DigestUnsupported("md5"), "DIGEST_INVALID", 400, {}),
    (errors.ManifestUnknown("x"), "MANIFEST_UNKNOWN", 404, {}),
    (errors.ManifestInvalid("no", {"at": 1}), "MANIFEST_INVALID", 400, {}),
    (errors.ManifestTooLarge(4), "SIZE_INVALID", 413, {}),
    (errors.ManifestBlobUnknown([D]), "MANIFEST_BLOB_UNKNOWN", 404, {}),
    (errors.NameInvalid("A", "why"), "NAME_INVALID", 400, {}),
    (errors.NameUnknown(), "NAME_UNKNOWN", 404, {}),
    (errors.TagInvalid("."), "MANIFEST_INVALID", 400, {}),
    (errors.TooManyTags(100), "UNSUPPORTED", 414, {}),
    (
        errors.Unauthorized(['Bearer realm="/token"']),
        "UNAUTHORIZED",
        401,
        {"WWW-Authenticate": 'Bearer realm="/token"'},
    ),
    (errors.LoginRefused(["Basic"]), "UNAUTHORIZED", 401, {"WWW-Authenticate": "Basic"}),
    (errors.TokenRequestInvalid("no"), "UNSUPPORTED", 400, {}),
    (errors.Denied("no"), "DENIED", 403, {}),
    (errors.QuotaExceeded("bytes", 3 << 30, 1 << 20, 5_000), "DENIED", 403, {}),
    (errors.PreconditionFailed(D), "DENIED", 412, {"ETag": f'"{D}"'}),
    (errors.PreconditionFailed(None), "DENIED", 412, {}),
    (errors.Unsupported("no"), "UNSUPPORTED", 400, {}),
    (errors.MethodNotAllowed(["GET", "HEAD"]), "UNSUPPORTED", 405, {"Allow": "GET, HEAD"}),
    (errors.RouteUnknown(), "UNSUPPORTED", 404, {}),
    (errors.TooManyRequests(3), "TOOMANYREQUESTS", 429, {"Retry-After": "3"}),
    (errors.RequestTimeout(), "SIZE_INVALID", 408, {}),
    (errors.HeaderTooLarge(), "UNSUPPORTED", 431, {}),
    (errors.BodyTooLarge(5), "SIZE_INVALID", 413, {}),
    (errors.Unavailable(2), "UNAVAILABLE", 503, {"Retry-After": "2"}),
    (errors.Internal("req-1"), "UNKNOWN", 500, {}),
]


@pytest.mark.parametrize(("error", "code", "status", "headers"), EVERY)
def test_each_error_has_its_code_status_and_headers(error, code, status, headers):
    assert (error.code, error.status, dict(error.lines())) == (code, status, headers)
    assert errors.STATUSES[type(error).__name__] == (code, status)
    assert str(error) == error.message
    (entry,) = json.loads(encode(error))["errors"]
    assert entry["code"] == code
    assert entry["message"]


def test_every_class_is_in_the_table_and_in_this_test():
    assert {type(row[0]).__name__ for row in EVERY} == set(errors.STATUSES)


def test_the_codes_are_the_specifications_and_two_for_server_errors():
    assert {*ErrorCode} == SPEC_CODES | {"UNKNOWN", "UNAVAILABLE"}
    for code, status in errors.STATUSES.values():
        assert (code in SPEC_CODES) == (400 <= status < 500)
    assert {code for code, _ in errors.STATUSES.values()} == {*ErrorCode}


def test_an_error_body_has_only_the_specified_fields():
    body = json.loads(encode(errors.BlobUnknown(D), errors.Denied("no")))
    assert set(body) == {"errors"}
    first, second = body["errors"]
    assert (first["code"], first["detail"]) == ("BLOB_UNKNOWN", {"digest": D})
    assert second == {"code": "DENIED", "message": "no"}


def test_the_token_services_clients_find_the_fields_of_oauth_too():
    body = json.loads(encode(errors.TokenRequestInvalid("no", "unsupported_grant_type")))
    assert body.pop("errors") == [{"code": "UNSUPPORTED", "message": "no"}]
    assert body == {"error": "unsupported_grant_type", "error_description": "no"}
    assert json.loads(encode(errors.LoginRefused([])))["error"] == "invalid_grant"


def test_each_challenge_has_a_line_of_its_own():
    """containers/image can't read two challenges in one header."""
    lines = errors.Unauthorized(["Bearer a", "Basic b"]).lines()
    assert list(lines) == [("WWW-Authenticate", "Bearer a"), ("WWW-Authenticate", "Basic b")]


def test_each_missing_blob_has_its_own_entry():
    missing = [Digest.of(bytes([i])) for i in range(5)]
    error = errors.ManifestBlobUnknown(missing)
    entries = json.loads(encode(error))["errors"]
    assert [entry["detail"]["digest"] for entry in entries] == missing
    assert {entry["code"] for entry in entries} == {"MANIFEST_BLOB_UNKNOWN"}
    assert "..." in error.message


def test_a_body_has_at_most_a_hundred_entries():
    many = errors.ManifestBlobUnknown(Digest.of(str(i).encode()) for i in range(1000))
    assert len(json.loads(encode(many, many))["errors"]) == 100


def test_a_bug_shows_nothing_but_the_request_id():
    (entry,) = json.loads(encode(errors.Internal("req-7")))["errors"]
    assert entry["detail"] == {"request_id": "req-7"}


@given(st.text())
def test_input_in_messages_is_short_and_printable(text):
    for error in (
        errors.NameInvalid(text, "why"),
        errors.ManifestUnknown(text),
        errors.UploadUnknown(text),
        errors.DigestUnsupported(text),
        errors.TagInvalid(text),
    ):
        assert error.message.isascii()
        assert error.message.isprintable()
        assert len(error.message) < 2000
        json.loads(encode(error))


def test_an_error_can_be_raised_without_headers_or_detail():
    class Own(RegistryError):
        code = ErrorCode.DENIED
        status = 403

    assert (Own("m").detail, dict(Own("m").headers)) == (None, {})
