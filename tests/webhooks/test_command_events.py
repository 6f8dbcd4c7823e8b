"""What commands do to a store is told to webhooks too, by the registries that serve it."""

import time

import pytest

from auth.access import Tenant
from auth.identity import Identity
from registry.cli import main
from registry.service.projects.events import log_event
from registry.service.webhooks.queue import DeliveryQueue
from registry.service.webhooks.subscriptions import Subscriptions, Wanted
from storage.inprocess import InProcessCoordinator
from tests.cli.test_gc import delete_image, on_store, push_image
from tests.cli.test_scrub import spoil
from tests.webhooks.test_delivery import LOOPBACK

REGISTRY = Tenant("", "")


async def subscribe(store, *_):
    hooks = Subscriptions(
        store, InProcessCoordinator(), None, log_event, DeliveryQueue(store), LOOPBACK
    )
    wanted = Wanted("http://localhost:1/hook", secret="the secret of these tests")
    await hooks.put(REGISTRY, "all", wanted, Identity("user:root"))


async def waiting(store, *_):
    """The actions of all that is in queues."""
    queue, actions = DeliveryQueue(store), set()
    async for webhook, _due in queue.webhooks():
        leaf = await queue.page(webhook, "", 100, dead=False)
        actions |= {event.action for each in leaf.items for event in each.record.events}
    return actions


def collect(root):
    on_store(root, delete_image)
    for _ in range(3):
        time.sleep(1.1)
        assert main(["gc", "--data", str(root)]) == 0


def scrub(root):
    spoil(root)
    assert main(["scrub", "--data", str(root)]) == 1


def rotate(root):
    assert main(["keys", "rotate", "--data", str(root)]) == 0


def revoke(root):
    assert main(["keys", "revoke", "--data", str(root)]) == 0


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (collect, "content.collected"),
        (scrub, "content.damaged"),
        (rotate, "keys.rotated"),
        (revoke, "keys.revoked"),
    ],
)
def test_what_a_command_did_waits_for_webhooks(tmp_path, monkeypatch, command, action):
    root = tmp_path / "store"
    monkeypatch.setenv("MOORAGE__AUTH__MODE", "projects")
    monkeypatch.setenv("MOORAGE__COLLECTION__GRACE_SECONDS", "1")
    on_store(root, push_image)
    on_store(root, subscribe)
    command(root)
    assert on_store(root, waiting) == {action}
