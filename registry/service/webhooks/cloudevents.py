"""An event of the audit log in CloudEvents' words (CloudEvents 1.0.2, JSON format). Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from registry.service.audit.events import ACTIONS, CHEAP, AuditEvent, Happening

MEDIA_TYPE: Final = "application/cloudevents+json"
TYPE: Final = "io.moorage."
"""What the type of each event begins with; the action follows."""

PING: Final = "ping"
"""The action of an event that tells of nothing: for trials."""

TOLD: Final[frozenset[str]] = ACTIONS - CHEAP - {Happening.EVENTS_DROPPED}
"""What webhooks are told of: all that changes something. Logins and denials are for the log."""

_DIGEST: Final = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}").fullmatch
_ABOUT_TAGS: Final = "tag."
"""What actions begin with whose subject is a tag."""


def wanted(patterns: Iterable[str], action: str) -> bool:
    """Whether one of the globs takes the action: ``manifest.*``, ``tag.pushed``, ``*``."""
    return any(fnmatchcase(action, pattern) for pattern in patterns)


def cloud_event(event: AuditEvent, number: str, source: str, project: str = "") -> bytes:
    """Return the event as a JSON document.

    ``number`` is unique for each event of ``source``, and the same however often it is sent.
    ``project`` is the name of the project that it is about, where the event doesn't say it. What
    only the log is for (addresses, credentials) is left out.
    """
    name = event.project or project
    repository = event.repository
    if not event.project and project and event.tenant:
        # What the collector says: it knows places, which are without the project's name.
        repository = f"{project}/{repository}" if repository else project
    details: dict[str, str] = dict(event.details)
    tag = event.subject if event.action.startswith(_ABOUT_TAGS) else None
    digest = details.pop("digest", None) if tag else None
    if tag is None and _DIGEST(event.subject):
        digest = event.subject
    size = details.pop("size", None)
    data = {
        "action": event.action,
        "result": event.result,
        "project": name or None,
        "project_id": event.tenant or None,
        "repository": repository or None,
        "tag": tag,
        "digest": digest,
        "media_type": details.pop("media_type", None),
        "size": int(size) if size is not None else None,
        "subject": event.subject or None,
        "principal": event.principal or None,
        "request_id": event.request_id or None,
        "details": details,
    }
    subject = _subject(repository, tag, digest) or event.subject or name
    return _document(number, event.action, source, event.time, subject, data)


def ping(number: str, source: str, at: float, project: str, by: str) -> bytes:
    """Return an event that tells of nothing."""
    data = {"action": PING, "project": project or None, "principal": by}
    return _document(number, PING, source, at, project, data)


def _subject(repository: str, tag: str | None, digest: str | None) -> str:
    if repository and tag:
        return f"{repository}:{tag}"
    return f"{repository}@{digest}" if repository and digest else ""


def _document(
    number: str, action: str, source: str, at: float, subject: str, data: Mapping[str, Any]
) -> bytes:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": number,
        "source": source,
        "type": TYPE + action,
        "time": moment.replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    if subject:
        document["subject"] = subject
    try:
        return msgspec.json.encode(document, enc_hook=str)
    except UnicodeEncodeError:  # bytes of a client that are no UTF-8, kept as lone surrogates
        return msgspec.json.encode(_readable(document), enc_hook=str)


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
