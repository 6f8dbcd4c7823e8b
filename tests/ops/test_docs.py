"""The reference documentation: everything that exists is in it, and nothing else is."""

import argparse
import json
import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from registry import config
from registry.cli import command_line
from registry.cli.remote.speaking import add_connection
from registry.config.values import encode
from registry.http.metrics import Metrics
from registry.supervisor import FAMILIES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def rows(name):
    """The cells of each row of each table of a page, heads left out."""
    lines = (REFERENCE / name).read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    found = [re.split(r"\s*\|\s*", line.strip("| ")) for line in tables]
    ruled = {number for number, line in enumerate(tables) if set(line) <= set("|-")}
    return [
        row for number, row in enumerate(found) if number not in ruled and number + 1 not in ruled
    ]


def named(text):
    return re.findall(r"`([^`]+)`", text)


def test_every_setting_has_its_row_and_no_other_has():
    documented = {row[0].strip("`"): row for row in rows("configuration.md")}
    # What several sections have alike, as lists of rules, is described once.
    first = {(each.holder, each.key): each for each in reversed(config.settings())}
    known = {setting.name: setting for setting in first.values()}
    assert set(documented) == set(known)
    for name, row in documented.items():
        shown = "none"
        if known[name].default is msgspec.NODEFAULT:
            shown = "required"
        elif known[name].default is not None:
            default = msgspec.to_builtins(known[name].default, enc_hook=encode)
            shown = f"`{json.dumps(default)}`"
        assert row[2] == shown, name
        if choices := known[name].choices:
            assert re.findall(r'`"(\w+)"`', row[1]) == choices, name
        assert len(row) == 4
        assert row[3].endswith("."), name


def test_settings_stand_under_the_heading_of_their_section():
    section = ""
    for line in (REFERENCE / "configuration.md").read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        if line.startswith("| `"):
            assert line.startswith(f"| `{section}."), line


def test_the_example_is_a_good_configuration(tmp_path):
    (example,) = re.findall(
        r"```toml\n(.*?)```", (REFERENCE / "configuration.md").read_text(), re.DOTALL
    )
    (tmp_path / "a.toml").write_text(example)
    assert config.load([tmp_path / "a.toml"]).server.workers == 2


def test_every_metric_has_its_row_and_no_other_has():
    metrics = Metrics(version="x")
    known = {}
    for family in metrics.collect():
        known[family.name] = (family.type, family.documentation, tuple(family._labelnames))
    for name, text, kind in FAMILIES:
        known[name] = (kind, text, ())
    documented = {row[0].strip("`").removesuffix("_total"): row for row in rows("metrics.md")}
    assert set(documented) == set(known)
    for name, (kind, _text, labels) in known.items():
        row = documented[name]
        assert row[0].strip("`").endswith("_total") == (kind == "counter"), name
        assert row[1] == kind, name
        assert tuple(named(row[2])) == labels, name
        assert row[3].endswith("."), name


def test_metrics_that_the_alarms_speak_of_exist():
    text = (REFERENCE / "metrics.md").read_text()
    documented = {row[0].strip("`") for row in rows("metrics.md")}
    spoken = set(re.findall(r"moorage_\w+", text.partition("## Worth an alarm")[2]))
    assert spoken
    assert spoken <= documented


def test_labels_that_are_listed_are_those_that_are_sent():
    registry = CollectorRegistry()
    registry.register(Metrics(version="x"))
    sent = generate_latest(registry).decode()
    for name in (
        "moorage_connections_closed_total",
        "moorage_tls_reloads_total",
        "moorage_uploads_total",
    ):
        (row,) = [row for row in rows("metrics.md") if row[0] == f"`{name}`"]
        values = set(re.findall(rf'{name}{{\w+="(\w+)"}}', sent))
        assert values
        assert values <= set(named(row[3])), name


def commands(parser, path=("moorage",)):
    """Each command with its options' flags."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from commands(sub, (*path, name))
            return
    flags = [flag for action in parser._actions for flag in action.option_strings]
    yield " ".join(path), {flag for flag in flags if flag not in ("-h", "--help")}


def test_every_command_and_option_has_its_row_and_no_other_has():
    known = dict(commands(command_line()))
    cells = rows("command-line.md")
    documented = {row[0].strip("`") for row in cells if row[0].startswith("`moorage ")}
    assert documented == set(known)
    connection = argparse.ArgumentParser(add_help=False)
    add_connection(connection)
    asking = {flag for action in connection._actions for flag in action.option_strings}
    remote = {name for name, flags in known.items() if asking <= flags}
    options = {name: set(asking) for name in remote}
    shared = set()
    for row in cells:
        if row[0].startswith("`-"):
            flags = {flag.split()[0] for flag in named(row[0])}
            if row[1] == "all that ask a registry":
                shared |= flags
            for command in named(row[1]):
                options.setdefault(f"moorage {command}", set()).update(flags)
    assert shared == asking
    assert options == {name: flags for name, flags in known.items() if flags}


def test_options_say_which_setting_they_are():
    known = {setting.name for setting in config.settings()}
    parser = {}
    for action in _all_actions(command_line()):
        if "." in action.dest:
            parser[action.option_strings[-1]] = action.dest
    assert set(parser.values()) <= known
    for row in rows("command-line.md"):
        flag = row[0].strip("`").split()[0]
        if flag in parser:
            assert parser[flag] in row[2], flag


def _all_actions(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _all_actions(sub)
        else:
            yield action


@pytest.mark.parametrize("page", ["configuration.md", "metrics.md", "command-line.md"])
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)", (REFERENCE / page).read_text()):
        assert (REFERENCE / link).exists(), link
