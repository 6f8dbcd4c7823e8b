"""The command line, as a process."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.ops.wire import eventually


def moorage(*arguments, env=None, cwd=None, program=("-m", "registry")):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MOORAGE__")}
    return subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=cwd,
        env=kept | (env or {}),
    )


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["config", "check"],
        ["config", "schema"],
        ["healthcheck"],
        ["version"],
        ["token-service"],
        ["keys", "rotate"],
        ["keys", "revoke"],
        ["gc"],
    ],
)
def test_every_command_explains_itself(command):
    done = moorage(*command, "--help")
    assert done.returncode == 0
    assert "usage: moorage" in done.stdout


def test_help_shows_how_to_begin_and_where_to_read_on():
    said = moorage("--help").stdout
    assert "moorage serve" in said
    assert "docker push" in said
    assert "docs/reference/configuration.md" in said
    assert "exit codes" in said


@pytest.mark.parametrize(
    ("addr", "refused"),
    [
        ("0.0.0.0:0", True),
        (":0", True),
        ("[::]:0", True),
        ("192.0.2.7:0", True),
        ("127.0.0.1:0", False),
        ("localhost:0", False),
        ("[::1]:0", False),
    ],
)
def test_serving_the_network_without_login_must_be_asked_for(addr, refused):
    """The refusal says how to ask for it, and what else to do."""
    done = moorage("config", "check", "--addr", addr)
    assert done.returncode == (2 if refused else 0)
    if refused:
        assert f"moorage serve --addr {addr} --open-to-network" in done.stderr
        assert "open_to_network = true" in done.stderr
        assert "MOORAGE__SERVER__OPEN_TO_NETWORK=true" in done.stderr
        assert "Traceback" not in done.stderr
    assert moorage("config", "check", "--addr", addr, "--open-to-network").returncode == 0


def test_serve_refuses_the_network_before_it_touches_anything(tmp_path):
    done = moorage("serve", "--addr", "0.0.0.0:0", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert not (tmp_path / "data").exists()


def test_config_check_prints_what_it_adds_up_to(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[server]\nworkers = 2\n")
    done = moorage(
        "config",
        "check",
        "-c",
        str(file),
        "--data",
        "/srv/x",
        env={"MOORAGE__TLS__KEY_PASSWORD": "s3cret"},
    )
    shown = json.loads(done.stdout)
    assert shown["server"]["workers"] == 2
    assert (shown["storage"]["driver"], shown["storage"]["path"]) == ("filesystem", "/srv/x")
    assert "s3cret" not in done.stdout


def test_config_check_says_what_is_wrong(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[server]\nworker = 2\n")
    done = moorage("config", "check", "-c", str(file))
    assert done.returncode == 2
    assert done.stderr == (
        f"moorage: {file}: $.server.worker: no such setting; did you mean 'workers'?\n"
    )


def test_data_and_memory_exclude_each_other():
    done = moorage("config", "check", "--data", "x", "--memory")
    assert done.returncode == 2
    assert "--data and --memory" in done.stderr


def test_config_schema_is_json_schema():
    schema = json.loads(moorage("config", "schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "server" in schema["$defs"]["Config"]["properties"]


def test_version():
    assert re.fullmatch(r"moorage \S+\n", moorage("version").stdout)


def test_options_may_not_be_abbreviated():
    """A script that says --data must not mean something else when an option is added."""
    assert moorage("config", "check", "--work", "2").returncode == 2


def test_healthcheck_follows_the_registry(registry_server):
    server = registry_server("memory")
    assert moorage("healthcheck", "--addr", server.address).returncode == 0
    server.kill()
    done = moorage("healthcheck", "--addr", server.address)
    assert done.returncode == 1
    assert "no answer" in done.stderr


def test_a_taken_port_is_said_and_nothing_more(registry_server):
    server = registry_server("memory")
    done = moorage("serve", "--memory", "--addr", server.address)
    assert done.returncode == 3
    assert "can't listen" in done.stderr
    assert "--addr" in done.stderr
    assert "Traceback" not in done.stderr


RIVAL = """
import socket, sys
from registry import cli, workers

bind = workers.open_sockets

def bind_as_another_does(address):
    bound = bind(address)
    rival = socket.socket()
    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    rival.bind(bound[0].getsockname())
    rival.listen()
    globals()["kept"] = rival
    return bound

workers.open_sockets = bind_as_another_does
sys.exit(cli.main(sys.argv[1:]))
"""
"""A registry that begins at the same moment as another: both bind, and the other listens first."""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_another_takes_at_the_same_moment_is_said_and_nothing_more(workers):
    options = ("serve", "--memory", "--addr", "127.0.0.1:0", "--workers", workers)
    done = moorage(*options, program=("-c", RIVAL))
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "can't listen on 127.0.0.1:0: Address already in use" in line
    assert "--addr" in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_several_workers_share_is_taken_for_others(registry_server, workers):
    """SO_REUSEPORT would let a second registry take half of the first one's clients."""
    server = registry_server("memory", workers=2)
    done = moorage("serve", "--memory", "--addr", server.address, "--workers", workers)
    assert done.returncode == 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_can_not_be_opened_ends_it_with_a_reason(tmp_path, workers):
    (tmp_path / "file").write_text("x")
    done = moorage(
        "serve", "--addr", "127.0.0.1:0", "--data", str(tmp_path / "file"), "--workers", workers
    )
    assert done.returncode == 3
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_start_says_what_is_served_and_how_to_push(registry_server):
    server = registry_server("memory", workers=2, arguments=["--log-format", "text"])
    said = eventually(lambda: "first:v1" in server.log_tail()) and server.log_tail()
    assert f"serves http://{server.address}" in said
    assert "memory" in said
    assert "2 processes" in said
    assert f"docker push {server.address}/first:v1" in said


def test_start_is_one_json_line_for_machines(registry_server):
    server = registry_server("memory")
    eventually(server.log_tail)
    first = json.loads(server.log_tail().splitlines()[0])
    assert f"serves http://{server.address}" in first["message"]
