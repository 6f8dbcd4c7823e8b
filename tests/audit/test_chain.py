"""The chain of events: what was written verifies, and whatever is done to it afterwards shows."""

import hmac
import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.service.audit.chain import (
    GENESIS,
    Chain,
    Damaged,
    Entry,
    Head,
    Part,
    Verification,
    entries,
    seal,
    unseal,
)
from registry.service.audit.events import (
    MAX_TEXT,
    AuditEvent,
    Happening,
    Origin,
    Result,
    asked_by,
)

WRITER = "0123456789abcdef"
KEY = b"a key that is kept elsewhere"

texts = st.text(max_size=20) | st.text("\udcff\ud800\udc00a\x7f\n\\u", max_size=8)
events = st.builds(
    AuditEvent.of,
    st.floats(0, 4e9),
    st.sampled_from(list(Happening)),
    st.builds(Origin, texts, texts, texts, texts),
    project=texts,
    tenant=st.sampled_from(["", "t1", "t2"]),
    repository=texts,
    subject=texts,
    role=texts,
)
batches = st.lists(st.lists(events, min_size=1, max_size=5), min_size=1, max_size=5)


def written(batches, key=KEY, writer=WRITER):
    """Batches as they are stored, each the parts of it by project; and the head."""
    chain, stored = Chain(writer, key), []
    for number, batch in enumerate(batches, 1):
        parts = {}
        for event in batch:
            parts.setdefault(event.tenant, []).append(chain.add(event))
        stored.append(
            [
                Part(f"{tenant or '_'}/{number}", tenant, b"".join(line + b"\n" for line in lines))
                for tenant, lines in parts.items()
            ]
        )
    head = Head(writer=writer, time=1.0, events=chain.events, batches=len(stored), last=chain.last)
    return stored, head


def verified(stored, head, key=KEY):
    """The findings; batches are numbered as they come, `None` for one that is gone."""
    check = Verification(WRITER, key, head)
    for number, parts in enumerate(stored, 1):
        if parts is not None:
            check.batch(number, parts)
    return check.end()


@given(batches, st.binary(max_size=8))
def test_what_was_written_verifies_and_reads_as_it_was(batches, key):
    stored, head = written(batches, key)
    assert verified(stored, head, key) == []
    assert verified(stored, Head.read(head.line(key), key), key) == []
    read = sorted(
        (entry for parts in stored for part in parts for _, entry in entries(part.data, key)),
        key=lambda entry: entry.n,
    )
    every = [event for batch in batches for event in batch]
    for entry, event in zip(read, every, strict=True):
        assert (entry.time, entry.action, entry.result) == (event.time, event.action, event.result)
        assert entry.tenant == event.tenant
        if event.principal.isascii() and "\x7f" not in event.principal:
            assert entry.principal == event.principal


@given(events)
def test_a_line_is_json_of_printable_ascii(event):
    line = Chain(WRITER, KEY).add(event)
    assert line.isascii()
    assert line.decode().isprintable()
    read = json.loads(line)
    assert list(read)[:4] == ["hash", "log", "writer", "n"] or read["log"] == "audit"
    assert read["prev"] == GENESIS
    body = b"{" + line[75:]
    assert read["hash"] == hmac.new(KEY, body, "sha256").hexdigest()


@given(batches, st.data())
def test_a_removed_event_shows(batches, data):
    stored, head = written(batches)
    number, place = _some_part(stored, data)
    part = stored[number][place]
    lines = part.data.splitlines(keepends=True)
    gone = data.draw(st.integers(0, len(lines) - 1))
    stored[number][place] = replace(part, data=b"".join(lines[:gone] + lines[gone + 1 :]))
    assert verified(stored, head)


@given(batches, st.data())
def test_a_changed_byte_shows(batches, data):
    stored, head = written(batches)
    number, place = _some_part(stored, data)
    part = stored[number][place]
    at = data.draw(st.integers(0, len(part.data) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != part.data[at]))
    changed = part.data[:at] + bytes([byte]) + part.data[at + 1 :]
    # A line may end with a carriage return too: that is no change of an event.
    assume(changed.splitlines() != part.data.splitlines())
    stored[number][place] = replace(part, data=changed)
    assert verified(stored, head)


@given(batches, st.data())
def test_a_removed_batch_shows_and_so_does_a_part_of_one(batches, data):
    stored, head = written(batches)
    number, place = _some_part(stored, data)
    some = list(stored)
    some[number] = None
    assert verified(some, head)
    del stored[number][place]
    assert verified(stored, head)


@given(batches, st.integers(0, 4))
def test_a_cut_tail_shows_by_the_head(batches, keep):
    stored, head = written(batches)
    assume(keep < len(stored))
    assert verified(stored[:keep], head)
    assert verified(stored, None)


