"""Nothing crosses from one project to another: no content, no session, no trace of either.

The attacker is a member of `mine`; `theirs` is a project of others. `NEVER` is content of the same
size that nobody has pushed: what the attacker is told of the one must be what it is told of the
other.
"""

import json
import threading
import time

import pytest

from auth.roles import Visibility
from tests.auth.requests import NOWHERE
from tests.auth.tenants import ROOT, TenantRegistry, basic, bearer, tenants
from tests.auth.test_matrix import comparable
from tests.oracle.content import (
    OCI_MANIFEST,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
    with_digest,
)

SECRET = random_bytes("a secret of theirs", 90_000)
SMALL = random_bytes("a small secret of theirs", 500)
NEVER = random_bytes("never pushed by anybody", 90_000)
NEVER_SMALL = random_bytes("never pushed either", 500)
PAIRS = pytest.mark.parametrize(
    ("theirs", "never"), [(SECRET, NEVER), (SMALL, NEVER_SMALL)], ids=["large", "small"]
)


@pytest.fixture(scope="module", params=["memory", "filesystem"])
def registry(request, tmp_path_factory):
    with tenants(request.param, tmp_path_factory.mktemp("data") / "data") as registry:
        for name in ("mal", "mel", "vic"):
            registry.user(name)
        registry.project("mine", mal="owner", mel="owner")
        registry.project("theirs", vic="owner")
        with registry.caller(basic("vic")) as victim:
            push_blob(victim, "theirs/app", SECRET)
            push_blob(victim, "theirs/app", SMALL)
            push_image(victim, "theirs/app", "image", "v1")
        yield registry


@pytest.fixture(params=["basic", "bearer"])
def attacker(request, registry):
    authorization = basic("mal")
    if request.param == "bearer":
        scopes = [f"repository:{name}:pull,push,delete" for name in REPOSITORIES]
        authorization = bearer(registry.token(authorization, *scopes))
    with registry.caller(authorization) as caller:
        yield caller


REPOSITORIES = ("mine/app", "mine/other", "mine/never-was", "theirs/app", "absent/app")


def same(first, second, *words):
    """Whether two answers are the same but for these words, ids of sessions and dates."""
    replies = []
    for reply, word in ((first, words[0]), (second, words[1])):
        status, headers, body = comparable(reply, word)
        session = reply.get("Docker-Upload-UUID") or "\0"
        headers = [(name, value.replace(session, "SESSION")) for name, value in headers]
        replies.append((status, headers, body))
    assert replies[0] == replies[1]
    return replies[0][0]


@PAIRS
def test_their_blob_is_absent_in_my_repository(attacker, theirs, never):
    """CVE-2024-39897: knowing a digest gives nothing."""
    for method in ("GET", "HEAD", "DELETE"):
        for repository in ("mine/app", "mine/never-was"):
            replies = [
                attacker.request(method, f"/v2/{repository}/blobs/{digest_of(data)}")
                for data in (theirs, never)
            ]
            assert same(*replies, digest_of(theirs), digest_of(never)) == 404


@PAIRS
@pytest.mark.parametrize("source", ["", "&from=theirs/app", "&from=absent/app", "&from=mine/other"])
def test_a_mount_gives_an_upload_whoever_has_the_blob(attacker, theirs, never, source):
    replies = [
        attacker.post(f"/v2/mine/app/blobs/uploads/?mount={digest_of(data)}{source}")
        for data in (theirs, never)
    ]
    assert same(*replies, digest_of(theirs), digest_of(never)) == 202
    elsewhere = attacker.post(f"/v2/mine/app/blobs/uploads/?mount={digest_of(theirs)}")
    assert same(replies[0], elsewhere, "\0", "\0") == 202


@PAIRS
def test_naming_their_digest_without_the_bytes_is_refused(attacker, theirs, never):
    replies = []
    for data in (theirs, never):
        location = attacker.post("/v2/mine/app/blobs/uploads/").expect(202)["Location"]
        replies.append(attacker.put(with_digest(location, digest_of(data)), body=b""))
    assert same(*replies, digest_of(theirs), digest_of(never)) == 400
    replies = [
        attacker.post(f"/v2/mine/app/blobs/uploads/?digest={digest_of(data)}", body=b"guess")
        for data in (theirs, never)
    ]
    assert same(*replies, digest_of(theirs), digest_of(never)) == 400


