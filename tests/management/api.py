"""The management API as a caller sees it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.auth.tenants import TenantRegistry
from tests.oracle.wire import Reply

V1 = "/api/v1"


@dataclass
class Api:
    """The management API as one caller sees it."""

    registry: TenantRegistry
    authorization: str | None

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; headers are given with `_` for `-`."""
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if "content-type" not in {name.lower() for name, _ in lines}:
                lines.append(("Content-Type", "application/json"))
        target = path if path.startswith("/") and path.startswith("/api") else V1 + path
        with self.registry.caller(self.authorization) as caller:
            reply = caller.request(method, target, lines, data)
        if reply.status >= 400 and method != "HEAD":
            check_problem(reply)
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Reply:
        return self.ask("PUT", path, body, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.ask("POST", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Reply:
        return self.ask("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Reply:
        return self.ask("DELETE", path, **headers)


def check_problem(reply: Reply) -> None:
    """Every refusal is a problem document (RFC 9457) that agrees with its answer."""
    assert reply["Content-Type"] == "application/problem+json", reply
    details = reply.json()
    assert details["status"] == reply.status
    assert details["type"] == f"/api/v1/problems#{details['code']}"
    assert details["request_id"] == reply["X-Request-Id"]
    assert details["title"]
    assert len(details["detail"]) > 10
    assert set(details) <= {
        *("type", "title", "status", "detail", "code", "request_id", "parameter", "pointer"),
    }


def problem(reply: Reply, status: int) -> str:
    """Check the status of a refusal; return its code."""
    assert reply.status == status, reply
    return str(reply.json()["code"])
