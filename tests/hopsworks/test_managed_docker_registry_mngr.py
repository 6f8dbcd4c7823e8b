"""What the platform's `ManagedDockerRegistryMngr` does where all projects have one repository.

`settings.isManagedDockerRegistry()`: the images of projects are, by their tags, in `<ns>/base`:
`<project>__<ms>-<version>.<n>`, copies of them `__backup_<id>_<tag>`, and `python310_<version>` is
the platform's own. Whoever may see nothing of a project sees of it what there would be without it.
"""

import itertools
import json
from contextlib import suppress

import pytest

from auth.roles import Visibility
from registry.spec.digest import Digest
from registry.spec.names import Place
from registry.spec.problems import AccountExists
from tests.auth.tenants import ROOT, basic, bearer, tenants
from tests.auth.test_timing import forget, watched
from tests.management.api import Api
from tests.oracle.content import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
    put_manifest,
    random_bytes,
)
from tests.service.collection import CONFIG, IMAGE, LAYER, V1, A, B, Clock, Registry
from tests.service.content import push

SHARED = "hops/base"
VERSION = "1611136370296-4.1.0"
PYTHON = "python310_4.1.0"
NUMBERS = itertools.count(119)
"""Ids of projects there: none is used twice."""


@pytest.fixture(scope="module")
def registry():
    settings = {"platform.service": "user:platform", "platform.shared_repository": SHARED}
    with tenants(settings=settings) as registry:
        for name in ("adm", "platform", "sue"):
            registry.user(name)
        registry.project("hops", Visibility.INTERNAL, adm="owner", platform="developer")
        with registry.caller(basic("adm")) as adm:
            push_image(adm, SHARED, "python", PYTHON)
        yield registry


@pytest.fixture
def service(registry):
    """The platform itself."""
    with registry.caller(basic("platform")) as caller:
        yield caller


@pytest.fixture
def made(registry):
    """Make a project as the platform tells of it, of which users have roles; return its tenant."""

    def make(name, **roles):
        api = Api(registry, basic("platform"))
        api.put(f"/platform/projects/{next(NUMBERS)}", {"name": name}).expect(200)
        tenant = registry.run(registry.tenancy.projects.named(name.lower())).tenant
        for user, role in roles.items():
            with suppress(AccountExists):
                registry.user(user)
            registry.member(tenant, f"user:{user}", role)
        return tenant

    return make


def tags_of(client):
    """`listTags`; it is asked without `n`."""
    kind = ("Content-Type", "application/json")
    return client.get(f"/v2/{SHARED}/tags/list", kind).expect(200).json()["tags"]


def digest_by_tag(client, tag):
    """As `dockerImage.sh delete` looks it up."""
    accept = ("Accept", DOCKER_MANIFEST)
    reply = client.head(f"/v2/{SHARED}/manifests/{tag}", accept).expect(200)
    return reply["Docker-Content-Digest"]


def delete_images(client, prefix):
    """The images of a prefix of the tag, each by its digest, until the list has none."""
    while found := [tag for tag in tags_of(client) if tag.startswith(prefix)]:
        client.delete(f"/v2/{SHARED}/manifests/{digest_by_tag(client, found[0])}").expect(202)


def layers_of(body):
    return [each["digest"] for each in json.loads(body)["layers"]]


def test_a_projects_image_is_kept_in_the_project(registry, made):
    """`ProjectUtils.getFullDockerImageName`: `base:<project>__<ms>-<version>.<n>`."""
    made("Kept", ann="owner")
    tag = f"kept__{VERSION}.0"
    with registry.caller(basic("ann")) as ann:
        body = push_image(ann, SHARED, "kept", tag)
        for repository in (SHARED, "kept/base"):
            for reference in (tag, digest_of(body)):
                assert ann.get(f"/v2/{repository}/manifests/{reference}").expect(200).body == body
            for layer in layers_of(body):
                ann.get(f"/v2/{repository}/blobs/{layer}").expect(200)
        assert tags_of(ann) == [tag, PYTHON]
        assert ann.get("/v2/_catalog").expect(200).json()["repositories"] == [SHARED, "kept/base"]
        for mistaken in ("kept__", "kept__never", "kept_never", "__", "never__x", "x", "null"):
            ann.get(f"/v2/{SHARED}/manifests/{mistaken}").expect(404)
    with registry.caller(basic("sue")) as sue:
        assert tags_of(sue) == [PYTHON]
        sue.get(f"/v2/{SHARED}/manifests/{tag}").refused(404, "NAME_UNKNOWN")
        sue.get(f"/v2/{SHARED}/manifests/{digest_of(body)}").refused(404, "MANIFEST_UNKNOWN")
        for layer in layers_of(body):
            sue.get(f"/v2/{SHARED}/blobs/{layer}").refused(404, "BLOB_UNKNOWN")


