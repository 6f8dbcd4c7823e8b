"""A process of clients that read, put, swap and delete tags, and print what they were told.

    python -m tests.oracle.tag_client HOST:PORT[,HOST:PORT...] REPOSITORY SEED THREADS COUNT TAG...

Of several addresses each request goes to one, by chance. One JSON object a line: the tag, and the
fields of an `Operation`. Times are of the machine's monotonic clock, which all its processes share.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.oracle.content import digest_of, image, put_manifest
from tests.oracle.histories import Operation
from tests.oracle.wire import Client, Reply

_ROOT = Path(__file__).resolve().parents[2]


def _request(client: Client, repo: str, tag: str, chance: random.Random, last: dict, name: str):
    """Choose a request; give how it is sent, and the operation that it is."""
    target = f"/v2/{repo}/manifests/{tag}"
    choice = chance.random()
    if choice < 0.4:
        method = chance.choice(["GET", "HEAD"])
        return (lambda: client.request(method, target)), {"kind": "read"}
    expected, headers = None, []
    condition = chance.random()
    if condition < 0.5 and last.get(tag):
        expected = last[tag]
        headers = [("If-Match", f'"{expected}"')]
    elif condition < 0.65:
        expected, headers = "absent", [("If-None-Match", "*")]
    elif condition < 0.75:
        expected, headers = "present", [("If-Match", "*")]
    if choice < 0.85:
        manifest = image(b"{}", annotations={"name": name})
        operation = {"kind": "put", "value": digest_of(manifest), "expected": expected}
        return (lambda: put_manifest(client, repo, tag, manifest, *headers)), operation
    return (lambda: client.delete(target, *headers)), {"kind": "delete", "expected": expected}


def _read_answer(operation: dict, reply: Reply) -> None:
    current = (reply.get("ETag") or "").strip('"') or None
    match operation["kind"], reply.status:
        case "read", 200:
            operation["value"] = reply["Docker-Content-Digest"]
        case ("read", 404) | ("put", 201) | ("delete", 202):
            pass
        case "delete", 404:
            operation["outcome"] = "missing"
        case _, 412:
            operation |= {"outcome": "refused", "seen": current}
        case _, 503:
            operation["response"] = None
        case _:
            raise AssertionError(f"{operation}: {reply}")


def _run(addresses: str, repo: str, seed: str, count: int, tags: Sequence[str]) -> None:
    chance = random.Random(seed)  # noqa: S311
    last: dict[str, str | None] = {}
    with ExitStack() as stack:
        places = [
            stack.enter_context(Client(each, fresh=True, timeout=15))
            for each in addresses.split(",")
        ]
        number = 0
        patience = time.monotonic() + 40
        while number < count:
            client = chance.choice(places)
            tag = chance.choice(tags)
            send, operation = _request(client, repo, tag, chance, last, f"{seed}-{number}")
            operation["invoked"] = time.monotonic()
            try:
                reply = send()
            except ConnectionRefusedError:
                assert time.monotonic() < patience, "nobody serves"
                time.sleep(0.02)
                continue  # it surely did not happen
            except OSError:
                operation["response"] = None
                time.sleep(0.02)
            else:
                operation["response"] = time.monotonic()
                _read_answer(operation, reply)
            if operation["kind"] == "read":
                last[tag] = operation.get("value")
            elif operation.get("seen"):
                last[tag] = operation["seen"]
            elif operation["kind"] == "put":
                last[tag] = operation["value"]
            number += 1
            sys.stdout.write(json.dumps([tag, operation]) + "\n")


def main(addresses: str, repo: str, seed: str, threads: str, count: str, *tags: str) -> None:
    """Run the clients of this process."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            _run(addresses, repo, f"{seed}-{number}", int(count), tags)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failures.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(int(threads))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def clients(
    addresses: str, repo: str, tags: Sequence[str], *, processes: int, threads: int, count: int
) -> Iterator[dict[str, list[Operation]]]:
    """Start processes of such clients; the histories are filled in when the context is left."""
    histories: dict[str, list[Operation]] = {tag: [] for tag in tags}
    with ExitStack() as stack:
        running = []
        for number in range(processes):
            command = [sys.executable, "-m", "tests.oracle.tag_client", addresses, repo]
            command += [str(number), str(threads), str(count), *tags]
            process = stack.enter_context(
                subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            running.append(process)
        yield histories
        for process in running:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, "a client was told what no registry may say"
            for line in output.splitlines():
                tag, operation = json.loads(line)
                histories[tag].append(Operation(**operation))


if __name__ == "__main__":
    main(*sys.argv[1:])
