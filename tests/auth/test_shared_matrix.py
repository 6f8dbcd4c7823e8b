"""Every sort of caller, where all projects of a platform are shown in one repository.

By a tag, what each may do is what the matrix says of the project that the tag is of. By a digest,
or by no reference, nobody learns of a project that it may not see.
"""

import pytest

from tests.auth.everyone import REPOSITORIES, SHARED, THEIRS
from tests.auth.requests import CONFIG, LAYER, MANIFEST, METHODS, NOWHERE, SESSION, Example
from tests.auth.test_matrix import ALL, CALLERS, NONE, check_challenge, comparable, refusal
from tests.oracle.content import OCI_MANIFEST, digest_of, image

# The project that shares has shared its repository of this very name: it is its images' here, too.
PLACES = {name: each for name, each in REPOSITORIES.items() if name != "beside"}
EARLIER = "owner of an earlier project of that name, with its token"


def verbs_in(name, where):
    """What the caller may do, by a tag or without one.

    A token for the shared repository reaches what is shown there, and the roles of its owner
    decide; but it is worth nothing in a project that is another by now.
    """
    if name == EARLIER:
        return CALLERS["owner"].verbs.get(where, NONE) - (ALL if where == "own" else NONE)
    return CALLERS[name].verbs.get(where, NONE)


_TYPE = (("Content-Type", OCI_MANIFEST),)


def _example(method, tag, status, verb, body=None):
    target = f"/v2/{SHARED}/manifests/{{p}}__{tag}"
    return Example(method, target, body, _TYPE if body else (), frozenset({status}), verb)


BY_TAG = (
    _example("GET", "v1", 200, "pull"),
    _example("HEAD", "v1", 200, "pull"),
    _example("GET", "never", 404, "pull"),
    _example("PUT", "v1", 201, "push", MANIFEST),
    _example("PUT", "v1", 400, "push", b"{}"),
    _example("DELETE", "never", 404, "delete"),
)


@pytest.mark.parametrize("name", CALLERS)
def test_by_tag_it_is_as_in_the_project(registry, callers, name):
    sort = CALLERS[name]
    with registry.caller(callers[name]) as caller:
        for where, repository in PLACES.items():
            verbs = verbs_in(name, where)
            visible = "pull" in verbs or (name.startswith("administrator") and where != "absent")
            for example in BY_TAG:
                target = example.target.replace("{p}", repository.partition("/")[0])
                reply = caller.request(example.method, target, example.headers, example.body)
                told = f"{example.method} {target}: {reply}"
                if example.verb in verbs:
                    assert reply.status in example.allowed, told
                    continue
                stale = where == sort.stale
                status, code, error = refusal(sort, visible=visible, stale=stale)
                assert reply.status == status, told
                if example.method != "HEAD":
                    assert reply.code() == code, told
                check_challenge(reply, example, SHARED, error, told)


def _theirs():
    """What the foreign project has that no other has, beside what nobody has."""
    body = image(CONFIG, [THEIRS])
    for kind, there in (("blobs", digest_of(THEIRS)), ("manifests", digest_of(body))):
        for method in METHODS:
            yield method, f"/v2/{SHARED}/{kind}/{{}}", there, NOWHERE
    for method in METHODS:
        yield method, f"/v2/{SHARED}/referrers/{{}}", digest_of(body), NOWHERE
        yield method, f"/v2/{SHARED}/manifests/{{}}", "foreign__theirs", "absent1__theirs"
        yield method, f"/v2/{SHARED}/manifests/{{}}", "foreign__theirs", "foreign__nothing"


@pytest.mark.parametrize("name", [name for name in CALLERS if not name.startswith("administrator")])
def test_foreign_is_absent_byte_by_byte(registry, callers, name):
    with registry.caller(callers[name]) as caller:
        for method, target, there, never in _theirs():
            answers = []
            for named in (there, never):
                reply = caller.request(method, target.format(named))
                answers.append(comparable(reply, named))
            assert answers[0] == answers[1], (method, target, there)
            assert answers[0][0] in (200, 400, 401, 403, 404, 405), (method, target)


def test_a_foreign_blob_is_mounted_by_nobody(registry, callers):
    """Whoever may push gets an upload, of one that is there as of one that is not."""
    for name in ("owner", "owner with a token", "robot", "robot with a token", "developer"):
        with registry.caller(callers[name]) as caller:
            for source in ("", f"&from={SHARED}", "&from=foreign/app"):
                for digest in (digest_of(THEIRS), NOWHERE):
                    target = f"/v2/{SHARED}/blobs/uploads/?mount={digest}{source}"
                    assert caller.post(target).expect(202)["Location"].startswith(f"/v2/{SHARED}/")
            mount = f"?mount={digest_of(LAYER)}&from={SHARED}"
            caller.post(f"/v2/own/app/blobs/uploads/{mount}").expect(201)


def test_a_manifest_does_not_bring_what_its_pusher_may_not_read(registry, callers):
    body = image(CONFIG, [THEIRS])
    for name in ("owner", "robot", "developer with a token"):
        with registry.caller(callers[name]) as caller:
            target = f"/v2/{SHARED}/manifests/own__stolen"
            caller.put(target, *_TYPE, body=body).refused(404, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("name", CALLERS)
def test_the_tags_are_those_that_may_be_pulled(registry, callers, name):
    sort = CALLERS[name]
    with registry.caller(callers[name]) as caller:
        reply = caller.get(f"/v2/{SHARED}/tags/list")
        if reply.status != 200:
            assert sort.lapsed or sort.scheme == "none" or not sort.verbs.get("internal"), reply
            return
        listed = reply.json()["tags"]
    # The repository's own project is an internal one, and was not there yet for an earlier token.
    expected = ["v1"] if "pull" in verbs_in(name, "internal") and name != EARLIER else []
    for where, repository in PLACES.items():
        if "pull" in verbs_in(name, where):
            project = repository.partition("/")[0]
            expected += [f"{project}__v1"] if where != "absent" else []
    assert listed == sorted(expected)


def test_an_upload_is_its_principals(registry, callers):
    """Nobody else finds it, by its session or by its digest, until a tag names the project."""
    secret = b"not tagged yet"
    digest = digest_of(secret)
    with registry.caller(callers["owner"]) as owner:
        session = owner.post(f"/v2/{SHARED}/blobs/uploads/").expect(202)["Location"]
        owner.put(f"{session}?digest={digest}", body=secret).expect(201)
        open_ = owner.post(f"/v2/{SHARED}/blobs/uploads/").expect(202)["Location"]
        assert owner.get(f"/v2/{SHARED}/blobs/{digest}").expect(200).body == secret
    for name in ("guest", "maintainer", "robot", "stranger", "platform's user by a key"):
        with registry.caller(callers[name]) as caller:
            assert caller.get(open_).status in (403, 404), name
    for name in ("stranger", "stranger with a token", "anonymous"):
        with registry.caller(callers[name]) as caller:
            answers = [caller.get(f"/v2/{SHARED}/blobs/{each}") for each in (digest, NOWHERE)]
            seen = [
                comparable(reply, each)
                for reply, each in zip(answers, (digest, NOWHERE), strict=True)
            ]
            assert seen[0] == seen[1]
    with registry.caller(callers["owner"]) as owner:
        owner.get(f"/v2/{SHARED}/blobs/uploads/{SESSION}").refused(404, "BLOB_UPLOAD_UNKNOWN")