def test_each_library_is_a_layer_on_the_image_before(registry, made):
    """`DockerImageController.createImage`: what the base has is found, and not sent again."""
    made("Grown", gro="developer")
    with registry.caller(basic("gro")) as caller:
        body = caller.get(f"/v2/{SHARED}/manifests/{PYTHON}").expect(200).body
        document = json.loads(body)
        for number in range(3):
            for each in (*document["layers"], document["config"]):
                caller.head(f"/v2/{SHARED}/blobs/{each['digest']}").expect(200)
            layer = random_bytes(("grown", number), 1000)
            push_blob(caller, SHARED, layer)
            document["layers"].append(descriptor(layer, document["layers"][0]["mediaType"]))
            tag = f"grown__{VERSION}.{number}"
            put_manifest(caller, SHARED, tag, json.dumps(document).encode()).expect(201)
        for layer in document["layers"]:
            caller.get(f"/v2/grown/base/blobs/{layer['digest']}").expect(200)


def test_a_project_begins_with_the_base_image(registry, made, service):
    """`ProjectController.createProject`, in one call and with no byte copied."""
    made("Begun", beg="guest")
    api = Api(registry, basic("platform"))
    tag = f"begun__{VERSION}.0"
    wanted = {"repository": SHARED, "reference": PYTHON, "environment": "base", "tag": tag}
    number = next(NUMBERS) - 1
    api.put(f"/platform/projects/{number}", {"name": "Begun", "environment": wanted}).expect(200)
    with registry.caller(basic("beg")) as caller:
        assert digest_by_tag(caller, tag) == digest_by_tag(caller, PYTHON)
        caller.delete(f"/v2/{SHARED}/manifests/{tag}").refused(403, "DENIED")


def test_deleting_images_by_a_prefix_takes_nothing_of_others(registry, made, service):
    """`deleteProjectImagesOnRegistry`, HWORKS-211: `demo` and `demo_x`, and the base of both."""
    for name in ("demo", "demo_x", "Demo1"):
        made(name)
    kept = {}
    for number in range(3):
        push_image(service, SHARED, ("demo", number), f"demo__{VERSION}.{number}")
        for name in ("demo_x", "demo1"):
            tag = f"{name}__{VERSION}.{number}"
            kept[tag] = push_image(service, SHARED, (name, number), tag)
    delete_images(service, "demo__")
    delete_images(service, "demo__")
    tags = tags_of(service)
    assert {*kept, PYTHON} <= set(tags)
    assert not [tag for tag in tags if tag.startswith("demo__")]
    for tag, body in kept.items():
        assert service.get(f"/v2/{SHARED}/manifests/{tag}").expect(200).body == body
        for layer in layers_of(body):
            service.get(f"/v2/{SHARED}/blobs/{layer}").expect(200)


