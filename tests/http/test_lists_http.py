"""Tags, the catalog and referrers over the wire: end-8, end-12, Docker's catalog."""

import re
import string
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.http.limits import Limits
from tests.oracle.content import (
    OCI_INDEX,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    encode,
    image,
    index,
    push_blob,
    push_image,
    put_manifest,
)
from tests.oracle.wire import Client, Reply

LINK = re.compile(r'<(/[^>]*)>; rel="next"').fullmatch
TRICKY_TAGS = [
    "0.1.2",
    "0.1.20",
    "0.1",
    "0.1.2-rc",
    "Z",
    "a",
    "A",
    "_",
    "a.b",
    "a-b",
    "a_b",
    "10",
    "9",
]
TRICKY_NAMES = [
    "math",
    "math-voila",
    "math/x",
    "math.x",
    "math_x",
    "math0",
    "a",
    "a/a/b/a-b",
    "a/a",
    "a-a",
]


def walk(client: Client, target: str, key: str) -> list[list]:
    """Follow the links from a listing; give its pages."""
    pages = []
    while True:
        reply = client.get(target).expect(200)
        pages.append(reply.json()[key])
        following = reply.get("Link")
        if following is None:
            return pages
        assert pages[-1], "an empty page that has a successor"
        match = LINK(following)
        assert match, following
        target = match[1]
        assert len(pages) < 5000


def tag_images(client: Client, repo: str, tags: list[str], seed: object = 0) -> bytes:
    """Give one manifest all these tags."""
    push_blob(client, repo, b"{}")
    manifest = image(b"{}", annotations={"seed": repr(seed)})
    for at in range(0, len(tags), 100):
        some = tags[at : at + 100]
        put_manifest(client, repo, digest_of(manifest), manifest, tags=some).expect(201)
    return manifest


# --- tags -----------------------------------------------------------------------------------


def test_tags_come_in_byte_order_all_at_once_without_n(client, repo):
    tag_images(client, repo, TRICKY_TAGS)
    reply = client.get(f"/v2/{repo}/tags/list").expect(200)
    assert reply["Content-Type"] == "application/json"
    assert reply.json() == {"name": repo, "tags": sorted(TRICKY_TAGS)}
    assert reply.get("Link") is None


def test_a_repository_that_never_was_is_unknown_and_an_emptied_one_is_empty(client, repo):
    client.get(f"/v2/{repo}/tags/list").refused(404, "NAME_UNKNOWN")
    push_image(client, repo, repo, "v1")
    client.delete(f"/v2/{repo}/manifests/v1").expect(202)
    reply = client.get(f"/v2/{repo}/tags/list").expect(200)
    assert reply.json() == {"name": repo, "tags": []}