@PAIRS
def test_a_manifest_that_needs_their_blob_is_refused(attacker, theirs, never):
    config = b"{}"
    push_blob(attacker, "mine/app", config)
    replies = [
        put_manifest(attacker, "mine/app", "stolen", image(config, [data]))
        for data in (theirs, never)
    ]
    assert same(*replies, digest_of(theirs), digest_of(never)) == 404
    assert replies[0].code() == "MANIFEST_BLOB_UNKNOWN"


def test_an_index_that_lists_their_manifest_is_refused(registry, attacker):
    with registry.caller(basic("vic")) as victim:
        manifest = victim.get("/v2/theirs/app/manifests/v1").expect(200).body
    never = manifest.replace(b"amd64", b"arm64") + b" "
    replies = [
        put_manifest(attacker, "mine/app", "list", index([each])) for each in (manifest, never)
    ]
    assert same(*replies, digest_of(manifest), digest_of(never)) in (400, 404)
    for method, path in [
        ("GET", "/v2/mine/app/manifests/{}"),
        ("HEAD", "/v2/mine/app/manifests/{}"),
        ("DELETE", "/v2/mine/app/manifests/{}"),
        ("GET", "/v2/mine/app/referrers/{}"),
    ]:
        answers = [
            attacker.request(method, path.format(digest_of(each))) for each in (manifest, never)
        ]
        same(*answers, digest_of(manifest), digest_of(never))


def test_their_referrers_are_not_listed_for_a_subject_that_both_have(registry, attacker):
    with registry.caller(basic("vic")) as victim:
        subject = push_image(victim, "theirs/app", "a subject", "subject")
        described = {
            "mediaType": OCI_MANIFEST, "digest": digest_of(subject), "size": len(subject),
        }  # fmt: skip
        signature = image(b"{}", [], subject=described)
        push_blob(victim, "theirs/app", b"{}")
        put_manifest(victim, "theirs/app", "signature", signature).expect(201)
    assert push_image(attacker, "mine/other", "a subject", "subject") == subject
    listed = attacker.get(f"/v2/mine/other/referrers/{digest_of(subject)}").expect(200).json()
    assert listed["manifests"] == []


@pytest.mark.parametrize("size", [700, 70_000, 300_000])
def test_uploading_what_they_have_looks_like_uploading_what_nobody_has(registry, size):
    """All bytes are taken, and the answers are the same."""
    theirs, never = random_bytes(("both", size), size), random_bytes(("mine", size), size)
    with registry.caller(basic("vic")) as victim, registry.caller(basic("mal")) as attacker:
        push_blob(victim, "theirs/app", theirs)
        answers = []
        for data in (theirs, never):
            steps = [attacker.head(f"/v2/mine/app/blobs/{digest_of(data)}")]
            steps.append(attacker.post("/v2/mine/app/blobs/uploads/"))
            location = steps[1]["Location"]
            session = steps[1]["Docker-Upload-UUID"]
            steps.append(attacker.patch(location, body=data[:100]))
            steps.append(attacker.put(with_digest(location, digest_of(data)), body=data[100:]))
            steps.append(attacker.head(f"/v2/mine/app/blobs/{digest_of(data)}"))
            told = [comparable(step, digest_of(data)) for step in steps]
            answers.append(json.dumps(told, default=repr).replace(session, "SESSION"))
        assert answers[0] == answers[1]
        # What they delete stays mine, and what I delete stays theirs (CVE-2026-35172).
        victim.delete(f"/v2/theirs/app/blobs/{digest_of(theirs)}").expect(202)
        assert attacker.get(f"/v2/mine/app/blobs/{digest_of(theirs)}").expect(200).body == theirs
        attacker.delete(f"/v2/mine/app/blobs/{digest_of(theirs)}").expect(202)
        attacker.head(f"/v2/mine/app/blobs/{digest_of(theirs)}").expect(404)


