"""The URL grammar, against the specification's endpoint table, clients' habits and attacks."""

import timeit

import pytest
from hypothesis import given

from registry.spec import errors
from registry.spec import requests as r
from registry.spec.digest import Digest
from registry.spec.errors import (
    DigestInvalid,
    DigestUnsupported,
    ManifestUnknown,
    MethodNotAllowed,
    NameInvalid,
    RegistryError,
    RouteUnknown,
    TagInvalid,
    TooManyTags,
    Unsupported,
    UploadUnknown,
)
from registry.spec.names import RepositoryName, SessionId, Tag
from registry.spec.pagination import Page
from tests.spec.strategies import method_of, requests

D = "sha256:" + "0a" * 32
D512 = "sha512:" + "0a" * 64
SESSION = "0123456789abcdef" * 4
NAME = RepositoryName("p/env")

ENDPOINTS = [
    ("GET", "/v2/", "", r.Ping()),
    ("GET", "/v2", "", r.Ping()),
    ("HEAD", "/v2/", "", r.Ping(head=True)),
    ("GET", f"/v2/p/env/blobs/{D}", "", r.GetBlob(NAME, Digest(D))),
    ("HEAD", f"/v2/p/env/blobs/{D512}", "", r.GetBlob(NAME, Digest(D512), head=True)),
    ("GET", f"/v2/p/env/blobs/{D}", "ns=docker.io", r.GetBlob(NAME, Digest(D))),
    ("GET", "/v2/p/env/manifests/latest", "", r.GetManifest(NAME, Tag("latest"))),
    ("HEAD", f"/v2/p/env/manifests/{D}", "", r.GetManifest(NAME, Digest(D), head=True)),
    ("POST", "/v2/p/env/blobs/uploads/", "", r.StartUpload(NAME)),
    ("POST", "/v2/p/env/blobs/uploads", "", r.StartUpload(NAME)),
    ("POST", "/v2/p/env/blobs/uploads/", f"digest={D}", r.StartUpload(NAME, Digest(D))),
    (
        "POST",
        "/v2/p/env/blobs/uploads/",
        "digest-algorithm=sha512",
        r.StartUpload(NAME, algorithm="sha512"),
    ),
    (
        "POST",
        "/v2/p/env/blobs/uploads/",
        f"digest={D512}&digest-algorithm=sha512",
        r.StartUpload(NAME, Digest(D512), "sha512"),
    ),
    (
        "POST",
        "/v2/p/env/blobs/uploads/",
        f"mount={D.replace(':', '%3A')}&from=q%2Fbase",
        r.StartUpload(NAME, mount=Digest(D), source=RepositoryName("q/base")),
    ),
    ("POST", "/v2/p/env/blobs/uploads/", f"mount={D}", r.StartUpload(NAME, mount=Digest(D))),
    ("POST", "/v2/p/env/blobs/uploads/", "from=q", r.StartUpload(NAME)),
    ("POST", "/v2/p/env/blobs/uploads/", f"mount={D}&from=Q%2F..", r.StartUpload(NAME)),
    ("POST", "/v2/p/env/blobs/uploads/", f"mount={D}&from=", r.StartUpload(NAME)),
    (
        "PATCH",
        f"/v2/p/env/blobs/uploads/{SESSION}",
        "_state=x",
        r.AppendUpload(NAME, SessionId(SESSION)),
    ),
    (
        "PUT",
        f"/v2/p/env/blobs/uploads/{SESSION}",
        f"_state=x&digest={D}",
        r.FinishUpload(NAME, SessionId(SESSION), Digest(D)),
    ),
    ("GET", f"/v2/p/env/blobs/uploads/{SESSION}", "", r.GetUpload(NAME, SessionId(SESSION))),
    (
        "HEAD",
        f"/v2/p/env/blobs/uploads/{SESSION}",
        "",
        r.GetUpload(NAME, SessionId(SESSION), head=True),
    ),
    ("DELETE", f"/v2/p/env/blobs/uploads/{SESSION}", "", r.CancelUpload(NAME, SessionId(SESSION))),
    ("PUT", "/v2/p/env/manifests/v1", "", r.PutManifest(NAME, Tag("v1"))),
    ("PUT", "/v2/p/env/manifests/v1", "tag=v2", r.PutManifest(NAME, Tag("v1"))),
    (
        "PUT",
        f"/v2/p/env/manifests/{D}",
        "tag=1.2&tag=1&tag=1.2&tag=latest",
        r.PutManifest(NAME, Digest(D), (Tag("1.2"), Tag("1"), Tag("latest"))),
    ),
    ("DELETE", "/v2/p/env/manifests/v1", "", r.DeleteManifest(NAME, Tag("v1"))),
    ("DELETE", f"/v2/p/env/manifests/{D}", "", r.DeleteManifest(NAME, Digest(D))),
    ("DELETE", f"/v2/p/env/blobs/{D}", "", r.DeleteBlob(NAME, Digest(D))),
    ("GET", "/v2/p/env/tags/list", "", r.ListTags(NAME)),
    ("GET", "/v2/p/env/tags/list", "n=5&last=v1", r.ListTags(NAME, Page(5, "v1"))),
    ("HEAD", "/v2/p/env/tags/list", "n=0", r.ListTags(NAME, Page(0), head=True)),
    ("GET", f"/v2/p/env/referrers/{D}", "", r.ListReferrers(NAME, Digest(D))),
    (
        "GET",
        f"/v2/p/env/referrers/{D}",
        "artifactType=application/spdx+json&artifactType=application%2Fspdx%2Bjson&n=1",
        r.ListReferrers(NAME, Digest(D), ("application/spdx+json",), Page(1)),
    ),
    ("GET", "/v2/_catalog", "n=10&last=a%2Fb", r.ListRepositories(Page(10, "a/b"))),
    ("HEAD", "/v2/_catalog", "", r.ListRepositories(head=True)),
]


