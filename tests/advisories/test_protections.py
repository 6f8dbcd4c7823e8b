"""Protections that no other test removes: by the advisory that each is for."""

import asyncio
import hmac
import itertools
from base64 import urlsafe_b64decode

import pytest
from aiohttp.test_utils import make_mocked_request

from auth.identity import Identity, Kind
from auth.judgement import Allow
from auth.policy import Action, ProjectPolicy, Verb
from registry.http.answer import Answer
from registry.http.body import whole
from registry.http.limits import Limits
from registry.service.projects.secrets import SecretKind, mint, presented
from registry.service.redirects import Redirects
from registry.service.referrers import PAGE_BYTES
from registry.service.sessions import Sessions
from registry.spec.errors import BodyTooLarge, RequestTimeout, UploadUnknown
from registry.spec.names import Place
from registry.spec.problems import BootstrapRefused
from storage.memory import MemoryStore
from tests.auth.keys import signing_key
from tests.auth.tenants import BOOTSTRAP, PASSWORD, basic, tenants
from tests.auth.test_jose import token
from tests.auth.test_tokens import claims, refused, verifier
from tests.oracle.content import (
    OCI_MANIFEST,
    descriptor,
    digest_of,
    encode,
    image,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
)
from tests.oracle.local import serving

# --- bodies ---------------------------------------------------------------------------------


class Body:
    """A request whose body comes in pieces, for as long as anybody reads."""

    protocol = None

    def __init__(self, pieces, length=None):
        self.content_length, self.headers, self.taken = length, {}, 0
        self.pieces, self.content = iter(pieces), self

    async def readany(self):
        piece = next(self.pieces, b"")
        self.taken += len(piece)
        return piece


async def test_a_body_is_read_no_further_than_its_limit():
    body = Body(itertools.repeat(b"x" * 100, 10_000))
    with pytest.raises(BodyTooLarge):
        await whole(body, Limits(), 1000)
    assert body.taken <= 1100


async def test_a_body_that_says_it_is_too_long_is_not_read_at_all():
    body = Body([b"x" * 1001], length=1001)
    with pytest.raises(BodyTooLarge):
        await whole(body, Limits(), 1000)
    assert body.taken == 0


async def test_a_body_that_trickles_is_given_up():
    """Enough bytes must come in each span of time, not one now and then."""

    class Trickle(Body):
        async def readany(self):
            await asyncio.sleep(0.02)
            return await super().readany()

    body = Trickle(itertools.repeat(b"x", 200))
    with pytest.raises(RequestTimeout):
        await whole(body, Limits(idle_seconds=0.3, slowest_bytes=1000), 10_000)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0", "é", "a\x7f"])
def test_no_header_is_split(value):
    request = make_mocked_request("GET", "/v2/")
    assert b"X-Good: a\r\n" in Answer(200, [("X-Good", "a")]).head(request)
    with pytest.raises(ValueError, match="can't be sent"):
        Answer(200, [("Location", value)]).head(request)


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "x" * 257, "", "http://a/k"])
def test_a_key_id_that_is_none_finds_no_key(kid):
    payload = claims().split(".")[1]
    good = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert verifier().verify(token(signing_key(), good))
    told = refused(token(signing_key(), good, kid=kid))
    assert "too long" in told if len(kid) > 256 else "not known" in told


# --- secrets --------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch):
    """What was compared in constant time."""
    pairs = []
    real = hmac.compare_digest

    def compare(one, other):
        pairs.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return pairs


async def test_cve_2023_20902_secrets_are_compared_in_constant_time(compared):
    text, record = mint(SecretKind.ROBOT)
    assert presented(text).matches(record)
    assert [other for _, other in compared] == [record.sha256]
    compared.clear()

    sessions = Sessions(MemoryStore())
    place = Place("tenant/app")
    session = await sessions.issue(place, "user:ann", "sha256")
    await sessions.check(session, place, "user:ann")
    with pytest.raises(UploadUnknown):
        await sessions.check(session, place, "user:bob")
    assert len(compared) == 2
    compared.clear()


