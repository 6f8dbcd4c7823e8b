"""The load's oracle notices what it is there to notice."""

import time

import pytest

from tests.oracle.load import Ledger, finish_uploads, pushing, verify, verify_names
from tests.oracle.local import LocalRegistry, serving


@pytest.fixture
def pushed(tmp_path):
    """A registry after a short load, and what the clients were told."""
    with serving("filesystem", tmp_path) as registry:
        with pushing(registry.address, 3, 1) as pushers:
            time.sleep(1.5)
        assert not any(pusher.errors for pusher in pushers)
        yield registry, [pusher.ledger for pusher in pushers]


def check(registry: LocalRegistry, ledgers: list[Ledger]) -> None:
    with registry.client() as client:
        for ledger in ledgers:
            verify(client, ledger)
        verify_names(client)


def test_what_was_acknowledged_is_found(pushed):
    registry, ledgers = pushed
    check(registry, ledgers)
    assert sum(len(ledger.blobs) for ledger in ledgers) > 10
    assert sum(len(ledger.manifests) for ledger in ledgers) > 5
    with registry.client() as client:
        assert sum(finish_uploads(client, ledger) for ledger in ledgers) > 0
    check(registry, ledgers)


def a_tag(ledgers: list[Ledger]) -> tuple[str, str]:
    for ledger in ledgers:
        for name, allowed in ledger.tags.items():
            if None not in allowed:
                return name
    pytest.fail("no tag was set")


def test_a_lost_tag_is_noticed(pushed):
    registry, ledgers = pushed
    repository, tag = a_tag(ledgers)
    with registry.client() as client:
        client.delete(f"/v2/{repository}/manifests/{tag}").expect(202)
    with pytest.raises(AssertionError):
        check(registry, ledgers)


def test_a_lost_blob_is_noticed_by_its_owner_and_by_who_follows_names(pushed):
    registry, ledgers = pushed
    repository, tag = a_tag(ledgers)
    with registry.client() as client:
        manifest = client.get(f"/v2/{repository}/manifests/{tag}").expect(200).json()
        digest = manifest["config"]["digest"]
        client.delete(f"/v2/{repository}/blobs/{digest}").expect(202)
        with pytest.raises(AssertionError):
            verify_names(client)
    with pytest.raises(AssertionError):
        check(registry, ledgers)
