"""Keys that change under a running registry, and a token service that runs alone: as processes."""

import base64
import http.client
import json

import pytest

from conformance.server import RegistryProcess
from tests.cli.test_cli import moorage
from tests.fixtures.audited import events_in
from tests.fixtures.projects import PASSWORD, make_projects
from tests.ops.wire import eventually

PAIR = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
BASIC = {"Authorization": f"Basic {PAIR}"}
SETTINGS = {"AUTH__MODE": "projects", "AUTH__TOKEN__RELOAD_SECONDS": "0.2"}


def send(server, path, headers=None):
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection(server.address, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def status(server, path="/v2/", headers=None):
    return send(server, path, headers)[0]


def token(server):
    code, _, body = send(server, "/token?service=moorage", BASIC)
    assert code == 200
    return {"Authorization": f"Bearer {json.loads(body)['token']}"}


def keys(server):
    body = send(server, "/.well-known/jwks.json")[2]
    return [key["kid"] for key in json.loads(body)["keys"]]


@pytest.fixture
def data(tmp_path):
    make_projects(tmp_path / "data", {"demo": {"alice": "owner"}})
    return tmp_path / "data"


def test_keys_are_rotated_and_revoked_under_a_running_registry(data, registry_server):
    server = registry_server("filesystem", workers=2, data=data, settings=SETTINGS)
    first = keys(server)
    old = token(server)
    done = moorage("keys", "rotate", "--data", str(data), env={"MOORAGE__AUTH__MODE": "projects"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "signing key 2" in done.stdout
    assert eventually(lambda: len(keys(server)) == 2)
    assert keys(server)[0] == first[0], "the new one does not sign yet"
    assert status(server, headers=old) == 200
    done = moorage("keys", "revoke", "--data", str(data), env={"MOORAGE__AUTH__MODE": "projects"})
    assert (done.returncode, done.stdout) == (0, "removed 2 signing keys\n")
    assert eventually(lambda: status(server, headers=old) == 401)
    assert eventually(lambda: status(server, headers=token(server)) == 200)
    assert eventually(lambda: not set(keys(server)) & {*first})
    done = [event for event in events_in(data) if event.principal == "system:command"]
    assert [(event.action, event.subject) for event in done] == [
        ("keys.rotated", "2"),
        ("keys.revoked", "2"),
    ]


def test_a_token_service_alone_issues_what_the_registry_takes(data, registry_server, tmp_path):
    server = registry_server("filesystem", data=data, settings=SETTINGS)
    alone = RegistryProcess(
        store="filesystem",
        data=data,
        log=tmp_path / "tokens.log",
        settings=SETTINGS,
        command="token-service",
    )
    with alone:
        assert keys(alone) == keys(server)
        assert status(server, headers=token(alone)) == 200
        assert status(alone, headers=token(alone)) == 404
        assert status(alone, "/v2/demo/env/tags/list", BASIC) == 404
        assert status(alone, "/api/v1/projects", BASIC) == 404
        assert status(server, "/api/v1/projects", BASIC) == 200
        assert status(alone, "/readyz") == 200


def test_a_registry_names_a_token_service_elsewhere(data, registry_server):
    settings = SETTINGS | {"AUTH__TOKEN__REALM": "https://tokens.example.org/token"}
    server = registry_server("filesystem", data=data, settings=settings)
    code, headers, _ = send(server, "/v2/")
    assert code == 401
    assert 'realm="https://tokens.example.org/token"' in headers["WWW-Authenticate"]


@pytest.mark.parametrize("command", [["token-service"], ["keys", "rotate"], ["keys", "revoke"]])
def test_where_nobody_logs_in_there_are_no_tokens(command):
    done = moorage(*command)
    assert done.returncode == 2
    assert 'mode = "projects"' in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MOORAGE__AUTH__TOKEN__KEYS": "a.pem"}, "change those"),
        ({"MOORAGE__STORAGE__DRIVER": "memory"}, "restart it"),
    ],
)
def test_keys_that_are_not_in_a_store_are_not_changed_there(settings, said):
    done = moorage("keys", "rotate", env={"MOORAGE__AUTH__MODE": "projects"} | settings)
    assert done.returncode == 2
    assert said in done.stderr
