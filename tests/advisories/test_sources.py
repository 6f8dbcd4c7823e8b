"""What the sources hold, and what they do not: protections that are the absence of something."""

import ast
import re
from pathlib import Path

from tests.advisories.rows import ROOT

SOURCES = sorted(
    path for part in ("auth", "registry", "storage") for path in (ROOT / part).rglob("*.py")
)


def imports(path: Path) -> set[str]:
    """The modules that a source imports, and the names from them: `a`, `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def importers(*modules: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(
            name == each or name.startswith(f"{each}.")
            for name in imports(path)
            for each in modules
        )
    }


def test_cve_2026_32590_nothing_is_unpickled_or_evaluated():
    assert importers("pickle", "marshal", "shelve", "dill", "jsonpickle", "yaml", "code") == set()
    for path in SOURCES:
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile", "__import__"}, path


def test_cve_2021_3762_no_layer_is_unpacked():
    unpackers = ("tarfile", "zipfile", "gzip", "lzma", "bz2", "zstandard")
    assert importers(*unpackers) == set()
    # A browser's session is inflated after its signature was checked, and to a bound.
    sessions = ROOT / "auth" / "browser_sessions.py"
    assert "inflate.decompress(payload, _MOST_CLAIMS)" in sessions.read_text()
    for path in set(SOURCES) - {sessions}:
        assert not re.search(r"zlib\.(?!crc32\b)|unpack_archive", path.read_text()), path


def test_only_what_the_configuration_names_is_asked():
    """CVE-2026-32591, CVE-2026-10517: whoever can make a request of its own is known.

    These ask addresses of the configuration (`auth.fetch`, a platform, S3, Redis) or of the command
    line: `registry/http/origin.py` and its client are only part of `moorage import`.
    `registry/tracing/opening.py` sends to the collector that the configuration names.
    Webhooks alone go where an owner says, and to no inner address (tests/webhooks).
    """
    allowed = {
        "auth/fetch.py", "registry/logins.py", "registry/cli/health.py",
        "registry/cli/remote/client.py", "registry/http/webhooks.py", "registry/http/origin.py",
        "registry/http/origin_client.py", "registry/provisioning.py",
        "registry/tracing/opening.py",
    }  # fmt: skip
    clients = ("aiohttp.ClientSession", "urllib.request", "http.client", "requests", "httpx")
    assert importers(*clients) <= allowed
    at_hand = {str(path.relative_to(ROOT)) for path in SOURCES if "aiohttp" in _plain(path)}
    assert at_hand <= allowed | {f"storage/_s3_{part}.py" for part in ("wire", "reader", "bucket")}


def _plain(path: Path) -> set[str]:
    """The modules that are imported as such: what they hold is at hand."""
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }


def test_cve_2024_23334_no_files_are_served():
    names = set().union(*map(imports, SOURCES))
    routers = {
        f"aiohttp.web.{each}"
        for each in ("UrlDispatcher", "StaticResource", "static", "FileResponse", "Application")
    }
    assert not names & routers


def test_libraries_are_newer_than_their_advisories():
    """The first good version of each, and what is pinned."""
    least = {"aiohttp": (3, 9, 4), "redis": (4, 5, 5), "pyjwt": (2, 4), "cryptography": (42, 0, 4)}
    text = (ROOT / "requirements/runtime.lock").read_text()
    for name, version in least.items():
        found = re.search(rf"^{name}==([0-9.]+) ", text, re.MULTILINE)
        assert tuple(map(int, found[1].split("."))) >= version, name
