"""Where the bytes of an upload go, so that no collector takes them for those of another."""

import secrets
from contextlib import suppress

from registry.service.session_records import Standing
from registry.service.sessions import algorithm_of, opened
from registry.service.terms import Terms
from registry.spec.errors import UploadUnknown
from registry.spec.names import SessionId
from storage import keys
from storage.ports import ContentStore, NotFound


class DataKeys:
    """Chooses keys for the bytes of sessions, and tells which can still be given a name."""

    def __init__(self, store: ContentStore, terms: Terms) -> None:
        self._store = store
        self._terms = terms

    async def check_young(self, session: SessionId, standing: Standing) -> None:
        """Refuse content that was finished so long ago that its name may have been collected.

        Then the collector may be taking the bytes away, and they can't be given a name again.
        """
        record = standing.record
        if standing.version is None or record.content or self._is_young(opened(session)):
            return
        with suppress(NotFound):
            if not self._is_young((await self._store.stat(standing.data)).modified):
                raise UploadUnknown(session)

    def choose(self, session: SessionId, standing: Standing, algorithm: str) -> str:
        """The key for bytes of the session that ``algorithm`` is to name.

        What its record holds may have been finished before, by a request whose end was not told.
        Where that was so long ago that a collector may be taking the bytes away, they get a key
        that no late deletion names.

        A key is never named by two digests, so what another algorithm names than was announced
        has one of its own: else who deletes the one blob would take the other's bytes.
        """
        record = standing.record
        if record.content and not self._is_young(opened(session)):
            return fresh_data()
        if algorithm != algorithm_of(session) and not record.written:
            standing.apart = True
            return keys.data_by(session, algorithm)
        return standing.data

    def _is_young(self, since: float) -> bool:
        """Whether nothing can have been collected of what was finished ``since`` then."""
        return self._terms.clock() - since <= self._terms.grace - self._terms.patience


def fresh_data() -> str:
    """A key for bytes that no upload brought; nobody else has it."""
    return keys.data_of(secrets.token_hex(16))