def test_bytes_are_taken_in_full_though_another_project_has_them(registry):
    data = random_bytes("taken in full", 200_000)
    with registry.caller(basic("vic")) as victim, registry.caller(basic("mal")) as attacker:
        push_blob(victim, "theirs/app", data)
        location = attacker.post("/v2/mine/app/blobs/uploads/").expect(202)["Location"]
        attacker.put(with_digest(location, digest_of(data)), body=data).expect(201)
        session = location.rpartition("/")[2][:16]
    deadline = time.monotonic() + 60
    taken: list[int] = []
    while not taken and time.monotonic() < deadline:
        ends = [each for each in registry.observed.records if each.action == "upload.finish"]
        taken = [each.received for each in ends if each.upload == session]
        time.sleep(0.01)
    assert taken == [len(data)]


# --- what may cross ----------------------------------------------------------------------------


def test_a_blob_is_mounted_from_what_the_caller_may_pull(registry):
    data = random_bytes("a base layer", 5000)
    digest = digest_of(data)
    registry.user("wes")
    registry.project("base", Visibility.INTERNAL, wes="owner")
    lender = registry.project("lender", wes="owner")
    mine = registry.run(registry.tenancy.projects.named("mine")).tenant
    with registry.caller(basic("wes")) as owner, registry.caller(basic("mal")) as caller:
        for repository in ("base/python", "lender/app", "lender/other"):
            push_blob(owner, repository, data)
        mount = f"/v2/mine/{{}}/blobs/uploads/?mount={digest}"
        caller.post(mount.format("a") + "&from=base/python").expect(201)
        caller.post(mount.format("b") + "&from=lender/app").expect(202)
        shares = registry.tenancy.shares
        registry.run(shares.put(lender, mine.id, "lender/app", ROOT))
        caller.post(mount.format("c") + "&from=lender/other").expect(202)
        caller.post(mount.format("c") + "&from=lender/app").expect(201)
        # Now that it is mine, without a source too.
        caller.post(mount.format("d")).expect(201)
        registry.run(shares.remove(lender, "mine", "lender/app", ROOT))
        caller.post(mount.format("e") + "&from=lender/app").expect(202)
        # What was mounted stays: it is a copy of the right kind.
        assert caller.get(f"/v2/mine/c/blobs/{digest}").expect(200).body == data


def test_a_token_for_the_target_only_mounts_nothing(registry):
    """A mount needs pull on the source, and the token has to have it: the upload goes on."""
    data = random_bytes("another base layer", 5000)
    with registry.caller(basic("mal")) as caller:
        push_blob(caller, "mine/source", data)
    query = f"?mount={digest_of(data)}"
    for scopes, status in [
        (["repository:mine/target:pull,push"], 202),
        (["repository:mine/target:pull,push", "repository:mine/source:pull"], 201),
    ]:
        token = registry.token(basic("mal"), *scopes)
        with registry.caller(bearer(token)) as caller:
            target = f"/v2/mine/target/blobs/uploads/{query}"
            caller.post(f"{target}&from=mine/source").expect(status)
            caller.post(target).expect(status if status == 202 else 201)
            caller.delete(f"/v2/mine/target/blobs/{digest_of(data)}")


# --- sessions ----------------------------------------------------------------------------------


def every_use(caller, location, digest):
    """Everything that can be done with a session."""
    return {
        "status": caller.get(location),
        "append": caller.patch(location, body=b"injected"),
        "finish": caller.put(with_digest(location, digest), body=b"injected"),
        "cancel": caller.delete(location),
    }


