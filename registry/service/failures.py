"""What may go wrong outside of this process, for work in the background that is done again."""

from typing import Final

from registry.service.records import Corrupt
from storage.coordination import CoordinationUnavailable, LeaseHeld
from storage.ports import StorageError

FAILURES: Final = (StorageError, CoordinationUnavailable, LeaseHeld, Corrupt)
"""The store or the coordination does not answer, another process is at the same work, or a record
can't be read. Anything else is a defect."""
