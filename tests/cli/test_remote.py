"""Commands that speak to a registry."""

import argparse
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import trustme
import yaml

from conformance.server import free_port
from registry.cli import main
from registry.cli.remote.output import cell
from registry.cli.remote.speaking import moment, past
from tests.auth.tenants import BOOTSTRAP, PASSWORD, basic, tenants
from tests.fixtures.secrecy import SECRETS
from tests.ops.wire import eventually
from tests.oracle.content import digest_of, push_blob, push_image


@pytest.fixture(scope="module")
def registry():
    with tenants() as registry:
        registry.user("adm", administrator=True)
        registry.user("ann")
        registry.user("bob")
        yield registry


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def moorage(registry, tmp_path, monkeypatch, capsys):
    """Run a command as a user, whose password is in a file."""

    def run(*arguments, user="adm", secret=PASSWORD, stdin="", **more):
        file = tmp_path / f"secret-of-{user}"
        file.write_text(secret + "\n")
        ours = {
            "MOORAGE_URL": f"http://{registry.address}",
            "MOORAGE_USER": user,
            "MOORAGE_TOKEN_FILE": str(file),
            "MOORAGE_TOKEN": None,
        }
        with monkeypatch.context() as patch:
            for name, text in (ours | more).items():
                patch.delenv(name, raising=False)
                if text is not None:
                    patch.setenv(name, text)
            patch.setattr("sys.stdin", io.StringIO(stdin))
            code = main(arguments)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def done(result, code=0):
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_a_project_from_beginning_to_end(moorage):
    made = done(moorage("project", "create", "Demo", "--owner", "user:ann", "--json"))
    assert json.loads(made.stdout)["display"] == "Demo"
    table = done(moorage("project", "list", user="ann")).stdout.splitlines()
    assert table[0].split() == ["NAME", "VISIBILITY", "ROLE", "CREATED", "BY"]
    assert table[1].split()[:3] == ["demo", "private", "owner"]
    done(moorage("project", "set", "demo", "--visibility", "internal", user="ann"))
    assert "internal" in done(moorage("project", "show", "demo", user="ann")).stdout
    done(moorage("member", "add", "demo", "user:bob", "developer", user="ann"))
    done(moorage("member", "add", "demo", "group:corp/ml", "guest", user="ann"))
    listed = json.loads(done(moorage("member", "list", "demo", "--json", user="ann")).stdout)
    assert {each["principal"] for each in listed} == {"user:ann", "user:bob", "group:corp/ml"}
    said = done(moorage("explain", "demo", "user:bob", "delete", user="ann")).stdout
    assert "user:bob has the role developer" in said
    done(moorage("member", "remove", "demo", "group:corp/ml", user="ann"))
    refused = done(moorage("project", "delete", "demo", user="ann"), 2)
    assert "--yes" in refused.stderr
    gone = done(moorage("project", "delete", "demo", "--yes", "--json", user="ann"))
    number = json.loads(gone.stdout)["id"]
    assert "purging" in done(moorage("project", "removal", number, user="ann")).stdout
    assert "no project" in done(moorage("project", "show", "demo", user="ann"), 1).stderr


def test_robot_accounts(moorage):
    done(moorage("project", "create", "robots", "--owner", "user:ann"))
    made = done(
        moorage("robot", "create", "robots", "ci", "--expires", "30d", "--scope",
                "repository:robots/*:pull", "--json", user="ann")
    )  # fmt: skip
    issued = json.loads(made.stdout)
    secret, login = issued["secret"], issued["robot"]["login"]
    again = done(moorage("robot", "create", "robots", "ci", user="ann"), 1)
    assert "changed" in again.stderr
    done(moorage("robot", "set", "robots", "ci", "--role", "guest", user="ann"))
    kept = json.loads(done(moorage("robot", "show", "robots", "ci", "--json", user="ann")).stdout)
    assert (kept["role"], kept["scopes"]) == ("guest", "repository:robots/*:pull")
    assert kept["expires"] == issued["robot"]["expires"]
    assert "robot:robots/ci" in done(moorage("whoami", user=login, secret=secret)).stdout
    rotated = done(moorage("robot", "rotate", "robots", "ci", user="ann"))
    assert "shown this once" in rotated.stderr
    assert secret not in rotated.stdout
    refused = done(moorage("whoami", user=login, secret=secret), 1)
    assert "MOORAGE_TOKEN_FILE" in refused.stderr
    done(moorage("robot", "delete", "robots", "ci", user="ann"))
    assert "(nothing)" in done(moorage("robot", "list", "robots", user="ann")).stderr


