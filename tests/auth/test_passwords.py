"""Secrets are checked slowly, a few at a time; an unknown account costs as much as a wrong one."""

import asyncio
import threading

import bcrypt
import pytest
from argon2 import extract_parameters

from auth.passwords import MAX_SECRET, Passwords, TooBusy


@pytest.fixture
def passwords():
    made = Passwords()
    yield made
    made.close()


@pytest.fixture
def checked(passwords, monkeypatch):
    """The hash and the secret of each check that was really made."""
    made, check = [], passwords._check

    def record(hashed, secret):
        made.append((hashed, secret))
        return check(hashed, secret)

    monkeypatch.setattr(passwords, "_check", record)
    return made


async def test_a_secret_is_kept_as_an_argon2id_hash_and_found_right_again(passwords):
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$")
    assert "correct" not in hashed
    assert hashed != await passwords.hash("correct horse")
    assert await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(hashed, "correct horsf")
    assert not await passwords.verify(hashed, "")


async def test_no_account_has_no_right_password(passwords):
    assert not await passwords.verify(None, "")
    assert not await passwords.verify(None, passwords._nobody)


async def test_bcrypt_hashes_of_htpasswd_are_understood(passwords):
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    for prefix in ("$2a$", "$2b$", "$2y$"):
        assert await passwords.verify(prefix + hashed[4:], "secret")
        assert not await passwords.verify(prefix + hashed[4:], "secreT")


async def test_what_bcrypt_would_cut_off_counts(passwords):
    """bcrypt sees 72 bytes: a password that differs behind them must not be taken."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert await passwords.verify(hashed, "x" * 72)
    assert not await passwords.verify(hashed, "x" * 73)


@pytest.mark.parametrize("hashed", ["", "plain", "$2y$", "$2y$05$short", "$argon2id$", "{SHA}abc="])
async def test_what_is_no_hash_fits_no_secret(passwords, hashed):
    for secret in ("", "plain", hashed):
        assert not await passwords.verify(hashed, secret)


@pytest.mark.parametrize("secret", ["\x00", "a\x00b", "é" * 100, "\ud800", "🔑", "x" * MAX_SECRET])
async def test_any_text_can_be_tried(passwords, secret):
    assert not await passwords.verify(await passwords.hash("other"), secret)
    assert not await passwords.verify(bcrypt.hashpw(b"o", bcrypt.gensalt(4)).decode(), secret)


async def test_a_longer_secret_than_allowed_is_refused_and_wrong(passwords):
    with pytest.raises(ValueError, match="1024"):
        await passwords.hash("x" * (MAX_SECRET + 1))
    hashed = await passwords.hash("x" * MAX_SECRET)
    assert await passwords.verify(hashed, "x" * MAX_SECRET)
    assert not await passwords.verify(hashed, "x" * (MAX_SECRET + 1))


async def test_an_unknown_account_is_checked_as_a_wrong_password_is(passwords, checked):
    """The work is the same, and so the time: times themselves say little on a busy machine."""
    hashed = await passwords.hash("right")
    assert not await passwords.verify(hashed, "wrong")
    assert not await passwords.verify(None, "wrong")
    (known, first), (nobody, second) = checked
    assert first == second == b"wrong"
    assert nobody != known
    assert extract_parameters(nobody) == extract_parameters(known)


async def test_a_right_secret_is_remembered_until_its_hash_changes(passwords, checked):
    hashed = await passwords.hash("right")
    for _ in range(100):
        assert await passwords.verify(hashed, "right")
    assert len(checked) == 1
    assert not await passwords.verify(await passwords.hash("new"), "right")
    assert not await passwords.verify(hashed, "wrong")
    assert len(checked) == 3


async def test_what_is_remembered_is_bounded_in_number_and_time():
    passwords = Passwords(remember=2, remember_seconds=0.2)
    hashed = bcrypt.hashpw(b"a", bcrypt.gensalt(4)).decode()
    for _ in range(5):
        assert await passwords.verify(bcrypt.hashpw(b"a", bcrypt.gensalt(4)).decode(), "a")
    assert len(passwords._right) == 2
    assert await passwords.verify(hashed, "a")
    passwords._check = lambda *_: False
    assert await passwords.verify(hashed, "a")
    await asyncio.sleep(0.25)
    assert not await passwords.verify(hashed, "a")
    passwords.close()


async def test_a_flood_of_logins_is_refused_beyond_the_queue_and_the_rest_is_served():
    passwords = Passwords(threads=1, waiting=3)
    results = await asyncio.gather(
        *(passwords.verify(None, "x") for _ in range(20)), return_exceptions=True
    )
    assert results.count(False) == 4
    assert sum(isinstance(result, TooBusy) for result in results) == 16
    assert not await passwords.verify(None, "x")
    passwords.close()


async def test_a_check_that_was_given_up_still_counts_until_it_ends():
    """Clients that hang up at once must not make the queue look empty."""
    passwords = Passwords(threads=1, waiting=0)
    hashed = await passwords.hash("right")
    check, begun, going_on = passwords._check, threading.Event(), threading.Event()

    def held(*given):
        begun.set()
        going_on.wait(10)
        return check(*given)

    passwords._check = held
    task = asyncio.create_task(passwords.verify(hashed, "wrong"))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TooBusy):
        await passwords.verify(hashed, "right")
    going_on.set()
    async with asyncio.timeout(5):
        while passwords._waiting:
            await asyncio.sleep(0.01)
    assert await passwords.verify(hashed, "right")
    passwords.close()


async def test_the_loop_goes_on_while_secrets_are_checked(passwords):
    checks = asyncio.gather(*(passwords.verify(None, "x") for _ in range(10)))
    turns = 0
    while not checks.done():
        await asyncio.sleep(0.001)
        turns += 1
    await checks
    assert turns > 10, "the loop stood still while a secret was checked"
