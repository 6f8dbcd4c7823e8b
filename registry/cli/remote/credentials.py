"""Whom a command acts as: from the environment, a file, standard input or a prompt.

Never from the command line itself, which other users of the machine can read.
"""

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from registry.cli.errors import UsageError

MAX_SECRET: Final = 64 * 1024
"""Longest secret that is read, in characters: it may be a token."""

URL: Final = "MOORAGE_URL"
USER: Final = "MOORAGE_USER"
TOKEN: Final = "MOORAGE_TOKEN"  # noqa: S105 -- a variable's name
TOKEN_FILE: Final = "MOORAGE_TOKEN_FILE"  # noqa: S105 -- a variable's name
CA_FILE: Final = "MOORAGE_CA_FILE"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its secret; a bearer token where there is no name."""

    user: str
    secret: str = field(repr=False)


def login(
    environment: Mapping[str, str],
    user: str | None,
    *,
    password_stdin: bool,
    stdin: TextIO | None = None,
) -> Login | None:
    """Return whom to log in as, or ``None`` for nobody. ``UsageError`` says what is missing.

    A password on standard input comes first, then ``MOORAGE_TOKEN_FILE``, then ``MOORAGE_TOKEN``,
    then, where a user is named, a prompt. What a file holds may begin with the user and a colon.
    """
    stdin = stdin or sys.stdin
    name = user or environment.get(USER, "")
    if password_stdin:
        if not name:
            raise UsageError(f"--password-stdin needs --user or {USER}")
        return Login(name, first_line(stdin))
    text = _from_environment(environment)
    if text is None:
        if not name:
            return None
        if not stdin.isatty():
            raise UsageError(
                f"there is no terminal to ask for the password of {name}: use --password-stdin, "
                f"or name a file that holds it in {TOKEN_FILE}"
            )
        return Login(name, getpass.getpass(f"Password of {name}: "))
    if name:
        return Login(name, text.removeprefix(f"{name}:"))
    found, colon, secret = text.partition(":")
    if colon:
        return Login(found, secret)
    if text.startswith("eyJ"):
        return Login("", text)
    raise UsageError(
        f"whose secret is it? Name the user with --user or {USER}, or write <user>:<secret>"
    )


def _from_environment(environment: Mapping[str, str]) -> str | None:
    path = environment.get(TOKEN_FILE)
    if path:
        return read_secret(Path(path))
    return environment.get(TOKEN) or None


def read_secret(path: Path) -> str:
    """Return the secret in a file, without its line end. ``UsageError`` if it can't be read."""
    try:
        with path.open(encoding="utf-8") as stream:
            return first_line(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the secret can't be read: {error}") from error


def first_line(stream: TextIO) -> str:
    """Return the first line, without its end. ``UsageError`` if it is empty or very long."""
    text = stream.readline(MAX_SECRET + 2).rstrip("\r\n")
    if not text or len(text) > MAX_SECRET:
        raise UsageError("the secret is empty, or too long to be one")
    return text


def new_password(path: Path | None, stdin: TextIO | None = None) -> str:
    """Return a new password: from a file, or asked for twice. ``UsageError``."""
    if path is not None:
        return read_secret(path)
    if not (stdin or sys.stdin).isatty():
        raise UsageError(
            "there is no terminal to ask for the new password: use --new-password-file"
        )
    password = getpass.getpass("New password: ")
    if getpass.getpass("The same again: ") != password:
        raise UsageError("the two are not the same: nothing was changed")
    return password