def test_cve_2023_20902_the_bootstrap_secret_too(compared):
    with tenants() as registry:
        with pytest.raises(BootstrapRefused):
            registry.run(registry.tenancy.accounts.bootstrap("a guess", "root", PASSWORD))
        assert (b"a guess", BOOTSTRAP.encode()) in compared


# --- projects -------------------------------------------------------------------------------


async def test_harbor_23675_the_registrys_own_work_is_known_by_its_kind():
    class Removed:
        async def removed(self, tenant):
            return tenant == "id-1"

    policy = ProjectPolicy(Removed())
    purge = Action(Verb.PURGE, project="id-1")
    assert isinstance(await policy.decide(Identity("system:purge", Kind.SYSTEM), purge), Allow)
    for kind in set(Kind) - {Kind.SYSTEM}:
        decision = await policy.decide(Identity("system:purge", kind), purge)
        assert not isinstance(decision, Allow), kind


@pytest.fixture(scope="module")
def registry():
    with tenants() as registry:
        for name in ("vic", "mal"):
            registry.user(name)
        registry.project("theirs", vic="owner")
        registry.project("mine", mal="owner")
        yield registry


@pytest.fixture
def mal(registry):
    with registry.caller(basic("mal")) as caller:
        yield caller


@pytest.fixture
def vic(registry):
    with registry.caller(basic("vic")) as caller:
        yield caller


def test_cve_2026_35172_what_was_deleted_here_stays_so_whoever_reads_it_there(mal, vic):
    data = random_bytes("both have it", 5000)
    digest = digest_of(data)
    for caller, repository in ((mal, "mine/a"), (mal, "mine/b"), (vic, "theirs/a")):
        push_blob(caller, repository, data)
        caller.get(f"/v2/{repository}/blobs/{digest}").expect(200)
    mal.delete(f"/v2/mine/a/blobs/{digest}").expect(202)
    for caller, repository in ((mal, "mine/b"), (vic, "theirs/a")):
        assert caller.get(f"/v2/{repository}/blobs/{digest}").expect(200).body == data
        for method in ("GET", "HEAD"):
            assert mal.request(method, f"/v2/mine/a/blobs/{digest}").status == 404


def test_openshift_9819_what_is_remembered_of_one_repository_opens_no_other(mal, vic):
    data = random_bytes("only theirs", 5000)
    digest = digest_of(data)
    push_blob(vic, "theirs/a", data)
    for _ in range(2):
        vic.get(f"/v2/theirs/a/blobs/{digest}").expect(200)
        assert mal.get(f"/v2/mine/a/blobs/{digest}").status == 404


def test_cve_2026_31801_no_tag_is_special(mal):
    first, second = image(b"{}"), image(b"{}", annotations={"a": "b"})
    push_blob(mal, "mine/tags", b"{}")
    for tag in ("latest", "v1", "main", "cache"):
        create = ("If-None-Match", "*")
        target = f"/v2/mine/tags/manifests/{tag}"
        kind = ("Content-Type", OCI_MANIFEST)
        mal.request("PUT", target, [kind, create], first).expect(201)
        mal.request("PUT", target, [kind, create], second).refused(412, "DENIED")
        assert mal.get(target).expect(200).body == first


def test_a_mount_takes_only_what_the_source_holds(mal, vic):
    """The repository that is named may be read; what it does not hold is not in it."""
    data = random_bytes("held elsewhere", 5000)
    push_blob(vic, "theirs/a", data)
    push_image(mal, "mine/source", "x", "v1")
    target = f"/v2/mine/target/blobs/uploads/?mount={digest_of(data)}&from=mine/source"
    mal.post(target).expect(202)
    assert mal.get(f"/v2/mine/target/blobs/{digest_of(data)}").status == 404


