"""What is kept of projects and of the registry beside content: taken into a backup, as JSON.

Keys and values are those of the store (``storage.keys``); of the account of a quota only the
limits. Not taken: the audit log, pull histories, signing keys, sessions, what deleted tags were,
and how far the registry is with its own work. Secrets are there as the store has them: those of
robots, tokens and accounts as hashes, those of webhooks as they are.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from registry.service.backup import layout
from registry.service.backup.pool import Pool
from registry.service.backup.survey import Tenant
from registry.service.entries import value
from registry.service.listing import every_key
from registry.service.quotas.accounts import Accounts
from registry.service.records import Corrupt
from registry.spec.digest import Digest
from registry.spec.quota import Limits
from storage import keys
from storage.ports import ObjectStore

_LAYER: Final = 1000
"""Most records of one layer."""

Raw = msgspec.Raw
_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


async def of_project(store: ObjectStore, tenant: Tenant) -> AsyncIterator[tuple[str, bytes]]:
    """Yield what is kept of a project, in the order of keys."""
    if not tenant.recorded:
        return
    stored = await value(store, keys.project(tenant.name))
    if stored is not None:
        yield keys.project(tenant.name), stored.data
    found = await Accounts(store).read(tenant.id)
    if found is not None:
        yield keys.quota(tenant.id), msgspec.json.encode(found[0].limits)
    stored = await value(store, keys.claim(tenant.id))
    if stored is not None:
        yield keys.claim(tenant.id), stored.data
    async for key in every_key(store, keys.tenant(tenant.id)):
        stored = await value(store, key)
        if stored is not None:
            yield key, stored.data


async def of_registry(store: ObjectStore) -> AsyncIterator[tuple[str, bytes]]:
    """Yield what is kept of no project: accounts, their access tokens, the registry's webhooks."""
    for prefix in (keys.ACCOUNTS, keys.PRINCIPALS, keys.webhooks("")):
        async for key in every_key(store, prefix):
            # The index of projects is made anew from their members.
            if prefix == keys.PRINCIPALS and "!/secrets/" not in key:
                continue
            stored = await value(store, key)
            if stored is not None:
                yield key, stored.data
    stored = await value(store, keys.BOOTSTRAP)
    if stored is not None:
        yield keys.BOOTSTRAP, stored.data


async def keep(pool: Pool, records: AsyncIterator[tuple[str, bytes]]) -> layout.Descriptor | None:
    """Write records into the pool as an artifact; ``None`` where there are none."""
    layers: list[layout.Descriptor] = []
    batch: dict[str, Raw] = {}

    async def write() -> None:
        data = msgspec.json.encode(batch)
        digest = Digest.of(data)
        await pool.keep_bytes(digest, data)
        layers.append(
            layout.Descriptor(media_type=layout.RECORDS_LAYER, digest=digest, size=len(data))
        )
        batch.clear()

    async for key, data in records:
        batch[key] = Raw(data)
        if len(batch) == _LAYER:
            await write()
    if batch:
        await write()
    if not layers:
        return None
    await pool.keep_bytes(Digest.of(layout.EMPTY), layout.EMPTY)
    return await pool.keep_document(layout.artifact_of(tuple(layers)))


async def read(pool: Pool, artifact: layout.Descriptor) -> AsyncIterator[tuple[str, bytes]]:
    """Yield records of an artifact. ``Corrupt``."""
    found = layout.Artifact.decode(await pool.read(artifact.digest))
    for layer in found.layers:
        try:
            batch: Mapping[str, Raw] = _decoder.decode(await pool.read(layer.digest))
        except msgspec.MsgspecError as error:
            raise Corrupt(f"records of a backup: {error}") from error
        for key, data in batch.items():
            yield key, bytes(data)


def limits_of(data: bytes) -> Limits:
    """The limits of a project, from a record. ``Corrupt``."""
    try:
        return msgspec.json.decode(data, type=Limits)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"Limits: {error}") from error
