"""Real clients that are sent to S3 for their layers."""

import os
import time

import pytest

from conformance.relay import Relay

MOST_BYTES = 64 * 1024
"""What the registry itself may send for one pull."""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def redirecting(minio, module_registry_server):
    settings = minio.settings("clients") | {"STORAGE__S3__REDIRECT": "true"}
    return module_registry_server("s3", settings=settings)


def test_what_is_pulled_through_redirects_is_what_was_pushed(client, redirecting, image):
    with Relay(redirecting.address) as relay:
        reference = f"{relay.address}/{client.name}-{os.getpid()}/redirected:first"
        client.push(image, reference)
        before = redirects(redirecting)
        relay.reset()
        assert client.pull(reference, image.layers) == image.layers
        until = time.monotonic() + 60  # the log may come a little later
        while redirects(redirecting) < before + 2:
            assert time.monotonic() < until, "a layer did not come from the store"
            time.sleep(0.05)
        # Manifest, configuration, redirects and their headers: no byte of a layer, 3 MiB together.
        assert 0 < relay.received < MOST_BYTES


def redirects(server) -> int:
    return server.log.read_text().count('"status":307')
