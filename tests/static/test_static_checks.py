"""Style, types and layers (what `make lint` runs), and that the locks fit pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    "command", ["ruff check", "ruff format --check", "mypy", "lint-imports"], ids=str.split
)
def test_check_finds_nothing(command):
    program, *arguments = command.split()
    run = [Path(sys.executable).with_name(program), *arguments]
    check = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    if check.returncode != 0:
        pytest.fail(f"{command}\n{check.stdout}{check.stderr}", pytrace=False)


def locked(name):
    """Return the versions that a lock pins, by normalised name."""
    pins = re.findall(
        r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE
    )
    return {each.lower().replace("_", "-"): version for each, version in pins}


@pytest.mark.parametrize("name", ["build.lock", "runtime.lock", "dev.lock"])
def test_lock_pins_by_hash_and_names_no_place(name):
    text = (ROOT / "requirements" / name).read_text()
    packages = re.split(r"\n(?=[\w.-]+==)", text)
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text
    assert not re.search(r"^\s*--?(i|index|extra|find|trusted)", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("build.lock", PROJECT["build-system"]["requires"]),
        ("runtime.lock", PROJECT["project"]["dependencies"]),
        ("dev.lock", PROJECT["project"]["dependencies"]),
        ("dev.lock", PROJECT["dependency-groups"]["test"]),
        ("dev.lock", PROJECT["dependency-groups"]["lint"]),
    ],
)
def test_lock_fits_pyproject(name, wanted):
    """`make lock` was run after the last change of the dependencies."""
    pins = locked(name)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
