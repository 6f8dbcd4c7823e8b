"""What a Hopsworks platform says of the bearer of a key or a token of its own.

Its tokens can't be verified by anybody but itself, and say nothing of projects. So it is asked,
with the caller's own credential, by the one call that tells who it is, in which projects, and in
what role (``ProjectService``: ``GET /project``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from auth.chain import AuthenticatorUnavailable
from auth.credentials import ApiKey, InvalidCredentials
from auth.issuers import FetchFailed

LACKS_SCOPE: Final = 320004
"""The platform's error for a key without the scope that a call needs (``RESTCodes``)."""

_T = TypeVar("_T")
_Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Answer(Protocol):
    """What came back: the status and the body."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...


class Ask(Protocol):
    """Gets what is at an address, whatever the status."""

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer; ``FetchFailed`` where there is none."""
        ...


class _Project(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=0)]


class _User(msgspec.Struct):
    username: _Text = ""


class _Member(msgspec.Struct, rename="camel"):
    """A member of a project's team."""

    user: _User
    team_role: _Text = ""


class _Team(msgspec.Struct, rename="camel"):
    """``ProjectTeam``: one membership."""

    project: _Project
    user: _User
    team_role: _Text = ""


class _Listed(msgspec.Struct):
    """``Project``, as far as it matters here."""

    id: Annotated[int, msgspec.Meta(ge=1)]
    name: Annotated[_Text, msgspec.Meta(min_length=1)]


class _Info(msgspec.Struct, rename="camel"):
    """``ProjectDTO``."""

    project_team: tuple[_Member, ...]


class _Error(msgspec.Struct, rename="camel"):
    error_code: int = 0


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who it is, ``""`` if the platform does not say; its role in each project, by id.

    ``pushes``: whether its credential is good for changes of environments.
    """

    username: str
    roles: Mapping[int, str]
    pushes: bool = True


class Platform:
    """Asks. Nothing is kept."""

    def __init__(self, url: str, ask: Ask) -> None:
        """``url`` is where its API is: ``https://<host>/hopsworks-api/api``."""
        self._url = url.rstrip("/")
        self._ask = ask

    async def bearer(self, credential: ApiKey | str) -> Bearer:
        """Return who bears a key, or the token ``credential``.

        ``InvalidCredentials`` where the platform refuses it, ``AuthenticatorUnavailable`` where it
        does not say.
        """
        if isinstance(credential, ApiKey):
            headers = {"Authorization": f"ApiKey {credential.key}"}
        else:
            headers = {"Authorization": f"Bearer {credential}"}
        answer = await self._get("/project", headers)
        if answer.status != 200:
            raise self._refusal(answer, "PROJECT")
        teams = self._decoded("/project", answer, list[_Team])
        pushes = True
        if isinstance(credential, ApiKey) and teams:
            pushes = await self._changes_environments(teams, headers)
        username = teams[0].user.username if teams else ""
        return Bearer(username, {each.project.id: each.team_role for each in teams}, pushes)

    async def projects(self, key: str) -> Mapping[int, str]:
        """Return the name of each project of the platform, by its id (``GET /project/getAll``).

        Errors as for ``bearer``; a list that has an id twice is none.
        """
        path = "/project/getAll"
        answer = await self._get(path, {"Authorization": f"ApiKey {key}"})
        if answer.status != 200:
            raise self._refusal(answer, "PROJECT")
        listed = self._decoded(path, answer, list[_Listed])
        found = {each.id: each.name for each in listed}
        if len(found) != len(listed):
            raise AuthenticatorUnavailable(f"{self._url}{path}: it lists a project twice")
        return found

    async def team(self, key: str, name: str) -> Mapping[str, str] | None:
        """Return the role of each user in a project (``GET /project/getProjectInfo/{name}``).

        ``None`` where the key's owner may not know. ``AuthenticatorUnavailable``, also for a team
        without members, or with one that has no name: each project there has an owner.
        """
        path = f"/project/getProjectInfo/{quote(name, safe='')}"
        answer = await self._get(path, {"Authorization": f"ApiKey {key}"})
        if answer.status in (400, 403, 404):
            return None
        if answer.status != 200:
            raise self._refusal(answer, "PROJECT")
        team = self._decoded(path, answer, _Info).project_team
        found = {each.user.username: each.team_role for each in team if each.user.username}
        if not found or len(found) != len(team):
            raise AuthenticatorUnavailable(f"{self._url}{path}: it does not name the whole team")
        return found

    def _decoded(self, path: str, answer: Answer, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (ValueError, RecursionError) as error:
            raise AuthenticatorUnavailable(f"{self._url}{path}: {error}") from error

    async def _changes_environments(
        self, teams: Sequence[_Team], headers: Mapping[str, str]
    ) -> bool:
        """Whether a key has the scope ``PYTHON_LIBRARIES``, which no call tells of.

        So one that needs it is tried, in a project where the caller's role is no reason to refuse.
        """
        tried = next((each for each in teams if each.team_role == "Data owner"), teams[0])
        answer = await self._get(f"/project/{tried.project.id}/python/environments", headers)
        if answer.status >= 500 or answer.status == 429:
            raise AuthenticatorUnavailable(f"{self._url}: it answers {answer.status}")
        # A project without an environment is no matter of scopes, and those are looked at first.
        return answer.status in (200, 204, 404)

    async def _get(self, path: str, headers: Mapping[str, str]) -> Answer:
        try:
            return await self._ask(self._url + path, {**headers, "Accept": "application/json"})
        except FetchFailed as error:
            raise AuthenticatorUnavailable(str(error)) from error

    def _refusal(self, answer: Answer, scope: str) -> Exception:
        if answer.status == 401:
            return InvalidCredentials("the platform does not know this key or token, or no longer")
        if answer.status == 403:
            if _code(answer.body) == LACKS_SCOPE:
                return InvalidCredentials(f"this key needs the scope {scope}")
            return InvalidCredentials("the platform lets this key or token do nothing")
        return AuthenticatorUnavailable(f"{self._url}: it answers {answer.status}")


def _code(body: bytes) -> int:
    try:
        return msgspec.json.decode(body, type=_Error).error_code
    except (ValueError, RecursionError):
        return 0
