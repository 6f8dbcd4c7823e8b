"""The documentation keeps up with the code: no request or error without its row, no dead link."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from registry.cli import command_line
from registry.spec import requests
from registry.spec.errors import STATUSES
from registry.spec.problems import PROBLEMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
KINDS = get_args(requests.Request)

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ABSOLUTE = re.compile(r"(?i)[a-z][a-z0-9+.-]*:")
_COMMAND = re.compile(r"`(moorage [^`\n]+)`|^\s*(?:[$#] )?(moorage [^\n|&;>#]+)", re.MULTILINE)
_MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|home/\w|users/\w)\b|"
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.\w+|proxy\.golang\.org|crates\.io|"
    r"docker\.io|quay\.io|ghcr\.io|gcr\.io|mcr\.microsoft\.com)\b",
    re.IGNORECASE,
)


def rows(page, heading):
    """The cells of the rows of each table whose first column is called ``heading``."""
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == heading:
            inside = True
        elif inside and not set(line) <= set("|-"):
            yield cells


@cache
def functions_of(file):
    """The names of a file's functions."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in tree.body if isinstance(each, functions)}


def prose(page):
    """The page without its blocks and spans of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page):
    """The anchors that a page's headings make."""
    for title in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", title.lower())
        yield plain.replace(" ", "-")


def test_every_error_has_its_row_and_no_other_has():
    documented = [(row[0].strip("`"), row) for row in rows(DOCS / "reference/errors.md", "error")]
    assert sorted(name for name, _ in documented) == sorted(STATUSES)
    for name, row in documented:
        code, status = STATUSES[name]
        assert row[1:3] == [f"`{code}`", str(status)], name
        assert len(row) == 5, name
        assert all(cell.endswith(".") for cell in row[3:]), name


def test_every_request_has_its_row_and_no_other_has():
    documented = [
        (row[0].strip("`"), row[1].strip("`")) for row in rows(DOCS / "reference/api.md", "request")
    ]
    assert sorted(documented) == sorted((kind.__name__, kind.action) for kind in KINDS)


def test_every_problem_has_its_row_with_its_type_and_status():
    documented = {row[0].strip("`"): row for row in rows(DOCS / "reference/errors.md", "problem")}
    assert set(documented) == set(PROBLEMS)
    for name, (kind, status, _) in PROBLEMS.items():
        assert documented[name][1:3] == [f"`{kind}`", str(status)], name


def test_methods_and_paths_are_those_that_the_parser_takes():
    digest = f"sha256:{'0' * 64}"
    values = {"<name>": "a/b", "<digest>": digest, "<reference>": "v1", "<session>": "0" * 64}
    kinds = {f"`{kind.__name__}`": kind for kind in KINDS}
    for name, _action, methods, path, _end in rows(DOCS / "reference/api.md", "request"):
        raw = path.strip("`")
        for placeholder, value in values.items():
            raw = raw.replace(placeholder, value)
        for method in methods.split(", "):
            query = f"digest={digest}" if name == "`FinishUpload`" else ""
            made = requests.parse(method, raw, query)
            assert type(made) is kinds[name], (method, path)


def test_every_request_is_described():
    text = (DOCS / "reference/api.md").read_text()
    described = re.findall(r"^##+ ([a-z]+(?:\.[a-z]+)?)$", text, re.MULTILINE)
    assert sorted(described) == sorted(kind.action for kind in KINDS)


BUGS = list(rows(DOCS / "explanation/consistency.md", "bug"))


def test_every_bug_of_replicas_has_its_row():
    assert [row[0] for row in BUGS] == [f"C{number}" for number in range(1, 28)]
    assert all(len(row) == 4 for row in BUGS)


@pytest.mark.parametrize("row", BUGS, ids=lambda row: row[0])
def test_each_test_that_is_named_for_a_bug_is_there(row):
    """None is named only where it is said why there is none."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
    assert row[3] == (", ".join(f"`{file}::{name}`" for file, name in named) or "none")
    assert named or row[2].startswith("Not possible: ")
    for file, name in named:
        assert name in functions_of(file), f"{file}::{name}"


def test_the_index_names_every_page():
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(index))}
    pages = {page for page in DOCS.rglob("*.md") if page != index}
    assert {str(page.relative_to(DOCS)) for page in pages - linked} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for link in _LINK.findall(prose(page)):
        if _ABSOLUTE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in set(anchors(target)), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_machine_path_and_no_host_of_another_registry(page):
    assert _MACHINE.findall(page.read_text()) == []


def refusal(parser, words, capsys):
    """What the command line says against a command."""
    try:
        parser.parse_args(words)
    except SystemExit as ended:
        return capsys.readouterr().err if ended.code else ""
    return ""


def test_commands_and_their_options_are_those_that_there_are(capsys):
    """In a console they are whole; in the text one may be named without what it works on."""
    parser, found = command_line(), 0
    for page in PAGES:
        for named, typed in _COMMAND.findall(page.read_text().replace("\\\n", " ")):
            words = [word for word in shlex.split(named or typed)[1:] if word != "…"]
            if "COMMAND" in words:
                continue
            found += 1
            said = refusal(parser, words, capsys)
            assert not said or (named and "arguments are required" in said), f"{page}: {said}"
    assert found > 100
