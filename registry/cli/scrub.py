"""``moorage scrub``: read all that is stored again, as a job beside the registry."""

# ruff: noqa: T201  printing is what a command does

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from registry.cli.commands import Commands
from registry.cli.jobs import add_store, opened, run, store_of
from registry.config import Config

if TYPE_CHECKING:
    from registry.service.scrub.scrubber import Damage, Progress

_SCRUB: Final = """\
Read every blob and every manifest again, and compare it with its digest. A blob that is damaged is
put into quarantine: clients are told that it is unknown, so that whoever has it pushes it again. A
manifest is kept aside. With scrub.second, good bytes from there take their place instead. Clients
may push and pull meanwhile; a scrub that was broken off goes on where it was."""

_EPILOG: Final = """\
examples:
  moorage scrub -c moorage.toml             scrub, or go on with a scrub that was broken off
  moorage scrub -c moorage.toml --dry-run   only tell what is damaged; nothing is changed
  moorage scrub -c moorage.toml --status    how far it is, and what the last one came to

The exit code is 1 where something was damaged and could not be mended."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "scrub", "compare all content with its digests", _scrub, description=_SCRUB, epilog=_EPILOG
    )
    add_store(parser)
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only tell")
    parser.add_argument("--status", action="store_true", help="only tell how far it is")
    parser.add_argument("--json", action="store_true", help="print lines of JSON")


def _scrub(options: argparse.Namespace) -> int:
    config = store_of(options)
    return run(
        lambda: _run(config, options), busy="another scrub is at work on this store; see --status"
    )


async def _run(config: Config, options: argparse.Namespace) -> int:
    # Not at the top: the other commands need none of it.
    from registry.collecting import terms_of  # noqa: PLC0415
    from registry.scrubbing import scrubber, second_store, telling  # noqa: PLC0415
    from registry.service.scrub.scrubber import Found  # noqa: PLC0415
    from registry.telling import audited_command  # noqa: PLC0415

    left = 0

    def told(damage: "Damage") -> None:
        nonlocal left
        left += damage.found is not Found.REPAIRED
        print(_line(damage, as_json=options.json, look=options.dry_run))

    async with (
        opened(
            config,
            "scrub",
            alone="nothing but the one process that serves it may scrub, so set "
            "scrub.interval_days there",
        ) as backend,
        audited_command(config, backend) as journal,
        second_store(config) as second,
    ):
        report = told if options.dry_run else telling(journal, told)
        work = scrubber(
            config, backend, terms_of(config), report, second=second, look=options.dry_run
        )
        done = await (work.progress() if options.status else work.scrub())
    _sum_up(done, as_json=options.json, status=options.status)
    return 1 if left else 0


def _line(damage: "Damage", *, as_json: bool, look: bool) -> str:
    if as_json:
        return json.dumps(
            {
                "digest": damage.digest,
                "place": damage.place or None,
                "outcome": damage.found,
                "reason": damage.reason,
                "dry_run": look,
            }
        )
    where = f" of {damage.place}" if damage.place else ""
    would = "would be " if look else ""
    return f"{would}{damage.found} {damage.digest}{where}: {damage.reason}"


def _sum_up(done: "Progress", *, as_json: bool, status: bool) -> None:
    if status and as_json:
        print(json.dumps(msgspec.to_builtins(done)))
        return
    if status and not done.began:
        print("there was no scrub yet")
        return
    state = "ended" if done.ended else "under way"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(done.ended or done.began))
    text = (
        f"{done.looked} blobs and manifests of {done.bytes} bytes, {done.damaged} of them damaged"
    )
    if status:
        print(f"{state}, {since}: {text}")
    else:
        print(text, file=sys.stderr)