@pytest.mark.parametrize(("method", "path", "query", "expected"), ENDPOINTS)
def test_every_endpoint_of_the_table_is_read(method, path, query, expected):
    parsed = r.parse(method, path, query)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize("request_", [row[3] for row in ENDPOINTS])
def test_every_endpoint_of_the_table_is_written_back(request_):
    path, _, query = r.url_for(request_).partition("?")
    assert r.parse(method_of(request_), path, query) == request_


def test_every_kind_of_request_appears_in_the_endpoint_table():
    assert {type(row[3]) for row in ENDPOINTS} == set(r.Request.__args__)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/a/manifests/b/manifests/c", "a/manifests/b"),
        ("/v2/manifests/manifests/manifests", "manifests"),
        ("/v2/a/blobs/uploads/manifests/latest", "a/blobs/uploads"),
        ("/v2/a/blobs/uploads/tags/list", "a/blobs/uploads"),
        (f"/v2/blobs/blobs/{D}", "blobs"),
        (f"/v2/a/blobs/uploads/blobs/{D}", "a/blobs/uploads"),
        (f"/v2/a/tags/list/referrers/{D}", "a/tags/list"),
        ("/v2/_catalog/manifests/x", None),
        ("/v2/v2/tags/list", "v2"),
    ],
)
def test_a_repository_may_be_named_like_a_part_of_the_grammar(path, name):
    if name is None:
        with pytest.raises(NameInvalid):
            r.parse("GET", path, "")
    else:
        assert r.parse("GET", path, "").repository == name


