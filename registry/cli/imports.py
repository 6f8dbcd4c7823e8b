"""``moorage import``: what another registry has, from its API or from where it keeps it."""

# ruff: noqa: T201  printing is what a command does

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from registry.cli.commands import Commands
from registry.cli.errors import Failed, UsageError
from registry.cli.jobs import Telling, add_store, opened, run, say, store_of
from registry.cli.remote.credentials import TOKEN, TOKEN_FILE, USER, login
from registry.config import Config

if TYPE_CHECKING:
    from registry.service.imports.importer import Journal
    from registry.service.imports.source import Source

_GROUP: Final = """\
Take over repositories with their tags, manifests and blobs. What is here already is not fetched
again, so an import that was broken off goes on when it is repeated, and one that is made again
takes over what is new. All is compared with its digest. This registry may serve meanwhile."""

_TREE: Final = """\
Import from a storage tree of Distribution (the registry image): from a directory, the one that has
docker/registry/v2 in it, or from a bucket that a configuration file names. Files become part of
the store as they are where they are on its file system and belong to the same user: then no byte is
copied, and their mode becomes 0400. The old registry may serve meanwhile; its garbage collector
must not run."""

_REGISTRY: Final = """\
Import from a running registry: all repositories that its catalog lists, or those that are named.
The secret comes from standard input, from MOORAGE_SOURCE_TOKEN, or from the file that
MOORAGE_SOURCE_TOKEN_FILE names: <user>:<secret>, or the secret of --user."""

_EPILOG: Final = """\
examples:
  moorage import tree -c moorage.toml /var/lib/registry
  moorage import tree -c moorage.toml --create-projects old-bucket.toml
  moorage import registry -c moorage.toml https://old.example:4443 --ca-file ca.pem
  moorage import registry -c moorage.toml https://old.example --repository base --into mirror

The exit code is 1 where something could not be imported; each such thing is a line on standard
error."""

_VARIABLES: Final[Mapping[str, str]] = {
    USER: "MOORAGE_SOURCE_USER",
    TOKEN: "MOORAGE_SOURCE_TOKEN",
    TOKEN_FILE: "MOORAGE_SOURCE_TOKEN_FILE",
}


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("import", "take over another registry", description=_GROUP)
    tree = group.command(
        "tree", "import a storage tree of Distribution", _tree, description=_TREE, epilog=_EPILOG
    )
    tree.add_argument("source", metavar="PATH", type=Path, help="a directory, or a file for S3")
    tree.add_argument("--copy", action="store_true", help="copy files, leave them as they are")
    registry = group.command(
        "registry", "import a running registry", _registry, description=_REGISTRY, epilog=_EPILOG
    )
    registry.add_argument("source", metavar="URL", help="its address: https://host[:port]")
    registry.add_argument(
        "--repository",
        dest="repositories",
        action="append",
        default=[],
        metavar="NAME",
        help="import this one only; may be given several times",
    )
    registry.add_argument("--user", metavar="NAME", help="who asks there")
    registry.add_argument(
        "--password-stdin", action="store_true", help="the secret is the first line of stdin"
    )
    registry.add_argument("--ca-file", default="", metavar="FILE", help="authorities to trust")
    registry.add_argument(
        "--plain-http", action="store_true", help="without TLS, to other machines too"
    )
    for parser in (tree, registry):
        add_store(parser)
        parser.add_argument(
            "--into", default="", metavar="NAME", help="put all repositories below this name"
        )
        parser.add_argument(
            "--create-projects", action="store_true", help="make projects that are not there"
        )
        parser.add_argument(
            "--jobs", type=int, default=8, metavar="N", help="blobs fetched at once (default 8)"
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _tree(options: argparse.Namespace) -> int:
    config = store_of(options)

    def source() -> "contextlib.AbstractAsyncContextManager[Source]":
        from registry.importing import tree  # noqa: PLC0415

        return tree(config, options.source, copy=options.copy)

    return _run(config, options, source)


def _registry(options: argparse.Namespace) -> int:
    config = store_of(options)
    environment = {
        name: os.environ[source] for name, source in _VARIABLES.items() if source in os.environ
    }
    whose = login(environment, options.user, password_stdin=options.password_stdin)

    def source() -> "contextlib.AbstractAsyncContextManager[Source]":
        from registry.http.origin import Origin  # noqa: PLC0415

        try:
            return Origin(
                options.source,
                user=whose.user if whose else "",
                secret=whose.secret if whose else "",
                repositories=options.repositories,
                ca_file=options.ca_file,
                plain_http=options.plain_http,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error

    return _run(config, options, source)


def _run(
    config: Config,
    options: argparse.Namespace,
    source: "Callable[[], contextlib.AbstractAsyncContextManager[Source]]",
) -> int:
    if not 1 <= options.jobs <= 64:
        raise UsageError("--jobs is a number from 1 to 64")
    busy = "another import from this source is at work; it goes on by itself"
    return run(lambda: _import(config, options, source), busy=busy)


async def _import(config: Config, options: argparse.Namespace, source: Any) -> int:
    # Not at the top: the other commands need none of it.
    from registry.importing import ImportTerms, importer  # noqa: PLC0415
    from registry.service.audit.events import COMMAND, AuditEvent, Happening  # noqa: PLC0415
    from registry.service.imports.source import SourceUnavailable  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    progress = Telling(lambda journal: f"{journal.after}: {_line(journal)}")
    terms = ImportTerms(options.into, options.create_projects, options.jobs)
    async with (
        opened(config, "import") as backend,
        audited_command(config, backend) as journal,
        source() as opened_source,
    ):
        work = await importer(config, backend, opened_source, terms, progress.tell, _failed)
        try:
            done = await work.run()
        except SourceUnavailable as error:
            raise Failed(f"{error}; run it again, and it goes on where it was") from error
        if journal is not None:
            journal.record(
                AuditEvent.of(
                    time.time(),
                    Happening.CONTENT_IMPORTED,
                    COMMAND,
                    subject=done.source,
                    repositories=done.repositories,
                    bytes=done.bytes,
                    failed=done.failed or None,
                )
            )
    print(json.dumps(msgspec.structs.asdict(done)) if options.json else _line(done))
    if done.failed:
        raise Failed(f"{done.failed} things could not be imported")
    return 0


def _failed(what: str, reason: str) -> None:
    say(f"not imported {what}: {reason}")


def _line(journal: "Journal") -> str:
    return (
        f"{journal.repositories} repositories, {journal.tags} tags; new: {journal.manifests} "
        f"manifests, {journal.blobs} blobs of {journal.bytes} bytes; {journal.failed} failed"
    )