def test_the_very_same_image_of_another_project_stays(registry, made, service):
    """By a tag (`ECRClientService`, `crane delete`), and by its digest where one is meant alone."""
    for name in ("same", "same_x"):
        made(name, **{f"{name}er": "maintainer"})
    body = service.get(f"/v2/{SHARED}/manifests/{PYTHON}").expect(200).body
    tags = [f"{name}__{VERSION}.0" for name in ("same", "same_x")]
    for tag in tags:
        put_manifest(service, SHARED, tag, body).expect(201)
    digest = digest_of(body)
    # Which of the two is meant a digest does not say, and so none goes.
    reply = service.delete(f"/v2/{SHARED}/manifests/{digest}").refused(403, "DENIED")
    assert b"name a tag" in reply.body
    assert {*tags, PYTHON} <= set(tags_of(service))
    with registry.caller(basic("sameer")) as caller:
        delete_images(caller, "same__")
        caller.delete(f"/v2/{SHARED}/manifests/{digest}").refused(404, "MANIFEST_UNKNOWN")
    assert {tags[1], PYTHON} <= set(tags_of(service))
    assert tags[0] not in tags_of(service)
    service.delete(f"/v2/{SHARED}/manifests/{tags[1]}").expect(202)
    for layer in layers_of(body):
        service.get(f"/v2/{SHARED}/blobs/{layer}").expect(200)
    assert PYTHON in tags_of(service)


def test_copies_are_the_projects(registry, made, service):
    """`backupImages`, `resotreImages`, `deleteBackup`: a copy goes with no tag but its own."""
    made("saved", sav="owner")
    tag, copy = f"saved__{VERSION}.0", f"__backup_77f0_saved__{VERSION}.0"
    body = push_image(service, SHARED, "saved", tag)
    put_manifest(service, SHARED, copy, service.get(f"/v2/{SHARED}/manifests/{tag}").body)
    service.delete(f"/v2/{SHARED}/manifests/{tag}").expect(202)
    assert service.get(f"/v2/{SHARED}/manifests/{copy}").expect(200).body == body
    with registry.caller(basic("sue")) as sue:
        sue.get(f"/v2/{SHARED}/manifests/{copy}").refused(404, "NAME_UNKNOWN")
        assert copy not in tags_of(sue)
    put_manifest(service, SHARED, tag, body).expect(201)
    service.delete(f"/v2/{SHARED}/manifests/{copy}").expect(202)
    with registry.caller(basic("sav")) as caller:
        assert [each for each in tags_of(caller) if "saved" in each] == [tag]


def test_the_end_of_a_project(registry, made, service):
    """`ProjectController.removeProject`; whoever is in one of that name later has nothing of it."""
    tenant = made("Ended", end="owner")
    tag = f"ended__{VERSION}.0"
    body = push_image(service, SHARED, "ended", tag)
    registry.run(registry.tenancy.projects.remove(tenant, ROOT))
    made("Ended", end="owner")
    with registry.caller(basic("end")) as owner:
        for client in (service, owner):
            assert tag not in tags_of(client)
            for reference in (tag, digest_of(body)):
                target = f"/v2/{SHARED}/manifests/{reference}"
                client.get(target).refused(404, "MANIFEST_UNKNOWN")
        for layer in layers_of(body):
            owner.get(f"/v2/{SHARED}/blobs/{layer}").refused(404, "BLOB_UNKNOWN")


def test_base_images_are_for_their_administrators_to_push(registry, made, service):
    made("Pusher", pus="owner")
    with registry.caller(basic("pus")) as caller:
        body = push_image(caller, SHARED, "pusher", f"pusher__{VERSION}.0")
        for tag in (PYTHON, "latest", f"pusher_{VERSION}.1"):
            put_manifest(caller, SHARED, tag, body).refused(403, "DENIED")
            caller.delete(f"/v2/{SHARED}/manifests/{tag}").refused(403, "DENIED")
    with registry.caller(basic("adm")) as adm:
        # Whoever may read the base images could read what is nobody's.
        for tag in ("1611__x", "never_-__x", "git__x", "__backup_1_1__x"):
            put_manifest(adm, SHARED, tag, body).refused(400, "MANIFEST_INVALID")