REFUSALS = [
    # outside the API
    ("GET", "", "", RouteUnknown),
    ("GET", "/", "", RouteUnknown),
    ("GET", "/v1/", "", RouteUnknown),
    ("GET", "/V2/", "", RouteUnknown),
    ("GET", "//v2/", "", RouteUnknown),
    ("GET", "//v2/_catalog", "", RouteUnknown),
    ("GET", "/v2//", "", RouteUnknown),
    ("GET", "/v2//_catalog", "", RouteUnknown),
    ("GET", "/v2/_catalog/", "", RouteUnknown),
    ("GET", "/v2/%5fcatalog", "", RouteUnknown),
    ("GET", "/v2/x", "", RouteUnknown),
    ("GET", "/v2/a/x/y", "", RouteUnknown),
    ("GET", "/v2/tags/list", "", RouteUnknown),
    ("GET", "/v2/a/tags/list/", "", RouteUnknown),
    ("GET", "/v2/a/tags/other", "", RouteUnknown),
    ("GET", "/v2/manifests/latest", "", RouteUnknown),
    ("GET", "/v2/a/manifests/", "", RouteUnknown),
    ("GET", "/v2/a/manifests", "", RouteUnknown),
    ("GET", "/v2/a/manifests/x/", "", RouteUnknown),
    ("GET", "/v2/a/blobs/", "", RouteUnknown),
    ("GET", "/v2/a/referrers/", "", RouteUnknown),
    ("POST", "/v2/blobs/uploads/", "", RouteUnknown),
    ("PATCH", f"/v2/a/uploads/{SESSION}", "", RouteUnknown),
    ("PATCH", f"/v2/a/blobs/uploads/{SESSION}/", "", RouteUnknown),
    # names
    ("GET", "/v2/a%2Fb/manifests/x", "", NameInvalid),
    ("GET", "/v2/a/../b/manifests/x", "", NameInvalid),
    ("GET", "/v2//a/manifests/x", "", NameInvalid),
    ("GET", "/v2/a//manifests/x", "", NameInvalid),
    ("GET", "/v2/A/manifests/x", "", NameInvalid),
    ("GET", "/v2/_a/manifests/x", "", NameInvalid),
    ("GET", "/v2/é/tags/list", "", NameInvalid),
    ("GET", "/v2/a\n/tags/list", "", NameInvalid),
    ("GET", "/v2/" + "a" * 251 + "/tags/list", "", NameInvalid),
    ("GET", f"/v2/A/blobs/{D}", "", NameInvalid),
    ("GET", f"/v2/A/referrers/{D}", "", NameInvalid),
    ("POST", "/v2/A/blobs/uploads/", "", NameInvalid),
    ("PATCH", f"/v2/A/blobs/uploads/{SESSION}", "", NameInvalid),
    # references
    ("GET", "/v2/a/manifests/.x", "", ManifestUnknown),
    ("GET", "/v2/a/manifests/" + "x" * 129, "", ManifestUnknown),
    ("HEAD", "/v2/a/manifests/a%3Ab", "", ManifestUnknown),
    ("DELETE", "/v2/a/manifests/-x", "", ManifestUnknown),
    ("PUT", "/v2/a/manifests/.x", "", TagInvalid),
    ("PUT", f"/v2/a/manifests/{D}", "tag=.x", TagInvalid),
    ("PUT", f"/v2/a/manifests/{D}", "tag=", TagInvalid),
    ("PUT", "/v2/a/manifests/sha256:baddigeststring", "", DigestInvalid),
    ("GET", "/v2/a/manifests/sha256:baddigeststring", "", DigestInvalid),
    ("GET", f"/v2/a/manifests/{D.upper()}", "", DigestInvalid),
    ("GET", "/v2/a/blobs/x", "", DigestInvalid),
    ("GET", f"/v2/a/blobs/{D.replace(':', '%3A')}", "", DigestInvalid),
    ("GET", f"/v2/a/blobs/{D}\n", "", DigestInvalid),
    ("GET", "/v2/a/blobs/blake3:" + "0" * 64, "", DigestUnsupported),
    ("GET", "/v2/a/referrers/latest", "", DigestInvalid),
    ("GET", "/v2/a/referrers/sha256:../../x", "", RouteUnknown),
    # sessions
    ("PATCH", "/v2/a/blobs/uploads/x", "", UploadUnknown),
    ("GET", f"/v2/a/blobs/uploads/{SESSION.upper()}", "", UploadUnknown),
    ("PUT", f"/v2/a/blobs/uploads/{SESSION}", "", DigestInvalid),
    ("PUT", f"/v2/a/blobs/uploads/{SESSION}", "digest=", DigestInvalid),
    # queries
    ("PUT", f"/v2/a/blobs/uploads/{SESSION}", f"digest={D}&digest={D}", DigestInvalid),
    ("POST", "/v2/a/blobs/uploads/", "digest=x", DigestInvalid),
    ("POST", "/v2/a/blobs/uploads/", f"digest={D}&digest={D}", DigestInvalid),
    ("POST", "/v2/a/blobs/uploads/", f"mount={D}&mount={D}", DigestInvalid),
    ("POST", "/v2/a/blobs/uploads/", "mount=x&from=a", DigestInvalid),
    ("POST", "/v2/a/blobs/uploads/", f"mount={D}&from=a&from=b", NameInvalid),
    ("POST", "/v2/a/blobs/uploads/", "digest-algorithm=md5", DigestUnsupported),
    ("POST", "/v2/a/blobs/uploads/", f"digest={D}&digest-algorithm=sha512", DigestInvalid),
    (
        "POST",
        "/v2/a/blobs/uploads/",
        "digest-algorithm=sha256&digest-algorithm=sha256",
        Unsupported,
    ),
    ("GET", "/v2/a/tags/list", "n=1&n=2", Unsupported),
    ("GET", "/v2/a/tags/list", "last=1&last=2", Unsupported),
    ("GET", "/v2/a/tags/list", "n=-1", Unsupported),
    ("GET", "/v2/a/tags/list", "last=%ff", Unsupported),
    ("GET", "/v2/a/tags/list", "last=\xe9", Unsupported),
    ("GET", "/v2/a/tags/list", "x=" + "1" * 32768, Unsupported),
    ("GET", "/v2/a/tags/list", "&" * 256, Unsupported),
    ("GET", f"/v2/a/referrers/{D}", "artifactType=nonsense", Unsupported),
    ("GET", f"/v2/a/referrers/{D}", "artifactType=a/b%0d%0a", Unsupported),
    (
        "GET",
        f"/v2/a/referrers/{D}",
        "&".join(f"artifactType=a/{i}" for i in range(17)),
        Unsupported,
    ),
]


