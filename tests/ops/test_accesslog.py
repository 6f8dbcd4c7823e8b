"""The log: one line for each request, that no client can forge, and that holds no secret."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from registry.http.accesslog import AccessLog, json_lines, text_lines, visible_query
from registry.http.observe import RequestRecord
from registry.logs import LineHandler, Sink, Writer, escape, redact, rfc3339, shared_lock
from registry.spec.names import RepositoryName
from tests.ops.wire import access_lines, connect, eventually, get, push_blob, read_all

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
EVIL = (
    "a\nb",
    "a\r\nb",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\x7f",
    "\u2028",
    "\u202e",
    "\udc9b",
    "\x00",
    '"}\n{"log":"access","status":200}',
    "\U0001f980",
)


def record(**more):
    given = {"time": 1_700_000_000.25, "method": "GET", "path": "/v2/", "status": 200}
    return RequestRecord(**(given | more))


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("field", ["path", "query", "user_agent", "method", "remote"])
@pytest.mark.parametrize("lines", [json_lines, text_lines])
def test_no_text_of_a_client_can_forge_a_line_or_move_a_cursor(lines, field, evil):
    written = lines([record(**{field: f"n={evil}"}), record()])
    assert written.count(b"\n") == 2
    assert re.fullmatch(rb"[\x20-\x7e\n]*", written)


def test_json_lines_hold_what_is_known_of_a_request():
    (line,) = json_lines(
        [record(repository=RepositoryName("a/b"), seconds=0.0123456789, sent=7, code="X")]
    ).splitlines()
    found = json.loads(line)
    assert found["log"] == "access"
    assert found["time"] == "2023-11-14T22:13:20.250Z"
    assert found["repository"] == "a/b"
    assert (found["seconds"], found["sent"], found["code"]) == (0.012346, 7, "X")
    assert set(found) == {"log", *RequestRecord.__struct_fields__}


def test_unprintable_characters_survive_as_escapes():
    found = json.loads(json_lines([record(path="/\x9b\u2028\U0001f980")]))
    assert found["path"] == "/\x9b\u2028\U0001f980"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("n=5&last=a%2Fb", "n=5&last=a%2Fb"),
        ("digest=sha256:00&_state=abc", "digest=sha256:00&***"),
        (f"access_token={TOKEN}", "***"),
        (TOKEN, "***"),
        (f"n={TOKEN}", "n=***"),
        ("N=5", "***"),
    ],
)
def test_only_the_apis_own_parameters_are_logged(query, shown):
    assert visible_query(query) == shown


def test_long_texts_are_cut():
    line = json_lines(
        [record(path="/" + "a" * 9000, user_agent="b" * 9000, query="n=" + "c" * 9000)]
    )
    assert len(line) < 2500


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}",
        f"{{'Authorization': 'Basic {TOKEN}'}}",
        f"authorization=Bearer {TOKEN}",
        f"got bearer {TOKEN}",
        f"the token {TOKEN} is no good",
        f"https://user:{TOKEN}@host/x",
        f"GET /x?access_token={TOKEN}&n=1",
        f"password={TOKEN}",
    ],
)
def test_credentials_are_redacted_in_events(text):
    shown = redact(text)
    assert TOKEN not in shown
    assert "c2lnbmF0dXJl" not in shown
    assert "***" in shown


def test_what_is_no_secret_is_left_alone():
    text = "a request failed: https://host/v2/basic/images?n=1 sha256:00 digest mismatch"
    assert redact(text) == text


def events(text, *, name="moorage.x", error=None):
    out = []
    handler = LineHandler(out.append, text=text)
    info = (type(error), error, None) if error else None
    handler.emit(logging.LogRecord(name, 40, "f", 1, "said %s", ("a\nBearer abcdefgh",), info))
    return b"".join(out)


def test_events_are_one_json_line_each():
    line = events(text=False, error=ValueError("Authorization: Bearer abcdefgh"))
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert (found["log"], found["level"], found["logger"]) == ("event", "error", "moorage.x")
    assert found["message"] == "said a\nBearer ***"
    assert "abcdefgh" not in found["exception"]
    assert "ValueError" in found["exception"]


def test_events_for_people_can_not_be_forged_either():
    first, *rest = events(text=True, error=ValueError("x\ny")).decode().splitlines()
    assert "said a\\u000aBearer ***" in first
    assert all(line.startswith("    ") for line in rest)


def test_a_full_log_drops_and_counts_and_never_blocks(tmp_path):
    """The reader of a pipe has stopped reading: requests go on, and the loss is known."""
    reading, writing = os.pipe()
    log = AccessLog(_PipeSink(writing), text=False, limit=100)
    began = time.monotonic()
    for _ in range(5000):
        log.put(record(path="/" + "a" * 1000))
        if not _ % 500:
            time.sleep(0.06)
    assert time.monotonic() - began < 30
    assert log.dropped > 1000
    threading.Thread(target=_drain, args=(reading,), daemon=True).start()
    log.close()
    os.close(writing)


class _PipeSink(Sink):
    def __init__(self, descriptor):
        super().__init__()
        self._fd = descriptor


def _drain(descriptor):
    while os.read(descriptor, 1 << 20):
        pass
    os.close(descriptor)


def test_a_line_is_written_soon_though_nothing_follows_it(tmp_path):
    log = AccessLog(Sink(str(tmp_path / "log")), text=False)
    log.put(record())
    began = time.monotonic()
    while not (tmp_path / "log").stat().st_size:
        time.sleep(0.001)
        assert time.monotonic() - began < 10
    log.close()


def test_closing_writes_what_is_left(tmp_path):
    log = AccessLog(Sink(str(tmp_path / "log")), text=False)
    for _ in range(3000):
        log.put(record())
    log.close()
    assert (tmp_path / "log").read_bytes().count(b"\n") == 3000
    assert log.dropped == 0


def test_a_defect_in_one_batch_does_not_end_the_log(tmp_path):
    def encode(items):
        if "bad" in items:
            raise ValueError
        return b"".join(items)

    writer = Writer(Sink(str(tmp_path / "log")), encode)
    writer.put("bad")
    assert eventually(lambda: writer.dropped == 1)
    writer.put(b"good\n")
    writer.close()
    assert (tmp_path / "log").read_bytes() == b"good\n"


def test_times_are_utc_with_milliseconds():
    assert rfc3339(0.5) == "1970-01-01T00:00:00.500Z"
    assert escape("a\tb") == "a\\u0009b"


def test_the_server_logs_each_request_once_and_no_header(registry_server):
    server = registry_server("memory", workers=2)
    digest = push_blob(server, b"abc")
    get(server, f"/v2/a/b/blobs/{digest}?token={TOKEN}", {"Authorization": f"Bearer {TOKEN}"})
    with connect(server) as sock:
        sock.sendall(
            b"GET /v2/x%0a%1b[31m\xc2\x9b/tags/list?n=\xff HTTP/1.0\r\nHost: x\r\n"
            b"User-Agent: \x1b[0m\xff\r\n\r\n"
        )
        read_all(sock)
    found = access_lines(server, 4)
    assert [line["action"] for line in sorted(found, key=lambda line: line["time"])][:3] == [
        "upload.start",
        "upload.finish",
        "blob.get",
    ]
    pull = next(line for line in found if line["action"] == "blob.get")
    assert (pull["status"], pull["sent"], pull["repository"]) == (200, 3, "a/b")
    assert pull["query"] == "***"
    push = next(line for line in found if line["action"] == "upload.finish")
    assert push["received"] == 3
    start = next(line for line in found if line["action"] == "upload.start")
    assert re.fullmatch("[0-9a-f]{16}", push["upload"])
    assert start["upload"] == push["upload"]
    log = server.log.read_text()
    assert TOKEN[:20] not in log
    assert re.fullmatch(r"[\x20-\x7e\n]*", log)


def test_probes_are_logged_only_when_they_fail(registry_server):
    server = registry_server("memory")
    get(server, "/healthz")
    get(server, "/v2/")
    assert [line["path"] for line in access_lines(server)] == ["/v2/"]


def test_log_files_are_opened_anew_on_sighup(registry_server, tmp_path):
    """What logrotate does: move the file away, then signal."""
    events_file, access = tmp_path / "events.log", tmp_path / "access.log"
    config = tmp_path / "a.toml"
    config.write_text(f'[log]\nfile = "{events_file}"\naccess_file = "{access}"\n')
    server = registry_server("memory", workers=2, arguments=["-c", str(config)])
    get(server, "/v2/")
    assert eventually(lambda: access.read_text().count("\n") == 1)
    access.rename(tmp_path / "access.1")
    os.kill(server.pid, 1)
    assert eventually(access.exists)
    # Whichever worker answers: one that has not heard of it yet still writes to the old file.
    assert eventually(lambda: get(server, "/v2/") and access.read_text())
    assert eventually(lambda: "serves http://" in events_file.read_text())


WRITER = """
import sys
from registry.logs import Sink
sink = Sink("", int(sys.argv[1]))
line = sys.argv[2].encode() * 500 + b"\\n"
for _ in range(60):
    sink.write(line * 100)
"""


def test_lines_of_several_workers_do_not_mix_in_a_pipe():
    """A container's stderr is a pipe, which takes 4096 bytes at once without mixing them."""
    lock = shared_lock()
    reading, writing = os.pipe()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(lock), letter], stderr=writing, pass_fds=[lock]
        )
        for letter in "ab"
    ]
    os.close(writing)
    time.sleep(0.7)  # now both are in the middle of a write, and wait for the reader
    with os.fdopen(reading, "rb") as lines:
        found = [line.strip() for line in lines]
    assert [writer.wait(10) for writer in writers] == [0, 0]
    os.close(lock)
    assert len(found) == 2 * 60 * 100
    assert set(found) == {b"a" * 500, b"b" * 500}
