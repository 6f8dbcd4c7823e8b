"""Events in CloudEvents' words, their signatures, and the documentation of both."""

import json
import re
from pathlib import Path

import pytest

from registry.service.audit.events import ACTIONS, AuditEvent, Happening, Origin
from registry.service.webhooks.cloudevents import TOLD, TYPE, cloud_event, wanted
from registry.service.webhooks.signature import HEADER, signature
from tests.docs.test_docs import rows

DOCS = Path(__file__).parents[2] / "docs"
WHO = Origin("user:ann", "10.9.8.7", "r-1", "secret:42")
DIGEST = f"sha256:{'a' * 64}"


def body_of(action, name="", **facts):
    event = AuditEvent.of(1764205960.5, action, WHO, **facts)
    return cloud_event(event, "w-7", "https://registry.example", name)


def told(action, name="", **facts):
    return json.loads(body_of(action, name, **facts))


def test_a_pushed_tag():
    facts = {"project": "demo", "tenant": "t1", "repository": "demo/app", "subject": "v1"}
    more = {"digest": DIGEST, "media_type": "application/x", "size": 123, "other": "x"}
    assert told(Happening.TAG_PUSHED, **facts, **more) == {
        "specversion": "1.0",
        "id": "w-7",
        "source": "https://registry.example",
        "type": "io.moorage.tag.pushed",
        "subject": "demo/app:v1",
        "time": "2025-11-27T01:12:40.500Z",
        "datacontenttype": "application/json",
        "data": {
            "action": "tag.pushed",
            "result": "done",
            "project": "demo",
            "project_id": "t1",
            "repository": "demo/app",
            "tag": "v1",
            "digest": DIGEST,
            "media_type": "application/x",
            "size": 123,
            "subject": "v1",
            "principal": "user:ann",
            "request_id": "r-1",
            "details": {"other": "x"},
        },
    }


def test_subjects():
    for action, facts, subject in (
        (Happening.MANIFEST_PUSHED, {"repository": "demo", "subject": DIGEST}, f"demo@{DIGEST}"),
        (Happening.TAG_DELETED, {"repository": "demo/a", "subject": "v1"}, "demo/a:v1"),
        ("tag.expired", {"repository": "demo/a", "subject": "v1"}, "demo/a:v1"),
        ("member.put", {"subject": "user:bob"}, "user:bob"),
        ("project.changed", {"project": "demo"}, "demo"),
    ):
        assert told(action, **facts)["subject"] == subject
    assert "subject" not in told("keys.revoked")


def test_what_the_collector_removed_is_told_with_the_projects_name():
    facts = {"tenant": "t1", "repository": "app", "subject": DIGEST, "kind": "blob"}
    found = told(Happening.CONTENT_COLLECTED, "demo", **facts)
    assert found["subject"] == f"demo/app@{DIGEST}"
    assert (found["data"]["project"], found["data"]["repository"]) == ("demo", "demo/app")
    root = told(Happening.CONTENT_COLLECTED, "demo", **(facts | {"repository": ""}))
    assert root["data"]["repository"] == "demo"


def test_no_address_and_no_credential_is_told():
    body = body_of(Happening.MANIFEST_PUSHED, subject=DIGEST)
    assert b"10.9.8.7" not in body
    assert b"secret:42" not in body


def test_texts_that_are_no_text_are_told_all_the_same():
    bad = "x\udcff\ud800"
    assert told("member.put", subject=bad, role=bad)["data"]["details"]["role"] == "x\\udcff\\ud800"


def test_globs():
    assert wanted(["manifest.*"], "manifest.pushed")
    assert wanted(["x", "*"], "tag.pushed")
    assert not wanted(["tag.*", "manifest.pushed"], "manifest.deleted")
    assert not wanted([], "tag.pushed")


def test_every_event_is_documented_and_no_other():
    documented = {row[0].strip("`") for row in rows(DOCS / "reference/events.md", "type")}
    assert documented == {TYPE + action for action in (*TOLD, "ping")}
    assert TOLD < ACTIONS


def test_every_field_of_data_is_documented_and_no_other():
    documented = {row[0].strip("`") for row in rows(DOCS / "reference/events.md", "field of data")}
    assert documented == set(told(Happening.MANIFEST_PUSHED, subject=DIGEST)["data"])


def verifier():
    """The function that the how-to gives to whoever writes a receiver."""
    page = (DOCS / "how-to/receive-events.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102 -- what the page says is what is tested
    return names["verified"]


def test_the_documented_verification_takes_ours_and_nothing_else():
    verified, now = verifier(), 1_764_205_960
    body, secret = b'{"specversion":"1.0"}', "a secret of sixteen or more"
    header = signature(secret, body, now)
    assert re.fullmatch(r"t=\d+,v1=[0-9a-f]{64}", header)
    assert verified(secret, header, body, now + 60)
    for other in (
        (secret + "x", header, body, now),
        (secret, header, body + b" ", now),
        (secret, header.replace(f"t={now}", f"t={now + 1}"), body, now),
        (secret, header, body, now + 301),
        (secret, header, body, now - 301),
        (secret, "t=1", body, 1),
        (secret, "", body, now),
        (secret, "t=x,v1=y", body, now),
    ):
        assert not verified(*other), other
    assert HEADER in (DOCS / "how-to/receive-events.md").read_text()


@pytest.mark.parametrize("action", sorted(TOLD))
def test_each_kind_becomes_a_cloud_event(action):
    found = told(action, repository="demo/app", subject=DIGEST)
    for name in ("id", "source", "specversion", "type"):  # those that have to be there
        assert found[name]
    assert found["type"] == TYPE + action