@given(batches, st.data())
def test_swapped_batches_and_swapped_lines_show(batches, data):
    stored, head = written(batches)
    if len(stored) > 1:
        one = data.draw(st.integers(0, len(stored) - 2))
        swapped = list(stored)
        swapped[one], swapped[one + 1] = swapped[one + 1], swapped[one]
        assert verified(swapped, head)
    number, place = _some_part(stored, data)
    lines = stored[number][place].data.splitlines(keepends=True)
    assume(len(lines) > 1)
    lines[0], lines[1] = lines[1], lines[0]
    stored[number][place] = replace(stored[number][place], data=b"".join(lines))
    assert verified(stored, head)


@given(batches, batches)
def test_a_batch_that_is_forged_after_the_end_shows(batches, more):
    stored, head = written(batches)
    forged, _ = written([*batches, *more])  # by somebody who has the key, even
    sealed = msgspec.structs.replace(head, sealed=True)
    assert verified(forged, sealed)
    if len(more) > 1:
        assert verified(forged, head)
    stored_by_another, _ = written([*batches, more[0]], b"another key")
    assert verified([*stored, stored_by_another[-1]], head)


@given(batches, events)
def test_one_batch_beyond_an_open_head_is_told_of_and_no_finding(batches, event):
    stored, _ = written([*batches, [event]])
    _, head = written(batches)
    check = Verification(WRITER, KEY, head)
    for number, parts in enumerate(stored, 1):
        check.batch(number, parts)
    assert check.end() == []
    assert check.unvouched == 1


@given(batches, events, st.data())
def test_a_rewritten_chain_shows_by_its_head(batches, event, data):
    """Whoever has no key, or does not know of the head, writes all anew from some event."""
    stored, head = written(batches)
    number = data.draw(st.integers(0, len(batches) - 1))
    assume(event != batches[number][0])
    other = [list(batch) for batch in batches]
    other[number][0] = event
    assert verified(written(other)[0], head)
    assert verified(written(other, b"")[0], written(other, b"")[1])  # not with the key
    assert not verified(stored, head)


@given(batches)
def test_events_of_another_project_or_writer_show(batches):
    stored, head = written(batches)
    part = stored[0][0]
    moved = replace(part, tenant="t3", key="t3/1")
    assert verified([[moved, *stored[0][1:]], *stored[1:]], head)
    assert verified(written(batches, writer="f" * 16)[0], head)
    assert verified(stored, msgspec.structs.replace(head, writer="f" * 16))
    twice = [[*stored[0], replace(part, key="_/copy")], *stored[1:]]
    assert verified(twice, head)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"hash":"00"}', b'{"hash":"' + b"0" * 64 + b'",}', b"\xff" * 80]
)
def test_what_is_no_line_is_damaged(line):
    with pytest.raises(Damaged):
        unseal(line, KEY)
    with pytest.raises(Damaged):
        Head.read(line, KEY)
    (found,) = entries(line or b"\n", KEY)
    assert isinstance(found, Damaged)


def test_a_line_with_a_good_hash_that_is_no_event_is_damaged():
    for body in (b'{"log":"audit"}', b'{"log":"audit-head","n":1}', b'{"\xff":1}', b"{}"):
        (found,) = entries(seal(body, KEY), KEY)
        assert isinstance(found, Damaged)


def test_an_event_is_of_whoever_asked_and_its_texts_are_bounded():
    with asked_by(Origin("user:ann", "10.0.0.1", "r-1", "secret:1")):
        event = AuditEvent.of(
            1.0, Happening.MANIFEST_PUSHED, subject="x" * 5000, tags="y" * 5000, none=None,
            **{f"d{number}": "z" for number in range(50)},
        )  # fmt: skip
    assert (event.principal, event.address, event.request_id) == ("user:ann", "10.0.0.1", "r-1")
    assert event.result is Result.DONE
    assert len(event.subject) == MAX_TEXT
    assert len(event.details) == 16
    assert "none" not in event.details
    assert len(Chain(WRITER).add(event)) < 6000
    background = AuditEvent.of(1.0, Happening.CONTENT_COLLECTED)
    assert (background.principal, background.address) == ("system", "")


def test_an_entry_keeps_fields_that_an_older_version_does_not_know_readable():
    """A newer version may add fields: an older `verify` reads the rest."""
    line = Chain(WRITER).add(AuditEvent.of(1.0, Happening.LOGIN_FAILED))
    _, body = unseal(line, b"")
    newer = seal(body[:-1] + b',"new":1}', b"")
    ((_, entry),) = entries(newer, b"")
    assert isinstance(entry, Entry)
    assert entry.result is Result.FAILED


def _some_part(stored, data):
    number = data.draw(st.integers(0, len(stored) - 1))
    return number, data.draw(st.integers(0, len(stored[number]) - 1))
