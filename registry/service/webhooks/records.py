"""What is kept of webhooks, and of what is to be told to them."""

from registry.service.records import Record


class WebhookRecord(Record, frozen=True):
    """A webhook. ``id`` is never used again, though its name may be.

    ``events`` are globs of actions. ``project`` is the project's name, ``""`` for all of the
    registry. ``secret`` is kept as it is: signatures are made with it.
    """

    id: str
    url: str
    secret: str
    events: tuple[str, ...]
    active: bool
    project: str
    by: str
    at: float

    def __repr__(self) -> str:
        return f"WebhookRecord({self.id}, {self.project!r})"


class TellRecord(Record, frozen=True):
    """One event as it is sent: its id, its action, and the exact body."""

    id: str
    action: str
    body: str


class DeliveryRecord(Record, frozen=True):
    """Events that a webhook has yet to take, or did not take.

    ``tenant`` and ``webhook`` lead to the webhook; ``since`` (Unix seconds) is when they were
    queued; ``attempts`` have failed, the last one at ``tried`` by ``error``.
    """

    tenant: str
    webhook: str
    since: float
    events: tuple[TellRecord, ...]
    attempts: int = 0
    tried: float = 0.0
    error: str = ""
