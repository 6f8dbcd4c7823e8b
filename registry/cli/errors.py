"""What ends a command, and is said in one line."""


class UsageError(Exception):
    """The command line, or what the command finds around it, is not enough. Exit code 2."""


class Failed(Exception):
    """What was asked for could not be done. Exit code 1."""