def test_a_session_is_its_principals_in_its_repository(registry: TenantRegistry):
    """CVE-2026-32589: any other pusher, of the same project or not, finds nothing."""
    data = random_bytes("a session's content", 3000)
    digest = digest_of(b"injected")
    made_up = "ab" * 32
    with registry.caller(basic("mal")) as owner:
        location = owner.post("/v2/mine/app/blobs/uploads/").expect(202)["Location"]
        owner.patch(location, body=data[:1000]).expect(202)
        session = location.rpartition("/")[2]
        others = {
            "another member": basic("mel"),
            "a token of another member": bearer(
                registry.token(basic("mel"), "repository:mine/app:pull,push")
            ),
        }
        for name, authorization in others.items():
            with registry.caller(authorization) as other:
                found = every_use(other, location, digest)
                absent = every_use(other, f"/v2/mine/app/blobs/uploads/{made_up}", digest)
                for use, reply in found.items():
                    assert same(reply, absent[use], session, made_up) == 404, (name, use)
        # In another repository of mine; and in the victim's hands, in a repository of theirs.
        with registry.caller(basic("vic")) as victim:
            for caller, path in [
                (owner, f"/v2/mine/other/blobs/uploads/{session}"),
                (victim, f"/v2/theirs/app/blobs/uploads/{session}"),
            ]:
                for use, reply in every_use(caller, path, digest).items():
                    assert reply.status == 404, (path, use)
        with registry.caller(basic("vic")) as stranger:
            replies = every_use(stranger, location, digest)
            assert {reply.status for reply in replies.values()} == {404}
            assert {reply.code() for reply in replies.values()} == {"NAME_UNKNOWN"}
        # It is as it was.
        assert owner.get(location).expect(204)["Range"] == "0-999"
        owner.put(with_digest(location, digest_of(data)), body=data[1000:]).expect(201)


def test_a_session_goes_on_with_another_credential_of_the_same_principal(registry):
    data = random_bytes("goes on", 3000)
    narrow = registry.access_token("mal", "repository:mine/app:pull,push")
    callers = [
        basic("mal"),
        basic("mal", narrow),
        bearer(registry.token(basic("mal"), "repository:mine/app:pull,push")),
    ]
    with registry.caller(callers[0]) as first:
        location = first.post("/v2/mine/app/blobs/uploads/").expect(202)["Location"]
    for number, authorization in enumerate(callers):
        with registry.caller(authorization) as caller:
            part = data[number * 1000 : (number + 1) * 1000]
            caller.patch(location, body=part).expect(202)
    with registry.caller(callers[0]) as first:
        first.put(with_digest(location, digest_of(data))).expect(201)


def test_who_may_push_no_more_can_not_finish(registry):
    tenant = registry.project("leaving", mal="developer")
    token = bearer(registry.token(basic("mal"), "repository:leaving/app:pull,push"))
    data = b"the last word"
    with registry.caller(token) as caller:
        location = caller.post("/v2/leaving/app/blobs/uploads/").expect(202)["Location"]
        caller.patch(location, body=data).expect(202)
        registry.run(registry.tenancy.members.remove(tenant, "user:mal", ROOT))
        for reply in every_use(caller, location, digest_of(data)).values():
            assert reply.status == 401
            assert 'error="insufficient_scope"' in reply["WWW-Authenticate"]


def test_a_session_does_not_survive_its_project(registry):
    first = registry.project("phoenix", mal="owner")
    with registry.caller(basic("mal")) as caller:
        location = caller.post("/v2/phoenix/app/blobs/uploads/").expect(202)["Location"]
        caller.patch(location, body=b"ashes").expect(202)
        registry.run(registry.tenancy.projects.remove(first, ROOT))
        registry.project("phoenix", mal="owner")
        for reply in every_use(caller, location, digest_of(b"ashes")).values():
            assert reply.refused(404, "BLOB_UPLOAD_UNKNOWN")


# --- projects that are made anew ---------------------------------------------------------------