def test_pull_secrets_are_printed_for_kubectl():
    settings = {"server.public_url": "https://images.example.org"}
    with tenants(settings=settings) as registry:
        registry.user("ann")
        registry.project("demo", ann="maintainer")
        told = {"MOORAGE_URL": f"http://{registry.address}", "MOORAGE_TOKEN": f"ann:{PASSWORD}"}

        def run(*arguments):
            command = [sys.executable, "-m", "registry", "pull-secret", *arguments]
            done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done

        one = run("issue", "demo")
        assert "shown this once" in one.stderr
        made = [yaml.safe_load(one.stdout)]
        more = ("--namespace", "x", "--as", "y", "--overlap", "5", "--json")
        made.append(json.loads(run("issue", "demo", "batch", *more).stdout))
        for manifest in made:
            SECRETS.note(manifest["data"][".dockerconfigjson"])
        places = [each["metadata"] | {"labels": 0} for each in made]
        assert places == [
            {"name": "moorage-kubelet", "namespace": "demo", "labels": 0},
            {"name": "y", "namespace": "x", "labels": 0},
        ]
        run("revoke", "demo")
        run("revoke", "demo", "batch")


def test_tokens_and_passwords(moorage, tmp_path):
    made = json.loads(done(moorage("token", "create", "tool", "--json", user="bob")).stdout)
    assert made["secret"].startswith("mrg_pat_")
    whole = f"bob:{made['secret']}"
    said = done(moorage("whoami", MOORAGE_USER=None, MOORAGE_TOKEN_FILE=None, MOORAGE_TOKEN=whole))
    assert "user:bob" in said.stdout
    number = made["token"]["id"]
    assert number in done(moorage("token", "list", "--of", "bob")).stdout
    done(moorage("token", "revoke", number, "--of", "bob"))
    fresh = tmp_path / "fresh"
    fresh.write_text("a password that is fresh")
    done(moorage("user", "password", "--new-password-file", str(fresh), user="bob"))
    done(moorage("whoami", user="bob", secret="a password that is fresh"))
    fresh.write_text(PASSWORD)
    done(moorage("user", "password", "bob", "--new-password-file", str(fresh)))