def test_a_mount_takes_only_what_the_caller_may_pull(mal, vic):
    data = random_bytes("held by them", 5000)
    push_blob(vic, "theirs/a", data)
    for source in ("theirs/a", "theirs/none", "nobodys/a"):
        target = f"/v2/mine/target/blobs/uploads/?mount={digest_of(data)}&from={source}"
        mal.post(target).expect(202)
    assert mal.get(f"/v2/mine/target/blobs/{digest_of(data)}").status == 404


# --- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "image/svg+xml", "text/xml",
     "application/xml", "text/plain", "multipart/x-mixed-replace", "application/rss+xml"],
)  # fmt: skip
def test_cve_2025_32019_no_manifest_is_a_page_to_a_browser(mal, kind):
    body = encode({"a": "<script>alert(1)</script>"})
    reply = mal.put("/v2/mine/pages/manifests/v1", ("Content-Type", kind), body=body)
    reply.refused(400, "MANIFEST_INVALID")
    kept = mal.put(
        "/v2/mine/pages/manifests/v1", ("Content-Type", "application/vnd.acme+json"), body=body
    )
    kept.expect(201)


def test_cve_2025_32019_no_answer_is_a_page_to_a_browser(mal):
    page = b"<!DOCTYPE html><script>alert(1)</script>" + b" " * 200_000
    for data in (page, page[:100]):
        push_blob(mal, "mine/pages", data)
    push_image(mal, "mine/pages", "x", "v1")
    paths = [f"/v2/mine/pages/blobs/{digest_of(data)}" for data in (page, page[:100])]
    paths += [
        "/v2/mine/pages/manifests/v1",
        "/v2/mine/pages/manifests/none",
        "/v2/",
        "/v2/_catalog",
    ]
    paths += [
        "/token?scope=repository:mine/a:pull",
        "/token?x=<script>",
        "/api/v1/projects",
        "/none",
    ]
    for path in paths:
        reply = mal.get(path)
        assert reply["X-Content-Type-Options"] == "nosniff", path
        assert reply["Content-Type"].startswith("application/"), path


def test_a_page_of_referrers_is_bounded_in_bytes(mal):
    """CVE-2024-29902, CVE-2024-29903: whoever attaches a lot makes pages short, not long."""
    subject = push_image(mal, "mine/signed", "subject", "v1")
    push_blob(mal, "mine/signed", b"{}")
    for number in range(5):
        notes = {"text": f"{number}" + "x" * 1_500_000}
        attached = image(b"{}", subject=descriptor(subject, OCI_MANIFEST), annotations=notes)
        put_manifest(mal, "mine/signed", f"s{number}", attached).expect(201)
    seen, path = 0, f"/v2/mine/signed/referrers/{digest_of(subject)}"
    while path:
        reply = mal.get(path).expect(200)
        assert len(reply.body) < PAGE_BYTES + 2_000_000
        found = len(reply.json()["manifests"])
        assert 0 < found < 5
        seen += found
        path = (reply.get("Link") or "<>").partition(">")[0][1:]
    assert seen == 5


def test_no_url_is_made_for_what_was_deleted_or_is_foreign(tmp_path):
    """A presigned URL is good for a while, so it is made for who may have the blob now."""
    made = []

    class Presigned(MemoryStore):
        async def presign(self, key, *, seconds, headers):
            made.append(key)
            return f"https://blobs.example/{key}?X-Amz-Expires={seconds}"

    redirects = Redirects(Presigned(), 60)
    with (
        serving("memory", tmp_path, redirects=lambda _: redirects) as local,
        local.client() as client,
    ):
        data = random_bytes("a large one", 200_000)
        for name in ("a/b", "c/d"):
            push_blob(client, name, data)
        url = f"/v2/a/b/blobs/{digest_of(data)}"
        client.get(url).expect(307)
        client.get(url.replace("a/b", "e/f")).expect(404)
        client.delete(url).expect(202)
        client.get(url).expect(404)
    assert len(made) == 1
