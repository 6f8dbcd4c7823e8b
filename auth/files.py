"""Files that are read anew when they change: keys, certificates, lists of users."""

import os
from collections.abc import Sequence
from pathlib import Path


class Changes:
    """Notices that files are others than they were, by what their paths lead to.

    So it notices that a link leads elsewhere: a mounted Kubernetes Secret changes by that.
    """

    def __init__(self, files: Sequence[Path | str]) -> None:
        """Look at ``files``, which need not be there."""
        self._files = files
        self._states = self._look()

    def any(self) -> bool:
        """Whether one has changed since this was asked last. It waits for the disk."""
        before, self._states = self._states, self._look()
        return before != self._states

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: Path | str) -> tuple[int, int, int] | None:
    """Another for another content; ``None`` where there is no file that may be looked at."""
    try:
        found = os.stat(file)  # noqa: PTH116  where these are watched it is every few seconds
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