@pytest.mark.parametrize(("method", "path", "query", "error"), REFUSALS)
def test_what_is_no_request_is_refused_with_its_error(method, path, query, error):
    with pytest.raises(error) as caught:
        r.parse(method, path, query)
    assert type(caught.value) is error
    assert 400 <= caught.value.status < 500


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/", "GET, HEAD"),
        ("/v2", "GET, HEAD"),
        ("/v2/_catalog", "GET, HEAD"),
        ("/v2/a/tags/list", "GET, HEAD"),
        (f"/v2/a/referrers/{D}", "GET, HEAD"),
        ("/v2/a/blobs/uploads/", "POST"),
        ("/v2/a/blobs/uploads", "POST"),
        (f"/v2/a/blobs/uploads/{SESSION}", "GET, HEAD, PATCH, PUT, DELETE"),
        (f"/v2/a/blobs/{D}", "GET, HEAD, DELETE"),
        ("/v2/a/manifests/x", "GET, HEAD, PUT, DELETE"),
    ],
)
def test_a_known_path_tells_which_methods_it_has(path, allowed):
    """Every other method, known to HTTP or not, gets 405 with Allow."""
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"]
    for method in methods:
        if method in allowed.split(", "):
            continue
        with pytest.raises(MethodNotAllowed) as caught:
            r.parse(method, path, "")
        assert caught.value.headers["Allow"] == allowed


def test_one_put_sets_up_to_a_hundred_tags():
    query = "&".join(f"tag=t{i}" for i in range(r.MAX_TAGS))
    put = r.parse("PUT", f"/v2/a/manifests/{D}", query)
    assert put.tags == tuple(f"t{i}" for i in range(100))
    with pytest.raises(TooManyTags):
        r.parse("PUT", f"/v2/a/manifests/{D}", query + "&tag=more")


def test_a_hundred_longest_tags_fit_the_query():
    query = "&".join(f"tag={i:03}" + "x" * 125 for i in range(100))
    assert len(r.parse("PUT", f"/v2/a/manifests/{D}", query).tags) == 100


@given(requests)
def test_url_for_is_the_inverse_of_parse(request_):
    path, _, query = r.url_for(request_).partition("?")
    parsed = r.parse(method_of(request_), path, query)
    assert parsed == request_
    assert type(parsed) is type(request_)


@given(requests)
def test_a_path_is_a_sessions_or_a_manifests_where_it_is_read_as_one(request_):
    path, _, _ = r.url_for(request_).partition("?")
    sessions = r.GetUpload | r.AppendUpload | r.FinishUpload | r.CancelUpload
    manifests = r.GetManifest | r.PutManifest | r.DeleteManifest
    assert r.names_session(path) == isinstance(request_, sessions)
    assert r.names_manifest(path) == isinstance(request_, manifests)


@given(requests)
def test_urls_hold_only_characters_that_a_header_may_hold(request_):
    assert all("!" <= character <= "~" for character in r.url_for(request_))


def test_parsed_values_are_typed():
    request = r.parse("GET", f"/v2/p/env/manifests/{D}", "")
    assert type(request.repository) is RepositoryName
    assert type(request.reference) is Digest
    assert type(r.parse("GET", "/v2/p/manifests/x", "").reference) is Tag


def test_every_kind_of_request_names_its_action_once():
    kinds = r.Request.__args__
    assert len({kind.action for kind in kinds}) == len(kinds)
    assert {kind for kind in kinds if kind.write} == {
        r.DeleteBlob,
        r.StartUpload,
        r.GetUpload,
        r.AppendUpload,
        r.FinishUpload,
        r.CancelUpload,
        r.PutManifest,
        r.DeleteManifest,
    }


def test_a_refusal_shows_at_most_a_short_piece_of_the_input():
    with pytest.raises(RegistryError) as caught:
        r.parse("GET", "/v2/" + "A\x1b[31m" * 10_000 + "/tags/list", "")
    assert len(caught.value.message) < 300
    assert "\x1b" not in caught.value.message


def test_reading_a_pull_takes_microseconds():
    """A bound of ten times what was measured (1.4 to 1.8 us), so that only a blunder fails."""
    for path in ("/v2/proj/env-python/manifests/latest", f"/v2/proj/env-python/blobs/{D}"):
        seconds = min(timeit.repeat(lambda p=path: r.parse("GET", p, ""), number=2000, repeat=3))
        assert seconds / 2000 < 20e-6


def test_every_error_that_parsing_raises_is_in_the_closed_list():
    assert {row[3].__name__ for row in REFUSALS} <= set(errors.STATUSES)
