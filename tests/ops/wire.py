"""What tests of the server need to speak HTTP by hand, and to wait."""

import contextlib
import http.client
import json
import socket
import time
from hashlib import sha256


def connect(server, timeout=60.0):
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def read_all(sock):
    """Read until the server closes. A reset counts as the end too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            data += more
    return data


def read_answer(sock):
    """Read one answer with a Content-Length; the connection may stay open."""
    answer = http.client.HTTPResponse(sock)
    try:
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        answer.close()


def get(server, path="/v2/", headers=None, method="GET", body=None, timeout=60):
    connection = http.client.HTTPConnection(server.address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def error_code(body):
    """The code of an OCI error body; fails if it has another shape."""
    (entry,) = json.loads(body)["errors"]
    assert entry["message"]
    return entry["code"]


def eventually(probe, seconds=30.0):
    """Return what ``probe`` returns as soon as that is true; its last answer after ``seconds``."""
    until = time.monotonic() + seconds
    while not (found := probe()) and time.monotonic() < until:
        time.sleep(0.03)
    return found


def all_serving(server):
    """Wait until every worker serves: ready is said by the first one, the start line after all."""
    assert eventually(lambda: "serves http://" in server.log.read_text())


def start_upload(server, repository="a/b"):
    status, headers, _ = get(server, f"/v2/{repository}/blobs/uploads/", method="POST")
    assert status == 202
    return headers["Location"]


def push_blob(server, data, repository="a/b"):
    digest = "sha256:" + sha256(data).hexdigest()
    location = start_upload(server, repository)
    status, _, _ = get(
        server,
        f"{location}?digest={digest}",
        method="PUT",
        body=data,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert status == 201
    return digest


def begin_patch(server, location, size):
    """Send the head of a PATCH of ``size`` bytes; the body is the caller's."""
    sock = connect(server)
    sock.sendall(
        f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {size}\r\n\r\n".encode()
    )
    return sock


def access_lines(server, count=1):
    """Return the access log's records once there are ``count`` of them."""

    def lines():
        found = [json.loads(line) for line in server.log.read_text().splitlines()]
        found = [line for line in found if line["log"] == "access"]
        return found if len(found) >= count else []

    return eventually(lines)
