"""How commands are declared: in groups, each with a help of its own."""

import argparse
from collections.abc import Callable
from typing import Any

Run = Callable[[argparse.Namespace], int]
"""What a command does with its options; returns the exit code."""

_RAW = argparse.RawDescriptionHelpFormatter


class Commands:
    """The commands of a parser.

    Options may not be abbreviated: a script that says ``--data`` must not mean something else when
    an option is added.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        """Add commands to ``parser``, of which one has to be given."""
        self._parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(self, name: str, text: str, run: Run, **more: Any) -> argparse.ArgumentParser:
        """Add a command that ``run`` runs; ``text`` says what it does, for the list of commands.

        ``more`` goes to ``argparse``: description, epilog.
        """
        parser = self._add(name, text, more)
        parser.set_defaults(run=run)
        return parser

    def group(self, name: str, text: str, **more: Any) -> "Commands":
        """Add a command that only has commands of its own."""
        return Commands(self._add(name, text, more))

    def _add(self, name: str, text: str, more: dict[str, Any]) -> argparse.ArgumentParser:
        described = {"description": text[0].upper() + text[1:] + "."} | more
        return self._parsers.add_parser(
            name, help=text, formatter_class=_RAW, allow_abbrev=False, **described
        )


def parser(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Make the parser that commands are added to."""
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=_RAW,
        allow_abbrev=False,
    )
