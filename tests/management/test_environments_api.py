"""Environments as their project sees them: versions, lineage, packages, storage."""

import json

import pytest

from auth.roles import Visibility
from registry.cli import main
from registry.service import environments
from registry.service.pulls.compactor import Compactor
from registry.spec.packages import CONDA, SPDX
from storage.inprocess import InProcessCoordinator
from tests.auth.tenants import PASSWORD, basic, tenants
from tests.management.api import Api, problem
from tests.oracle.content import (
    OCI_MANIFEST,
    descriptor,
    digest_of,
    image,
    index,
    push_blob,
    put_manifest,
)

BASE = (b"os" * 500, b"python" * 500)
ONE, TWO, OTHER = b"libraries" * 10, b"more" * 10, b"else" * 10


def push(caller, repository, tag, *layers, **more):
    """Push an image of these layers; give its digest."""
    config = json.dumps({"tag": tag, "of": repository}).encode()
    for each in (config, *layers):
        push_blob(caller, repository, each)
    body = image(config, layers, **more)
    put_manifest(caller, repository, tag, body).expect(201)
    return descriptor(body, OCI_MANIFEST)


def attach(caller, repository, subject, kind, document, **more):
    """Push a list of packages as a referrer of an image."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    for each in (b"{}", data):
        push_blob(caller, repository, each)
    body = image(b"{}", [data], subject, artifactType=kind, **more)
    put_manifest(caller, repository, digest_of(body), body).expect(201)


def conda(**versions):
    return [{"name": name, "version": each, "channel": "pypi"} for name, each in versions.items()]


@pytest.fixture(scope="module")
def registry():
    settings = {"environments.bases": ["base/ml", "secret/base", "absent/base"]}
    with tenants(settings=settings) as registry:
        for name in ("ann", "bob", "eve"):
            registry.user(name)
        registry.project("base", Visibility.PUBLIC, eve="owner")
        registry.project("secret", eve="owner")
        registry.project("demo", ann="maintainer", bob="guest")
        registry.services.pulls.counting = True
        with registry.caller(basic("eve")) as eve:
            push(eve, "base/ml", "4.0", *BASE)
            # Deeper than the base that everyone knows, and none of the others' business.
            push(eve, "secret/base", "1", *BASE, ONE)
        with registry.caller(basic("ann")) as ann:
            claim = {"org.opencontainers.image.base.name": "hopsworks/ml:4.0"}
            first = push(ann, "demo/env", "1.0", *BASE, ONE, annotations=claim)
            second = push(ann, "demo/env", "1.1", *BASE, ONE, TWO)
            push(ann, "demo/env", "2.0", *BASE, OTHER)
            push(ann, "demo/copy", "1", *BASE, ONE)
            attach(ann, "demo/env", first, CONDA, conda(numpy="1", pandas="1", six="1"))
            attach(ann, "demo/env", second, CONDA, conda(numpy="1", pandas="2", torch="1"))
            # A tag that leads to no image is no version.
            push(ann, "demo/env", "artifact", b"x", artifactType="application/spdx+json")
        yield registry


@pytest.fixture
def ann(registry):
    return Api(registry, basic("ann"))


def test_versions_come_newest_first_with_their_lineage(ann):
    items = ann.get("/repositories/demo:env/versions").json()["items"]
    assert [item["tag"] for item in items] == ["2.0", "1.1", "1.0"]
    other, second, first = items
    assert [item["previous"] for item in items] == ["1.1", "1.0", None]
    assert {item["base"]["tag"] for item in items} == {"4.0"}
    assert first["base"]["repository"] == "base/ml"
    assert first["base"]["layers"] == 2
    assert first["annotated_base"] == {"name": "hopsworks/ml:4.0", "digest": ""}
    assert second["annotated_base"] is None
    configs = {item["tag"]: item["content_bytes"] - sum(map(len, layers)) for item, layers in (
        (other, (*BASE, OTHER)), (second, (*BASE, ONE, TWO)), (first, (*BASE, ONE)))}  # fmt: skip
    assert first["added_bytes"] == len(ONE) + configs["1.0"]
    assert second["added_bytes"] == len(TWO) + configs["1.1"]
    assert other["added_bytes"] == len(OTHER) + configs["2.0"]


def test_pages_go_on_where_they_ended(ann):
    found, after = [], ""
    while after is not None:
        page = ann.get(f"/repositories/demo:env/versions?limit=1&after={after}").json()
        found += [item["tag"] for item in page["items"]]
        after = page["next"] and page["next"].replace(" ", "%20")
    assert found == ["2.0", "1.1", "1.0"]
    assert problem(ann.get("/repositories/demo:env/versions?after=x"), 400) == "invalid"


def test_a_base_that_the_caller_may_not_pull_is_not_told_of(registry, ann):
    assert "secret" not in ann.get("/repositories/demo:env/versions").body.decode()
    registry.member(
        registry.run(registry.tenancy.projects.named("demo")).tenant, "user:eve", "guest"
    )
    eve = Api(registry, basic("eve")).get("/repositories/demo:env/versions/1.1").json()
    assert eve["base"]["repository"] == "secret/base"


def test_a_version_is_described_layer_by_layer(ann):
    reply = ann.get("/repositories/demo:env/versions/1.1")
    assert [(each["bytes"], each["origin"]) for each in reply.json()["layer_list"]] == [
        (len(BASE[0]), "base"),
        (len(BASE[1]), "base"),
        (len(ONE), "previous"),
        (len(TWO), "own"),
    ]
    assert reply["ETag"] == f'"{reply.json()["digest"]}"'
    for tag in ("artifact", "none"):
        assert problem(ann.get(f"/repositories/demo:env/versions/{tag}"), 404) == "manifest-unknown"


def test_packages_and_what_changed(ann):
    listed = ann.get("/repositories/demo:env/versions/1.0/packages?limit=2").json()
    assert [(item["name"], item["versions"]) for item in listed["items"]] == [
        ("numpy", ["1"]),
        ("pandas", ["1"]),
    ]
    assert listed["artifact_type"] == CONDA
    more = ann.get("/repositories/demo:env/versions/1.0/packages?after=pandas%20pypi").json()
    assert [item["name"] for item in more["items"]] == ["six"]
    changes = ann.get("/repositories/demo:env/versions/1.1/changes").json()
    assert changes["since"] == "1.0"
    assert [(each["name"], each["before"], each["after"]) for each in changes["items"]] == [
        ("pandas", ["1"], ["2"]),
        ("six", ["1"], []),
        ("torch", [], ["1"]),
    ]
    back = ann.get("/repositories/demo:env/versions/1.0/changes?since=1.1").json()
    assert (back["added_bytes"], back["removed_bytes"]) == (
        changes["removed_bytes"],
        changes["added_bytes"],
    )
    assert problem(ann.get("/repositories/demo:env/versions/1.0/changes"), 400) == "invalid"
    without = ann.get("/repositories/demo:env/versions/2.0/changes").json()
    assert without["items"] == []
    assert without["problem"] == "2.0: no list of packages was pushed with the image"


def test_of_several_lists_the_best_known_and_newest_is_read(registry, ann, monkeypatch):
    with registry.caller(basic("ann")) as caller:
        subject = push(caller, "demo/lists", "1", *BASE)
        attach(caller, "demo/lists", subject, CONDA, conda(old="1"))
        for year, name in ((2024, "b"), (2026, "c"), (2025, "d")):
            created = {"org.opencontainers.image.created": f"{year}-01-01T00:00:00Z"}
            document = {"spdxVersion": "SPDX-2.3", "packages": [{"name": name, "versionInfo": "1"}]}
            attach(caller, "demo/lists", subject, SPDX, document, annotations=created)
        broken = push(caller, "demo/lists", "2", *BASE, ONE)
        attach(caller, "demo/lists", broken, SPDX, b"no list at all")
    path = "/repositories/demo:lists/versions/{}/packages"
    assert [item["name"] for item in ann.get(path.format(1)).json()["items"]] == ["c"]
    refused = ann.get(path.format(2)).json()
    assert refused["items"] == []
    assert refused["problem"].startswith("it can't be read: no application/spdx+json")
    monkeypatch.setattr(environments, "MAX_DOCUMENT", 3)
    assert "more than 3 bytes" in ann.get(path.format(2)).json()["problem"]


def test_what_is_shared_adds_up(ann):
    found = ann.get("/projects/demo/environments").json()["items"]
    items = {item["repository"]: item for item in found}
    storage = items["demo/env"]["storage"]
    base = sum(map(len, BASE))
    assert (items["demo/env"]["versions"], items["demo/env"]["newest"]) == (3, "2.0")
    assert items["demo/env"]["base"]["tag"] == "4.0"
    assert storage["images"] == 3
    assert storage["base_bytes"] == base
    assert storage["shared_bytes"] == len(ONE)
    physical = storage["base_bytes"] + storage["shared_bytes"] + storage["unique_bytes"]
    assert storage["physical_bytes"] == physical
    assert storage["logical_bytes"] == physical + 2 * base + len(ONE)
    total = ann.get("/projects/demo/storage").json()
    assert total["base_bytes"] == base
    assert total["images"] == sum(item["storage"]["images"] for item in items.values())
    assert total["physical_bytes"] < sum(i["storage"]["physical_bytes"] for i in items.values())
    first = ann.get("/projects/demo/environments?limit=1").json()
    assert first["next"] == "demo/copy"


def test_too_much_is_refused_and_not_half_told(ann, monkeypatch):
    monkeypatch.setattr(environments, "MOST_IMAGES", 3)
    assert problem(ann.get("/projects/demo/storage"), 400) == "invalid"
    monkeypatch.setattr(environments, "MOST", 2)
    assert problem(ann.get("/repositories/demo:env/versions"), 400) == "invalid"


def test_many_layers_together_are_too_much_too(ann, monkeypatch):
    whole = ann.get("/repositories/demo:env/versions").json()["items"]
    parts = sum(item["layers"] + 1 for item in whole)
    monkeypatch.setattr(environments, "MOST_PARTS", parts)
    ann.get("/repositories/demo:env/versions").expect(200)
    assert problem(ann.get("/projects/demo/storage"), 400) == "invalid", "with another repository's"
    monkeypatch.setattr(environments, "MOST_PARTS", parts - 1)
    for path in ("/repositories/demo:env/versions", "/repositories/demo:env/versions/2.0"):
        assert problem(ann.get(path), 400) == "invalid"


def test_an_index_is_told_whole_or_not_at_all(registry, ann, monkeypatch):
    registry.project("multi", ann="maintainer")
    with registry.caller(basic("ann")) as caller:
        children = [push(caller, "multi/env", each, *BASE) for each in ("a", "b")]
        put_manifest(caller, "multi/env", "both", index(manifests=children)).expect(201)
    monkeypatch.setattr(environments, "_CHILDREN", 1)
    assert problem(ann.get("/repositories/multi:env/versions"), 400) == "invalid"
    monkeypatch.setattr(environments, "_CHILDREN", 2)
    monkeypatch.setattr(environments, "_CHILDREN_PARTS", 5)
    assert problem(ann.get("/repositories/multi:env/versions"), 400) == "invalid"
    monkeypatch.setattr(environments, "_CHILDREN_PARTS", 6)
    ann.get("/repositories/multi:env/versions").expect(200)


def test_last_pulls_are_for_those_who_may_see_them(registry, ann):
    with registry.caller(basic("bob")) as bob:
        bob.get("/v2/demo/env/manifests/1.1").expect(200)

    async def settle():
        await registry.services.pulls.flush()
        await Compactor(registry.store, InProcessCoordinator()).compact()

    registry.run(settle())
    seen = ann.get("/repositories/demo:env/versions/1.1").json()["last_pull"]
    assert seen["by"] == "user:bob"
    items = Api(registry, basic("bob")).get("/repositories/demo:env/versions").json()["items"]
    assert {item["last_pull"] for item in items} == {None}


def test_the_command_shows_it(registry, tmp_path, monkeypatch, capsys):
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    monkeypatch.setenv("MOORAGE_TOKEN_FILE", str(secret))

    def run(*arguments):
        options = ("--url", f"http://{registry.address}", "--user", "ann")
        assert main(["environment", *arguments, *options]) == 0
        return capsys.readouterr()

    assert "demo/env" in run("list", "demo").out
    assert "base/ml:4.0" in run("versions", "demo/env").out
    shown = run("show", "demo/env:1.1").out.splitlines()
    assert [line.split()[-1] for line in shown[-4:]] == ["base", "base", "previous", "own"]
    assert len(json.loads(run("show", "demo/env:1.1", "--json").out)["layer_list"]) == 4
    assert "torch" in run("packages", "demo/env:1.1").out
    said = run("diff", "demo/env:1.1")
    assert "torch" in said.out
    assert "since: 1.0" in said.err
    assert "PHYSICAL BYTES" in run("storage", "demo").out