def test_head_of_a_list_is_answered_without_a_body(client, repo):
    tag_images(client, repo, ["a", "b"])
    got = client.get(f"/v2/{repo}/tags/list")
    head = client.head(f"/v2/{repo}/tags/list").expect(200)
    assert head["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize("n", ["1", "2", "3", "5", "100", "1" + "0" * 18, "9" * 400])
def test_pages_of_any_size_give_each_tag_once_and_in_order(client, repo, n):
    tag_images(client, repo, TRICKY_TAGS)
    pages = walk(client, f"/v2/{repo}/tags/list?n={n}", "tags")
    assert [tag for page in pages for tag in page] == sorted(TRICKY_TAGS)
    assert all(len(page) <= int(n[:18]) for page in pages)


def test_the_last_page_has_no_link(client, repo):
    tag_images(client, repo, ["a", "b", "c", "d"])
    reply = client.get(f"/v2/{repo}/tags/list?n=2&last=b").expect(200)
    assert reply.json()["tags"] == ["c", "d"]
    assert reply.get("Link") is None


def test_n_of_zero_gives_nothing(client, repo):
    tag_images(client, repo, ["a"])
    reply = client.get(f"/v2/{repo}/tags/list?n=0").expect(200)
    assert reply.json()["tags"] == []
    assert reply.get("Link") is None


def test_last_need_not_exist_and_after_the_end_there_is_an_empty_list(client, repo):
    tag_images(client, repo, ["b", "d"])
    for last, expected in {
        "a": ["b", "d"],
        "b": ["d"],
        "c": ["d"],
        "d": [],
        "zzz": [],
        "": ["b", "d"],
        "%21": ["b", "d"],
        "x" * 10_000: [],
    }.items():
        reply = client.get(f"/v2/{repo}/tags/list?last={last}").expect(200)
        assert reply.json()["tags"] == expected, last


@pytest.mark.parametrize("n", ["-1", "abc", "", "1.5", "+1", "%31%30x", "1e3", "٣"])
def test_an_n_that_is_no_number_is_refused(client, repo, n):
    tag_images(client, repo, ["a"])
    reply = client.get(f"/v2/{repo}/tags/list?n={quote(n, safe='%')}")
    reply.refused(400, "UNSUPPORTED")


def test_thousands_of_tags_are_all_reached_whatever_n(serve):
    """Clamped, never refused: CVE-2023-2253 and what Renovate needs."""
    tags = [f"v{number:04}" for number in range(2500)]
    with serve("memory").client() as client:
        tag_images(client, "a/b", tags)
        assert client.get("/v2/a/b/tags/list").expect(200).json()["tags"] == tags
        for n in (999, 1000, 5000, 10**18):
            pages = walk(client, f"/v2/a/b/tags/list?n={n}", "tags")
            assert [tag for page in pages for tag in page] == tags


def test_a_page_holds_no_more_than_the_limit_says(serve):
    """`limits.page`: a client that asks for more gets this many and a Link."""
    with serve("memory", limits=Limits(page=5)).client() as client:
        names = [f"r/{number:02}" for number in range(12)]
        for name in names:
            tag_images(client, name, ["v1"])
        tags = [f"v{number:02}" for number in range(1, 13)]
        tag_images(client, "r/00", tags)
        tags.insert(0, "v1")
        for target, key, expected in (
            ("/v2/r/00/tags/list?n=100", "tags", sorted(tags)),
            ("/v2/_catalog?n=100", "repositories", names),
        ):
            pages = walk(client, target, key)
            assert [each for page in pages for each in page] == expected
            assert max(len(page) for page in pages) == 5


def test_the_list_is_right_after_each_push_and_delete(client, repo):
    """C11: no list is older than the last acknowledged change."""
    here: set[str] = set()
    tag_images(client, repo, ["keep"])
    here.add("keep")
    for number in range(15):
        tag = f"t{number * 7 % 5}"
        if tag in here:
            client.delete(f"/v2/{repo}/manifests/{tag}").expect(202)
            here.discard(tag)
        else:
            tag_images(client, repo, [tag])
            here.add(tag)
        assert client.get(f"/v2/{repo}/tags/list").json()["tags"] == sorted(here)


tag_names = st.one_of(
    st.sampled_from(TRICKY_TAGS),
    st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=1).flatmap(
        lambda first: st.text(string.ascii_letters + string.digits + "._-", max_size=6).map(
            lambda rest: first + rest
        )
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tags=st.sets(tag_names, min_size=1, max_size=12),
    n=st.integers(1, 13),
    last=st.one_of(st.none(), tag_names),
)
def test_tag_pages_hold_each_tag_after_last_once(registry, tags, n, last):
    repo = f"pages/p{abs(hash((frozenset(tags), n, last))):x}"
    with registry.client() as client:
        tag_images(client, repo, sorted(tags))
        query = f"n={n}" + (f"&last={quote(last)}" if last is not None else "")
        pages = walk(client, f"/v2/{repo}/tags/list?{query}", "tags")
    expected = sorted(tag for tag in tags if last is None or tag > last)
    assert [tag for page in pages for tag in page] == expected
    assert all(len(page) == n for page in pages[:-1])
    assert len(pages[-1]) <= n


# --- catalog --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "filesystem"])
def test_the_catalog_lists_repositories_in_byte_order(serve, kind):
    local = serve(kind)
    with local.client() as client:
        assert client.get("/v2/_catalog").expect(200).json() == {"repositories": []}
        for name in TRICKY_NAMES:
            tag_images(client, name, ["v1"])
        reply = client.get("/v2/_catalog").expect(200)
        assert reply["Content-Type"] == "application/json"
        assert reply.json() == {"repositories": sorted(TRICKY_NAMES)}
        for n in (1, 2, 3, 7, 10**18):
            pages = walk(client, f"/v2/_catalog?n={n}", "repositories")
            assert [name for page in pages for name in page] == sorted(TRICKY_NAMES), n
            assert not any(len(page) > n for page in pages)
        for bad in ("-1", "x", ""):
            client.get(f"/v2/_catalog?n={bad}").refused(400, "UNSUPPORTED")
        assert client.get("/v2/_catalog?n=0").expect(200).json() == {"repositories": []}


component = st.text("ab0", min_size=1, max_size=2).flatmap(
    lambda stem: st.sampled_from(["", ".", "_", "__", "-", "--"]).map(
        lambda joint: stem + joint + "a" if joint else stem
    )
)
repository_names = st.one_of(
    st.sampled_from(TRICKY_NAMES), st.lists(component, min_size=1, max_size=3).map("/".join)
)


@pytest.mark.parametrize("kind", ["memory", "filesystem"])
def test_catalog_pages_hold_each_repository_after_last_once(serve, kind):
    local = serve(kind)
    known: set[str] = set()

    @settings(max_examples=20, deadline=None, database=None)
    @given(
        names=st.sets(repository_names, max_size=3),
        n=st.integers(1, 9),
        last=st.one_of(st.none(), repository_names),
    )
    def check(names, n, last):
        with local.client() as client:
            for name in names - known:
                tag_images(client, name, ["v1"])
            known.update(names)
            query = f"n={n}" + (f"&last={quote(last, safe='')}" if last is not None else "")
            pages = walk(client, f"/v2/_catalog?{query}", "repositories")
        expected = sorted(name for name in known if last is None or name > last)
        assert [name for page in pages for name in page] == expected

    check()


# --- referrers ------------------------------------------------------------------------------


def referrers(client: Client, repo: str, subject: str, query: str = "") -> Reply:
    reply = client.get(f"/v2/{repo}/referrers/{subject}{query}").expect(200)
    assert reply["Content-Type"] == OCI_INDEX
    document = reply.json()
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == OCI_INDEX
    return reply


def digests(reply: Reply) -> set[str]:
    found = [each["digest"] for each in reply.json()["manifests"]]
    assert len(found) == len(set(found))
    return set(found)


def test_referrers_of_an_unknown_digest_are_an_empty_index(client, repo):
    reply = referrers(client, repo, digest_of(b"never"))
    assert reply.json()["manifests"] == []
    reply = referrers(client, repo, digest_of(b"never", "sha512"))
    assert reply.json()["manifests"] == []


def test_a_referrer_is_listed_with_type_and_annotations(client, repo):
    subject = push_image(client, repo, repo, "v1")
    push_blob(client, repo, b"{}")
    referrer = image(
        b"{}",
        subject=descriptor(subject, OCI_MANIFEST),
        artifactType="application/vnd.example.sbom+json",
        annotations={"org.example.a": "1", "b": "zwei"},
    )
    put_manifest(client, repo, digest_of(referrer), referrer).expect(201)
    (entry,) = referrers(client, repo, digest_of(subject)).json()["manifests"]
    assert entry == descriptor(referrer, OCI_MANIFEST) | {
        "artifactType": "application/vnd.example.sbom+json",
        "annotations": {"org.example.a": "1", "b": "zwei"},
    }


def test_the_type_comes_from_the_config_for_images_only(client, repo):
    subject = descriptor(push_image(client, repo, repo, "v1"), OCI_MANIFEST)
    push_blob(client, repo, b"{}")
    plain, listing = image(b"{}", subject=subject), index([], subject=subject)
    for each in (plain, listing):
        put_manifest(client, repo, digest_of(each), each).expect(201)
    found = {
        each["digest"]: each.get("artifactType")
        for each in referrers(client, repo, subject["digest"]).json()["manifests"]
    }
    assert found == {
        digest_of(plain): "application/vnd.oci.image.config.v1+json",
        digest_of(listing): None,
    }


def test_the_filter_is_exact_and_says_that_it_was_applied(client, repo):
    subject = descriptor(push_image(client, repo, repo, "v1"), OCI_MANIFEST)
    push_blob(client, repo, b"{}")
    by_type = {}
    for kind in ("application/spdx+json", "application/spdx", "application/spdx+jsonl"):
        each = image(b"{}", subject=subject, artifactType=kind)
        by_type[kind] = digest_of(each)
        put_manifest(client, repo, digest_of(each), each).expect(201)
    for asked in ("application%2Fspdx%2Bjson", "application/spdx+json"):
        reply = referrers(client, repo, subject["digest"], f"?artifactType={asked}")
        assert digests(reply) == {by_type["application/spdx+json"]}
        assert reply["OCI-Filters-Applied"] == "artifactType"
    reply = referrers(client, repo, subject["digest"], "?artifactType=application/none")
    assert digests(reply) == set()
    assert reply["OCI-Filters-Applied"] == "artifactType"
    assert referrers(client, repo, subject["digest"]).get("OCI-Filters-Applied") is None


def test_many_referrers_come_in_pages_filtered_or_not(client, repo):
    subject = descriptor(b"not pushed yet", OCI_MANIFEST)
    push_blob(client, repo, b"{}")
    kinds = {"application/x.odd": set(), "application/x.even": set()}
    for number in range(110):
        kind = sorted(kinds)[number % 2]
        each = image(b"{}", subject=subject, artifactType=kind, annotations={"number": str(number)})
        kinds[kind].add(digest_of(each))
        put_manifest(client, repo, digest_of(each), each).expect(201)
    target = f"/v2/{repo}/referrers/{subject['digest']}"
    everything = set().union(*kinds.values())
    for query, expected in (
        ("", everything),
        ("?n=7", everything),
        ("?n=999999999999", everything),
        ("?artifactType=application/x.odd", kinds["application/x.odd"]),
        ("?artifactType=application/x.odd&n=7", kinds["application/x.odd"]),
    ):
        pages = walk(client, target + query, "manifests")
        found = [each["digest"] for page in pages for each in page]
        assert len(found) == len(expected), query
        assert set(found) == expected, query
        assert all(len(page) <= 100 for page in pages)


def test_referrers_under_the_fallback_tag_are_folded_in_once(client, repo):
    """Clients that knew no referrers API kept an index under `<alg>-<hex>`."""
    subject = push_image(client, repo, repo, "v1")
    push_blob(client, repo, b"{}")
    known = image(b"{}", subject=descriptor(subject, OCI_MANIFEST))
    put_manifest(client, repo, digest_of(known), known).expect(201)
    old = image(b"{}", annotations={"old": "yes"})
    put_manifest(client, repo, digest_of(old), old).expect(201)
    listing = index(
        [],
        manifests=[
            descriptor(old, OCI_MANIFEST) | {"artifactType": "application/x.old"},
            descriptor(known, OCI_MANIFEST),
        ],
    )
    tag = digest_of(subject).replace(":", "-")
    put_manifest(client, repo, tag, listing).expect(201)
    assert digests(referrers(client, repo, digest_of(subject))) == {
        digest_of(known),
        digest_of(old),
    }
    filtered = referrers(client, repo, digest_of(subject), "?artifactType=application/x.old")
    assert digests(filtered) == {digest_of(old)}
    client.delete(f"/v2/{repo}/manifests/{digest_of(old)}").expect(202)
    assert digests(referrers(client, repo, digest_of(subject))) == {digest_of(known)}


def test_a_fallback_tag_that_is_no_index_does_no_harm(client, repo):
    subject = push_image(client, repo, repo, "v1")
    tag = digest_of(subject).replace(":", "-")
    put_manifest(client, repo, tag, subject).expect(201)
    assert digests(referrers(client, repo, digest_of(subject))) == set()


def test_the_fallback_tag_of_sha512_is_cut_to_64_characters(client, repo):
    subject = digest_of(b"subject", "sha512")
    push_blob(client, repo, b"{}")
    old = image(b"{}", annotations={"old": "yes"})
    put_manifest(client, repo, digest_of(old), old).expect(201)
    put_manifest(client, repo, f"sha512-{subject[7:71]}", index([old])).expect(201)
    assert digests(referrers(client, repo, subject)) == {digest_of(old)}


def test_a_deleted_referrer_is_listed_no_more(client, repo):
    subject = push_image(client, repo, repo, "v1")
    push_blob(client, repo, b"{}")
    referrer = image(b"{}", subject=descriptor(subject, OCI_MANIFEST))
    put_manifest(client, repo, "sig", referrer).expect(201)
    client.delete(f"/v2/{repo}/manifests/sig").expect(202)
    assert digests(referrers(client, repo, digest_of(subject))) == {digest_of(referrer)}
    client.delete(f"/v2/{repo}/manifests/{digest_of(referrer)}").expect(202)
    assert digests(referrers(client, repo, digest_of(subject))) == set()


def test_referrers_outlive_their_subject(client, repo):
    subject = push_image(client, repo, repo, "v1")
    push_blob(client, repo, b"{}")
    referrer = image(b"{}", subject=descriptor(subject, OCI_MANIFEST))
    put_manifest(client, repo, "sig", referrer).expect(201)
    client.delete(f"/v2/{repo}/manifests/{digest_of(subject)}").expect(202)
    assert digests(referrers(client, repo, digest_of(subject))) == {digest_of(referrer)}


def test_referrers_are_those_of_one_repository(client, repo, another):
    subject = descriptor(b"subject", OCI_MANIFEST)
    for name in (repo, another):
        push_blob(client, name, b"{}")
    referrer = image(b"{}", subject=subject)
    put_manifest(client, repo, "sig", referrer).expect(201)
    assert digests(referrers(client, another, subject["digest"])) == set()


def test_referrers_pushed_at_once_are_all_listed(registry, repo):
    """C13: no document is read, changed and written back."""
    subject = descriptor(b"subject", OCI_MANIFEST)
    with registry.client() as client:
        push_blob(client, repo, b"{}")

    def push(number: int) -> str:
        each = image(b"{}", subject=subject, annotations={"number": str(number)})
        with registry.client() as client:
            put_manifest(client, repo, digest_of(each), each).expect(201)
        return digest_of(each)

    with ThreadPoolExecutor(16) as threads:
        pushed = set(threads.map(push, range(32)))
    with registry.client() as client:
        assert digests(referrers(client, repo, subject["digest"])) == pushed


def test_a_referrer_with_the_document_types_shape_but_unknown_type_is_stored(client, repo):
    """An unknown media type is kept as JSON; what it refers to counts where it is well-formed."""
    custom = encode({"mediaType": "application/vnd.example.custom+json", "anything": [1, 2]})
    put_manifest(client, repo, "custom", custom).expect(201)
    reply = client.get(f"/v2/{repo}/manifests/custom").expect(200)
    assert reply["Content-Type"] == "application/vnd.example.custom+json"
    assert reply.body == custom