def test_an_index_of_whoever_pushes_to_several_projects(registry, made, service):
    """BuildKit's: its parts come by their digests first, before anything says whose they are."""
    made("Index", ind="owner")
    made("Indexed", ind="owner")
    with registry.caller(basic("ind")) as caller:
        parts = []
        for number in range(2):
            config, layer = b"{}", random_bytes(("index", number), 500)
            push_blob(caller, SHARED, config)
            push_blob(caller, SHARED, layer)
            parts.append(image(config, [layer]))
            put_manifest(caller, SHARED, digest_of(parts[-1]), parts[-1]).expect(201)
        whole = index(parts)
        tag = f"indexed__{VERSION}.0"
        put_manifest(caller, SHARED, tag, whole).expect(201)
        for part in parts:
            for repository in (SHARED, "indexed/base"):
                found = caller.get(f"/v2/{repository}/manifests/{digest_of(part)}").expect(200)
                assert found.body == part
                for layer in layers_of(part):
                    caller.get(f"/v2/{repository}/blobs/{layer}").expect(200)
            caller.get(f"/v2/index/base/manifests/{digest_of(part)}").expect(404)
        # And a copy in the other project, of which nothing is sent again.
        put_manifest(caller, SHARED, f"index__{VERSION}.0", whole).expect(201)
        caller.get(f"/v2/index/base/manifests/{digest_of(parts[0])}").expect(200)
        signature = image(b"{}", [], subject=descriptor(parts[0], OCI_MANIFEST))
        put_manifest(caller, SHARED, digest_of(signature), signature).refused(403, "DENIED")
        caller.delete(f"/v2/{SHARED}/manifests/index__{VERSION}.0").expect(202)
        caller.delete(f"/v2/index/base/manifests/{digest_of(parts[0])}").expect(202)
        put_manifest(caller, SHARED, digest_of(signature), signature).expect(201)
        listed = caller.get(f"/v2/{SHARED}/referrers/{digest_of(parts[0])}").expect(200).json()
        assert [each["digest"] for each in listed["manifests"]] == [digest_of(signature)]
        both = f"{digest_of(parts[1])}?tag=index__a&tag=indexed__a"
        put_manifest(caller, SHARED, both, parts[1]).refused(400, "MANIFEST_INVALID")


def test_tags_are_paged_in_byte_order_over_all_projects(registry, made, service):
    for name in ("page", "page_x", "pagex"):
        made(name, pag="guest")
        for number in range(4):
            push_image(service, SHARED, "paged", f"{name}__{number}")
    with registry.caller(basic("pag")) as caller:
        whole = tags_of(caller)
        assert whole == sorted(whole)
        assert len(whole) == 13
        for n in (1, 3, 5, 12, 13, 14):
            found, target = [], f"/v2/{SHARED}/tags/list?n={n}"
            while target:
                reply = caller.get(target).expect(200)
                page = reply.json()["tags"]
                assert len(page) <= n
                found += page
                link = reply.get("Link")
                target = link.partition(">")[0][1:] if link else ""
            assert found == whole


def test_tokens_reach_what_their_owners_may_do(registry, made, service):
    """docker asks for `repository:<ns>/base:pull,push`, which says nothing of a project."""
    tenant = made("Toks", tok="developer")
    other = made("Toks_x")
    scope = f"repository:{SHARED}:pull,push"
    tag = f"toks__{VERSION}.0"
    robot = registry.robot(tenant, "ci", "developer")
    narrow = registry.robot(tenant, "pull", "maintainer", scopes="repository:toks/*:pull")
    pat = registry.access_token("tok", "repository:toks/base:pull,push")
    for shown, pushes in (
        (basic("tok"), True),
        (basic("toks+ci", robot), True),
        (basic("toks+pull", narrow), False),
        (basic("tok", pat), True),
        (basic("sue"), False),
    ):
        for credential in (shown, bearer(registry.token(shown, scope))):
            with registry.caller(credential) as caller:
                put = caller.post(f"/v2/{SHARED}/blobs/uploads/")
                assert put.status == 202 if pushes else put.status in (401, 403, 404), shown
                if pushes:
                    push_image(caller, SHARED, "token", tag)
                found = caller.get(f"/v2/{SHARED}/manifests/{tag}").status
                assert found == 200 if shown != basic("sue") else found in (401, 404)
                stranger = caller.get(f"/v2/{SHARED}/manifests/toks_x__{VERSION}.0")
                assert stranger.status in (401, 404)
                base = caller.put(f"/v2/{SHARED}/manifests/{PYTHON}", body=b"{}")
                assert base.status in (401, 403, 404)
    registry.member(other, "user:tok", "owner")
    reached = bearer(registry.token(basic("tok", pat), scope))
    with registry.caller(reached) as caller:
        caller.get(f"/v2/{SHARED}/manifests/toks_x__{VERSION}.0").expect(401)
    pulls = bearer(registry.token(basic("tok"), f"repository:{SHARED}:pull"))
    with registry.caller(pulls) as caller:
        caller.get(f"/v2/{SHARED}/manifests/{tag}").expect(200)
        caller.post(f"/v2/{SHARED}/blobs/uploads/").expect(401)