def test_users(moorage, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    done(moorage("user", "create", "eve", "--group", "ml", "--new-password-file", str(file)))
    done(moorage("user", "set", "eve", "--block"))
    shown = json.loads(done(moorage("user", "show", "eve", "--json")).stdout)
    assert (shown["blocked"], shown["groups"]) == (True, ["ml"])
    assert "eve" in done(moorage("user", "list")).stdout
    done(moorage("user", "delete", "eve"))
    assert "no account" in done(moorage("user", "show", "eve"), 1).stderr
    assert "administrators" in done(moorage("user", "list", user="ann"), 1).stderr


def test_shares_and_content(moorage, registry):
    for name in ("giver", "taker"):
        done(moorage("project", "create", name, "--owner", "user:ann"))
    with registry.caller(basic("ann")) as caller:
        push_image(caller, "giver/deep/app", 1, "v1")
    done(moorage("share", "add", "giver", "taker", "--repository", "giver/deep/app", user="ann"))
    assert "giver/deep/app" in done(moorage("share", "list", "giver", user="ann")).stdout
    assert "giver/deep/app" in done(moorage("repository", "list", "giver", user="ann")).stdout
    assert "sha256:" in done(moorage("tag", "list", "giver/deep/app", user="ann")).stdout
    assert "sha256:" in done(moorage("tag", "show", "giver/deep/app", "v1", user="ann")).stdout
    done(moorage("tag", "delete", "giver/deep/app", "v1", user="ann"))
    done(moorage("share", "remove", "giver", "taker", "--repository", "giver/deep/app",
                 user="ann"))  # fmt: skip


def test_a_repository_is_deleted_and_had_back(moorage, registry):
    done(moorage("project", "create", "whole", "--owner", "user:ann"))
    with registry.caller(basic("ann")) as caller:
        digest = digest_of(push_image(caller, "whole/app", 1, "v1"))
    gone = json.loads(
        done(moorage("repository", "delete", "whole/app", "--json", user="ann")).stdout
    )
    assert (gone["manifests"], gone["tags"], gone["gone"]) == (1, 1, True)
    assert digest in done(moorage("repository", "deleted", "whole/app", user="ann")).stdout
    done(moorage("repository", "undelete", "whole/app", "--since", gone["since"], user="ann"))
    assert digest in done(moorage("tag", "show", "whole/app", "v1", user="ann")).stdout
    done(moorage("repository", "delete", "whole/app", user="ann"))
    done(moorage("repository", "undelete", "whole/app", digest, user="ann"))
    assert "whole/app" in done(moorage("repository", "list", "whole", user="ann")).stdout


def test_what_becomes_of_a_blob(moorage, registry):
    done(moorage("project", "create", "fate", "--owner", "user:ann"))
    with registry.caller(basic("ann")) as caller:
        push_image(caller, "fate/app", 1, "v1")
        digest = digest_of(b"{}")
        push_blob(caller, "fate/app", b"{}")
    said = done(moorage("blob", "show", "fate/app", digest, "--json", user="ann")).stdout
    shown = json.loads(said)
    assert (shown["state"], shown["bytes"], shown["until"]) == ("live", 2, None)
    absent = "sha256:" + "0" * 64
    assert absent in done(moorage("blob", "show", "fate/app", absent, user="ann"), 1).stderr
    queue = json.loads(done(moorage("collection", "--json")).stdout)
    assert queue["grace_seconds"] == 86_400
    assert queue["due"] == 0
    assert "administrators" in done(moorage("collection", user="ann"), 1).stderr


def test_tag_rules(moorage, registry):
    done(moorage("project", "create", "ruled", "--owner", "user:ann"))
    done(moorage("member", "add", "ruled", "user:bob", "maintainer", user="ann"))
    with registry.caller(basic("ann")) as caller:
        push_image(caller, "ruled/app", 1, "v1")
    assert "(nothing)" in done(moorage("tag-rules", "show", "ruled", user="bob")).stderr
    done(moorage("tag-rules", "set", "ruled", "releases", "v*", "--except", "*-rc*", user="ann"))
    done(moorage("tag-rules", "set", "ruled", "live", "ruled/app:live", "--changed-by", "owner",
                 "--json", user="ann"))  # fmt: skip
    listed = json.loads(done(moorage("tag-rules", "show", "ruled", "--json", user="bob")).stdout)
    assert [
        (each["name"], each["tags"], each["exceptions"], each["changed_by"]) for each in listed
    ] == [
        ("releases", ["v*"], ["*-rc*"], "nobody"),
        ("live", ["ruled/app:live"], [], "owner"),
    ]
    refused = done(moorage("tag", "delete", "ruled/app", "v1", user="bob"), 1).stderr
    assert "the tag v1 of ruled/app is immutable by the rule 'releases'" in refused
    assert "ask an owner of ruled" in refused
    assert "owner" in done(moorage("tag-rules", "set", "ruled", "x", "*", user="bob"), 1).stderr
    wrong = done(moorage("tag-rules", "set", "ruled", "x", "other/app:*", user="ann"), 1).stderr
    assert "of no repository of ruled" in wrong
    done(moorage("tag-rules", "set", "ruled", "releases", "w*", user="ann"))
    done(moorage("tag", "delete", "ruled/app", "v1", user="bob"))
    done(moorage("tag-rules", "remove", "ruled", "releases", user="ann"))
    assert "no tag rule" in done(moorage("tag-rules", "remove", "ruled", "x", user="ann"), 2).stderr


def test_the_past_of_a_tag(moorage, registry):
    done(moorage("project", "create", "past", "--owner", "user:ann"))
    done(moorage("member", "add", "past", "user:bob", "guest", user="ann"))
    with registry.caller(basic("ann")) as caller:
        digests = [digest_of(push_image(caller, "past/app", each, "v1")) for each in (1, 2)]
    said = done(moorage("tag", "history", "past/app:v1", "--json", user="bob")).stdout
    assert [each["digest"] for each in json.loads(said)] == digests[::-1]
    assert "role is guest" in done(moorage("tag", "rollback", "past/app:v1", user="bob"), 1).stderr
    back = done(moorage("tag", "rollback", "past/app:v1", "--json", user="ann")).stdout
    assert json.loads(back) == {"name": "v1", "digest": digests[0], "before": digests[1]}
    done(moorage("tag", "delete", "past/app", "v1", user="ann"))
    table = done(moorage("tag", "history", "past/app:v1", user="bob")).stdout.splitlines()
    assert [line.split()[0] for line in table] == [
        "DIGEST",
        "-",
        digests[0],
        digests[1],
        digests[0],
    ]
    done(moorage("tag", "rollback", "past/app:v1", "--to", digests[1], user="ann"))
    assert digests[1] in done(moorage("tag", "show", "past/app", "v1", user="bob")).stdout
    refused = done(moorage("tag", "rollback", "past/app:v1", "--steps", "9", user="ann"), 1).stderr
    assert "goes only" in refused
    assert "no tag of a repository" in done(moorage("tag", "history", "past/app"), 2).stderr


def test_retention(moorage, registry):
    done(moorage("project", "create", "tidy", "--owner", "user:ann"))
    done(moorage("member", "add", "tidy", "user:bob", "developer", user="ann"))
    with registry.caller(basic("ann")) as caller:
        for number in (1, 2, 3):
            push_image(caller, "tidy/app", number, f"ci-{number}")
        push_image(caller, "tidy/app", 4, "latest")
    wrong = done(moorage("retention", "set", "tidy", "builds", "ci-*", user="ann"), 1).stderr
    assert "says nothing that it keeps" in wrong
    done(moorage("retention", "set", "tidy", "builds", "ci-*", "--keep-last", "1", user="ann"))
    shown = done(moorage("retention", "untagged", "tidy", "14", "--json", user="ann")).stdout
    assert (json.loads(shown)["untagged_days"], json.loads(shown)["by"]) == (14, "user:ann")
    assert "role is developer" in done(moorage("retention", "untagged", "tidy", "never",
                                               user="bob"), 1).stderr  # fmt: skip
    planned = json.loads(done(moorage("retention", "plan", "tidy", "--json", user="ann")).stdout)
    assert {each["name"]: (each["goes"], each["why"]) for each in planned} == {
        "ci-1": (True, "rule builds: not among the last 1"),
        "ci-2": (True, "rule builds: not among the last 1"),
        "ci-3": (False, "rule builds: among the last 1"),
        "latest": (False, "no rule matches"),
    }
    assert "role is developer" in done(moorage("retention", "run", "tidy", user="bob"), 1).stderr
    ran = done(moorage("retention", "run", "tidy", "--repository", "tidy/app", user="ann")).stdout
    assert [line.split()[1:] for line in ran.splitlines()[1:]] == [["tag", "ci-1"], ["tag", "ci-2"]]
    listed = done(moorage("tag", "list", "tidy/app", "--json", user="bob")).stdout
    assert [each["name"] for each in json.loads(listed)] == ["ci-3", "latest"]

    def expired():
        events = done(moorage("audit", "list", "tidy", "--json", user="ann")).stdout
        return [each["subject"] for each in json.loads(events) if each["action"] == "tag.expired"]

    assert eventually(lambda: expired() == ["ci-1", "ci-2"])
    done(moorage("retention", "remove", "tidy", "builds", user="ann"))
    assert "(nothing)" in done(moorage("retention", "show", "tidy", user="bob")).stderr


def test_secrets_come_by_every_way_but_the_command_line(moorage):
    given = moorage("whoami", "--password-stdin", stdin=PASSWORD + "\n", MOORAGE_TOKEN_FILE=None)
    assert "user:adm" in done(given).stdout
    alone = done(moorage("whoami", MOORAGE_TOKEN_FILE=None), 2)
    assert "--password-stdin" in alone.stderr
    nobody = done(moorage("whoami", MOORAGE_USER=None, MOORAGE_TOKEN_FILE=None), 1)
    assert "log in" in nobody.stderr
    whose = done(moorage("whoami", MOORAGE_USER=None), 2)
    assert "whose secret" in whose.stderr
    assert PASSWORD not in whose.stderr
    missing = done(moorage("whoami", MOORAGE_TOKEN_FILE="/nonexistent"), 2)
    assert "/nonexistent" in missing.stderr


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("http://registry.example", 2, "in the clear"),
        ("ftp://127.0.0.1", 2, "no address"),
        ("http://ann:secret@127.0.0.1", 2, "holds credentials"),
        ("http://127.0.0.1:9", 1, "127.0.0.1:9"),
        ("http://127.0.0.1:9/?x", 2, "no address"),
    ],
)
def test_an_address_that_is_none_or_not_safe(moorage, url, code, said):
    refused = done(moorage("whoami", "--url", url), code)
    assert said in refused.stderr
    assert PASSWORD not in refused.stderr


