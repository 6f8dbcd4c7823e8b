"""A Hopsworks platform, as far as a registry sees it: it speaks over HTTP what its source does.

Each behaviour names the platform's class that has it.
"""

import asyncio
import hashlib
import secrets
import threading
import time
from contextlib import asynccontextmanager, contextmanager

import jwt
from aiohttp import web

from tests.oracle.serving import serving

API = "/hopsworks-api/api"
SCOPES = frozenset({"PROJECT", "PYTHON_LIBRARIES"})


class Platform:
    """Users, projects and their teams. What it holds can be changed while it runs."""

    def __init__(self):
        self.url = ""
        self.signing_key = secrets.token_bytes(64)
        self.projects = {}  # id -> name
        self.teams = {}  # id -> {username: role}
        self.administrators = set()
        self.last = 118
        self.keys = {}  # prefix -> (hash, username, scopes)
        self.invalid_tokens = set()
        self.asked = []
        self.status = None
        self.delay = 0.0
        self.body = None

    def project(self, name, **team):
        """``ProjectController``: ids are numbers from one on, and are never used again."""
        self.last = number = self.last + 1
        self.projects[number] = name
        self.teams[number] = dict(team) or {"own10000": "Data owner"}
        return number

    def delete(self, number):
        """``ProjectController.removeProject``."""
        del self.projects[number], self.teams[number]

    def api_key(self, username, scopes=SCOPES):
        """``ApiKeyController``: a prefix of 16 characters, a dot, a secret of 64; only its hash
        is kept."""
        prefix, secret = secrets.token_hex(8), secrets.token_hex(32)
        self.keys[prefix] = (hashlib.sha256(secret.encode()).digest(), username, frozenset(scopes))
        return f"{prefix}.{secret}"

    def revoke(self, key):
        """``ApiKeyController.deleteKey``."""
        del self.keys[key.partition(".")[0]]

    def token(self, username, **claims):
        """``JWTController``: HS512, with a key that only the platform has; no projects in it."""
        now = int(time.time())
        payload = {
            "iss": "hopsworks@logicalclocks.com", "sub": username, "aud": ["api", "job"],
            "jti": secrets.token_hex(8), "iat": now, "nbf": now, "exp": now + 1800,
        } | claims  # fmt: skip
        return jwt.encode(payload, self.signing_key, algorithm="HS512", headers={"kid": "119"})

    def log_out(self, token):
        """``JWTController.invalidate``: the token's id goes to the table of invalid ones."""
        self.invalid_tokens.add(jwt.decode(token, options={"verify_signature": False})["jti"])

    async def answer(self, request):
        self.asked.append((request.method, request.path))
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.status is not None:
            return web.Response(status=self.status, body=b"<html>proxy</html>")
        path = request.path.removeprefix(API)
        if path == request.path:
            raise web.HTTPNotFound
        username, scopes = self._caller(request.headers.get("Authorization", ""))
        if username is None:
            return self._error(401, 200003, "Unauthorized")
        match path.strip("/").split("/"):
            case ["project"]:
                return self._projects(username, scopes)
            case ["project", "getAll"]:
                return self._all(scopes)
            case ["project", "getProjectInfo", name]:
                return self._info(username, scopes, name)
            case ["project", number, "python", "environments"]:
                return self._environments(username, scopes, int(number))
        return self._error(404, 120000, "Not found")

    def _caller(self, header):
        """``ApiKeyFilter`` and ``JWTFilter``."""
        scheme, _, text = header.partition(" ")
        if scheme == "ApiKey":
            prefix, _, secret = text.partition(".")
            kept, username, scopes = self.keys.get(prefix, (b"", None, frozenset()))
            good = secrets.compare_digest(kept, hashlib.sha256(secret.encode()).digest())
            return (username, scopes) if good else (None, frozenset())
        try:
            found = jwt.decode(text, self.signing_key, algorithms=["HS512"], audience="api")
        except jwt.InvalidTokenError:
            return None, frozenset()
        known = found["jti"] not in self.invalid_tokens
        return (found["sub"], SCOPES) if known else (None, frozenset())

    def _projects(self, username, scopes):
        """``ProjectService``: an array of ``ProjectTeam``, empty for an account without any."""
        if "PROJECT" not in scopes:
            return self._error(403, 320004, "No valid scope found for this invocation")
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        return web.json_response(
            [
                {
                    "project": {"id": number, "name": name, "owner": {"username": "meb10000"}},
                    "user": {"uid": 10000, "username": username, "email": f"{username}@x.test"},
                    "teamRole": self.teams[number][username],
                    "timestamp": "2026-11-27T00:00:00Z",
                }
                for number, name in self.projects.items()
                if username in self.teams[number]
            ]
        )

    def _all(self, scopes):
        """``ProjectService.getAllProjects``: every project, whoever asks."""
        if "PROJECT" not in scopes:
            return self._error(403, 320004, "No valid scope found for this invocation")
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        return web.json_response(
            [
                {"id": number, "name": name, "owner": {"username": "meb10000"}, "archived": False}
                for number, name in self.projects.items()
            ]
        )

    def _info(self, username, scopes, name):
        """``ProjectService.getProjectByName``: a ``ProjectDTO``, for members and administrators."""
        if "PROJECT" not in scopes:
            return self._error(403, 320004, "No valid scope found for this invocation")
        found = [number for number, each in self.projects.items() if each == name]
        if not found:
            return self._error(404, 150004, "Project not found")
        (number,) = found
        if username not in {*self.teams[number], *self.administrators}:
            return self._error(403, 150068, "No access to this project")
        team = [
            {"user": {"uid": 10000, "username": user}, "teamRole": role}
            for user, role in self.teams[number].items()
        ]
        info = {"projectId": number, "projectName": name, "owner": "meb10000", "projectTeam": team}
        return web.json_response(info)

    def _environments(self, username, scopes, number):
        """``EnvironmentResource``: scopes first, then the project, then what it has."""
        if "PYTHON_LIBRARIES" not in scopes:
            return self._error(403, 320004, "No valid scope found for this invocation")
        if username not in self.teams.get(number, ()):
            return self._error(403, 150068, "No access to this project")
        return self._error(404, 300000, "Anaconda environment not found for project")

    @staticmethod
    def _error(status, code, message):
        """``RESTCodes``."""
        return web.json_response(
            {"errorCode": code, "errorMsg": message, "usrMsg": message},
            status=status,
            headers={"WWW-Authenticate": 'Bearer realm="Cauth Realm"'} if status == 401 else {},
        )


@asynccontextmanager
async def running():
    """Run a platform."""
    platform = Platform()
    async with serving(platform.answer) as url:
        platform.url = f"{url}{API}"
        yield platform


@contextmanager
def running_apart():
    """Run a platform in a thread of its own, for tests that are none of an event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="platform", daemon=True)
    thread.start()

    def wait(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    started = running()
    try:
        yield wait(started.__aenter__())
    finally:
        wait(started.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