@pytest.fixture(scope="module")
def counted():
    """A registry of 20 projects, and the counts of what is asked of its store."""
    with watched(SHARED) as registry:
        for name in ("adm", "one", "many"):
            registry.user(name)
        registry.project("hops", Visibility.INTERNAL, adm="owner")
        for number in range(20):
            tenant = registry.project(f"p{number:02}", many="owner")
        registry.member(tenant, "user:one", "owner")
        with registry.caller(basic("adm")) as adm:
            push_image(adm, SHARED, "python", PYTHON)
        yield registry


def cost(registry, caller, method, target, status):
    """Calls of the store, for a process that has just learnt who asks."""
    caller.request(method, target)
    forget(registry)
    registry.watched.calls.clear()
    caller.request(method, target).expect(status)
    # What the directory asks is remembered for as long as nothing changes there.
    return sum(
        count
        for call, count in registry.watched.calls.items()
        if call.split(" ")[1] in ("repos", "blobs", "catalog", "refs", "data")
    )


def test_what_it_costs(counted):
    tag = f"p19__{VERSION}.0"
    with counted.caller(basic("one")) as one, counted.caller(basic("many")) as many:
        body = push_image(one, SHARED, "counted", tag)
        (layer,) = layers_of(body)
        for path in (f"manifests/{tag}", f"manifests/{digest_of(body)}", f"blobs/{layer}"):
            for method in ("GET", "HEAD"):
                own = cost(counted, one, method, f"/v2/p19/base/{path}", 200)
                assert cost(counted, one, method, f"/v2/{SHARED}/{path}", 200) == own
        base = f"/v2/{SHARED}/manifests/{PYTHON}"
        assert cost(counted, many, "GET", base, 200) == cost(counted, one, "GET", base, 200)
        # What nobody has is looked for once in each place that the caller may read, or has its
        # uploads wait in, and then where it is said that there is none.
        never = f"blobs/{digest_of(b'never')}"
        once = cost(counted, one, "HEAD", f"/v2/p19/base/{never}", 404)
        assert cost(counted, one, "HEAD", f"/v2/{SHARED}/{never}", 404) == 3 * once
        assert cost(counted, many, "HEAD", f"/v2/{SHARED}/{never}", 404) == 23 * once
        # Who has pulled an image need not look in all of them for what it consists of.
        many.get(f"/v2/{SHARED}/manifests/{tag}").expect(200)
        for path in (f"manifests/{digest_of(body)}", f"blobs/{layer}"):
            own = cost(counted, many, "HEAD", f"/v2/p19/base/{path}", 200)
            assert cost(counted, many, "HEAD", f"/v2/{SHARED}/{path}", 200) == own


async def test_what_waited_is_collected_and_the_project_keeps_it(monkeypatch):
    """Uploads of whoever pushes to several projects: `put` mounts them where they are to be."""
    collected = Registry(Clock(monkeypatch))
    assert await collected.marker().begin()
    aside, blobs = Place(f"{A}/-{'0' * 32}"), collected.services.blobs
    for data in (LAYER, CONFIG):
        await collected.upload(data, aside)
        assert await blobs.mount(B, Digest.of(data), aside)
    await collected.services.manifests.put(B, push(IMAGE, V1), "me")
    await collected.upload(b"what no tag came for", aside)
    await collected.empty()
    assert await collected.pulls(B)
    assert await collected.keys(f"repos/{aside}!/", f"refs/{Digest.of(LAYER)}/{A}/") == []