def process(*arguments):
    """Run a command as a process of its own, without a login."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MOORAGE")}
    return subprocess.run(
        [sys.executable, "-m", "registry", *arguments],
        capture_output=True, text=True, timeout=30, check=False, env=kept,
    )  # fmt: skip


def test_the_first_administrator(tmp_path):
    (tmp_path / "secret").write_text(BOOTSTRAP)
    (tmp_path / "password").write_text(PASSWORD)
    with tenants() as fresh:
        made = process(
            "user", "bootstrap", "root", "--url", f"http://{fresh.address}",
            "--secret-file", str(tmp_path / "secret"),
            "--new-password-file", str(tmp_path / "password"),
        )  # fmt: skip
    assert "ADMINISTRATOR  yes" in done(made).stdout


def test_tls_and_its_authority(tmp_path):
    """A certificate that nobody vouches for is refused, and the way out is told."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "registry", "serve", "--memory", "--addr", address,
             "--tls-certificate", str(tmp_path / "cert.pem"),
             "--tls-key", str(tmp_path / "key.pem")],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        assert eventually(lambda: "serves https" in (tmp_path / "log").read_text(), 20)
        ask = ("whoami", "--url", f"https://{address}")
        assert "--ca-file" in done(process(*ask), 1).stderr
        said = done(process(*ask, "--ca-file", str(tmp_path / "ca.pem")))
        assert "anonymous" in said.stdout
    finally:
        server.terminate()
        server.wait(20)


def test_output_moves_no_cursor():
    assert cell("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert cell([]) == cell(None) == "-"
    assert cell({"id": "1", "expires": None}) == "id=1"


def test_times_are_read():
    assert moment("2027-01-31T00:00:00Z") == "2027-01-31T00:00:00Z"
    assert moment("2027-01-31") == "2027-01-31T00:00:00Z"
    assert past("1h") < moment("0s") < moment("30d")
    for text in ("tomorrow", "30", "30y", "", "-1d"):
        with pytest.raises(argparse.ArgumentTypeError):
            moment(text)