def test_a_project_made_anew_shows_nothing_of_the_old_one(registry):
    """Hopsworks contract, 7: tags, catalog, blobs by digest, cached tokens."""
    old = registry.project("anew", mal="owner", mel="owner")
    with registry.caller(basic("mal")) as caller:
        manifest = push_image(caller, "anew/app", "old", "v1")
        token = bearer(registry.token(basic("mal"), "repository:anew/app:pull,push,delete"))
        registry.run(registry.tenancy.projects.remove(old, ROOT))
        caller.get("/v2/anew/app/tags/list").refused(404, "NAME_UNKNOWN")
        registry.project("anew", mel="owner")
        caller.get("/v2/anew/app/tags/list").refused(404, "NAME_UNKNOWN")
    layer = json.loads(manifest)["layers"][0]["digest"]
    with registry.caller(basic("mel")) as member:
        member.get("/v2/anew/app/tags/list").refused(404, "NAME_UNKNOWN")
        member.get("/v2/anew/app/manifests/v1").refused(404, "MANIFEST_UNKNOWN")
        member.head(f"/v2/anew/app/blobs/{layer}").expect(404)
        member.post(f"/v2/anew/app/blobs/uploads/?mount={layer}").expect(202)
        assert "anew/app" not in member.get("/v2/_catalog").json()["repositories"]
        push_image(member, "anew/app", "new", "v1")
    with registry.caller(token) as stale:
        assert stale.get("/v2/anew/app/manifests/v1").status == 401
        assert stale.delete("/v2/anew/app/manifests/v1").status == 401


def test_no_answer_shows_where_things_are_kept(registry):
    """Ids of projects are in no answer, whatever goes wrong."""
    tenant = registry.project("hidden", mal="owner")
    with registry.caller(basic("mal")) as caller:
        push_image(caller, "hidden/app", "x", "v1")
        location = caller.post("/v2/hidden/app/blobs/uploads/").expect(202)["Location"]
        paths = (
            "/v2/hidden/app/manifests/v1", "/v2/hidden/app/manifests/never",
            f"/v2/hidden/app/blobs/{NOWHERE}", f"/v2/hidden/app/referrers/{NOWHERE}",
            "/v2/hidden/app/tags/list", "/v2/hidden/never/tags/list", "/v2/hidden/tags/list",
            "/v2/hidden/app/tags/list?n=0", "/v2/_catalog", "/v2/_catalog?n=1",
            "/v2/hidden/app/blobs/uploads/", f"/v2/hidden/app/blobs/uploads/?mount={NOWHERE}",
            location, f"{location}?digest={NOWHERE}", "/v2/hidden/app/blobs/uploads/x",
        )  # fmt: skip
        methods = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
        seen = [caller.request(method, path) for method in methods for path in paths]
        for path in (
            f"/v2/{tenant.id}/app/manifests/v1",
            f"/v2/{tenant.id}/app/tags/list",
        ):
            reply = caller.get(path).refused(404, "NAME_UNKNOWN")
            assert tenant.id.encode() not in reply.body
    for reply in seen:
        assert tenant.id not in repr((reply.headers, reply.body)), reply


# --- a refused push sends nothing --------------------------------------------------------------


@pytest.mark.parametrize("repository", ["theirs/app", "absent/app"])
def test_a_push_that_is_refused_is_never_asked_for_its_layer(attacker, repository):
    connection = attacker.connect()
    with connection:
        head = connection.head(
            "POST",
            f"/v2/{repository}/blobs/uploads/?digest={NOWHERE}",
            [
                ("Authorization", attacker.authorization),
                ("Expect", "100-continue"),
                ("Content-Length", str(10_000_000)),
            ],
        )
        connection.send(head)
        reply = connection.read("POST")
        assert reply.interim == ()
        assert reply.status in (401, 404)


def test_access_that_ends_in_the_midst_of_requests_ends_at_once(registry):
    """While others hammer the project, the first request after the removal is refused."""
    tenant = registry.project("busy", mal="guest", vic="owner")
    with registry.caller(basic("vic")) as owner:
        push_image(owner, "busy/app", "x", "v1")
    stop = threading.Event()

    def hammer():
        with registry.caller(basic("vic")) as caller:
            while not stop.is_set():
                caller.get("/v2/busy/app/manifests/v1").expect(200)

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with registry.caller(basic("mal")) as caller:
            for _ in range(20):
                caller.get("/v2/busy/app/manifests/v1").expect(200)
                registry.run(registry.tenancy.members.remove(tenant, "user:mal", ROOT))
                caller.get("/v2/busy/app/manifests/v1").refused(404, "NAME_UNKNOWN")
                registry.member(tenant, "user:mal", "guest")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
