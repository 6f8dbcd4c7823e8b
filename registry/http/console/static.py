"""The style sheet and the script: files of the package, the same for everybody."""

import hashlib
from importlib import resources
from typing import Final

from aiohttp import hdrs
from aiohttp.web import BaseRequest

from registry.http.answer import Answer
from registry.http.console.visit import PREFIX
from registry.spec.conditions import Conditions
from registry.spec.problems import PathUnknown

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_BELOW: Final = f"{PREFIX}/static/"
_DAY: Final = "public, max-age=86400"


class StaticFiles:
    """Serves them. Their addresses change with them, so that browsers may keep each for a day."""

    def __init__(self) -> None:
        """Read them all."""
        self._files: dict[str, tuple[bytes, str]] = {}
        for each in resources.files("registry.http.console").joinpath("static").iterdir():
            if each.name.rpartition(".")[2] in _TYPES:
                data = each.read_bytes()
                self._files[each.name] = data, hashlib.sha256(data).hexdigest()[:16]

    def url(self, name: str) -> str:
        """Return the address of a file as it is now."""
        return f"{_BELOW}{name}?v={self._files[name][1]}"

    def answer(self, http: BaseRequest, path: str, query: str) -> Answer | None:
        """Return the file of a raw path; ``None`` for the path of none. ``PathUnknown``."""
        if not path.startswith(_BELOW):
            return None
        found = self._files.get(path.removeprefix(_BELOW))
        if found is None:
            raise PathUnknown
        data, version = found
        headers = [
            ("Content-Type", _TYPES[path.rpartition(".")[2]]),
            # Of another version, in the midst of an upgrade, it is sent and not kept.
            ("Cache-Control", _DAY if query == f"v={version}" else "no-cache"),
            ("ETag", f'"{version}"'),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        conditions = Conditions.parse(None, http.headers.get(hdrs.IF_NONE_MATCH))
        if conditions.not_modified(version):
            return Answer(304, headers)
        return Answer(200, headers, data)
