"""Digests, and the hash state that one server exports and another takes up."""

import ctypes
import hashlib
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec import _sha2
from registry.spec.digest import ALGORITHMS, Digest, Hasher
from registry.spec.errors import DigestInvalid, DigestUnsupported
from tests.spec.strategies import digests

algorithms = st.sampled_from(sorted(ALGORITHMS))


@given(digests)
def test_a_digest_tells_its_parts(digest):
    assert f"{digest.algorithm}:{digest.hex}" == digest
    assert len(digest.hex) == ALGORITHMS[digest.algorithm]
    assert type(Digest.parse(str(digest))) is Digest


@pytest.mark.parametrize(
    "text",
    ["", ":", "sha256", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65,
     "sha256:" + "a" * 64 + "\n", " sha256:" + "a" * 64, "SHA256:" + "a" * 64, "sha512:" + "a" * 64,
     "sha256:../../x", "sha256:" + "\u0661" * 64, "sha256:" + "a" * 32 + "/" + "a" * 31, "+:a",
     "a++b:c",
     "sha256:" + "a" * 300],
)  # fmt: skip
def test_malformed_digests(text):
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["md5:" + "a" * 32, "blake3:" + "a" * 64, "sha256+b64u:LCa0-_"])
def test_digests_of_other_algorithms_are_told_apart(text):
    with pytest.raises(DigestUnsupported):
        Digest.parse(text)


def test_the_digest_of_known_content():
    assert Digest.of(b"{}") == (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    assert Digest.of(b"", "sha512").startswith("sha512:cf83e1357eefb8bd")
    with pytest.raises(DigestUnsupported):
        Digest.of(b"", "md5")


@given(algorithms, st.lists(st.binary(max_size=300), max_size=6))
def test_a_hasher_agrees_with_hashlib(algorithm, parts):
    hasher = Hasher(algorithm)
    for part in parts:
        hasher.update(part)
        hasher.digest()
    whole = b"".join(parts)
    assert hasher.digest() == f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"
    assert hasher.length == len(whole)


@given(algorithms, st.binary(max_size=600), st.integers(0, 600))
def test_a_hash_goes_on_where_its_exported_state_left_off(algorithm, content, cut):
    first = Hasher(algorithm)
    first.update(content[:cut])
    state = json.loads(json.dumps(first.export()))
    second = Hasher.restore(state)
    second.update(content[cut:])
    assert second.digest() == Digest.of(content, algorithm)
    assert second.length == len(content)
    assert first.digest() == Digest.of(content[:cut], algorithm)
    assert Hasher.restore(state).export() == state


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))]
)
def test_every_kind_of_buffer_is_hashed(algorithm, kind):
    content = bytes(range(256)) * 3
    for data in (content, b""):
        hasher = Hasher(algorithm)
        hasher.update(kind(data))
        assert hasher.digest() == Digest.of(data, algorithm)


def test_a_part_of_a_view_is_hashed_by_its_bytes():
    view = memoryview(bytearray(b"abcdefgh")).cast("H")
    hasher = Hasher()
    hasher.update(view)
    assert (hasher.length, hasher.digest()) == (8, Digest.of(b"abcdefgh"))


def test_a_buffer_can_be_changed_after_it_was_hashed():
    buffer = bytearray(b"first")
    hasher = Hasher()
    hasher.update(buffer)
    buffer[:] = b"longer than before"
    hasher.update(buffer)
    assert hasher.digest() == Digest.of(b"firstlonger than before")


def test_the_exported_text_is_that_of_the_standard():
    """The words after one block are FIPS 180-4's for "a" * 64, whatever the machine's order."""
    hasher = Hasher()
    assert hasher.export() == (
        "1.sha256.6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19.0."
    )
    hasher.update(b"abc")
    assert hasher.export().endswith(".3.616263")


def test_a_state_counts_beyond_four_gigabytes():
    """SHA-256 keeps its length in two words; both are restored."""
    words = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
    big = 2**40
    far, near = (Hasher.restore(f"1.sha256.{words}.{length}.") for length in (big, 0))
    assert far.digest() != near.digest()
    far.update(b"x")
    assert far.length == big + 1
    assert far.export() == f"1.sha256.{words}.{big + 1}.78"


GOOD = "1.sha256." + "0" * 64 + ".3.616263"


@pytest.mark.parametrize(
    "text",
    ["", "x", GOOD + "\n", GOOD.upper(), "2" + GOOD[1:], GOOD.replace(".3.", ".4."),
     GOOD.replace(".3.", ".03."), GOOD.replace(".3.", ".-3."), GOOD.replace("616263", "61626"),
     GOOD.replace("sha256", "sha512"), GOOD.replace("sha256", "md5"), GOOD[:-6],
     GOOD.replace("3.616263", f"{2**61}."), GOOD.replace("3.616263", "64." + "00" * 64),
     GOOD.replace("3.616263", "9" * 30 + "."), '{"h": []}', "cos\nsystem\n(S'true'\ntR."],
)  # fmt: skip
def test_a_malformed_state_is_refused(text):
    with pytest.raises(ValueError, match="state"):
        Hasher.restore(text)


def test_the_longest_state_is_taken():
    text = "1.sha256." + "0" * 64 + f".{2**61 - 64}."
    assert Hasher.restore(text).length == 2**61 - 64


def test_unknown_algorithms_have_no_hasher():
    with pytest.raises(DigestUnsupported):
        Hasher("md5")


def test_this_machine_has_the_resumable_implementation():
    assert set(_sha2.IMPLEMENTATIONS) == set(ALGORITHMS)


def test_without_libcrypto_hashes_stay_right_and_say_that_they_cannot_resume(monkeypatch):
    state = Hasher().export()
    monkeypatch.setattr(_sha2, "IMPLEMENTATIONS", {})
    hasher = Hasher("sha512")
    hasher.update(memoryview(b"ab"))
    hasher.update(bytearray(b"c"))
    assert hasher.digest() == Digest.of(b"abc", "sha512")
    assert hasher.length == 3
    assert hasher.export() is None
    with pytest.raises(ValueError, match="state"):
        Hasher.restore(state)


def test_a_library_that_is_missing_or_lacks_the_functions_is_passed_over():
    assert _sha2.find_implementations(iter([None, "no-such-library.so", "libc.so.6"])) == {}


def test_a_library_that_hashes_wrong_is_not_believed(monkeypatch):
    monkeypatch.setattr(_sha2, "_passes", lambda implementation: False)
    assert _sha2.find_implementations(_sha2._libraries()) == {}


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3, 4, 5, 6), (0, 1, 2, 4, 3, 5, 6), (0, 3, 1, 2, 4, 5, 6)]
)
def test_the_self_test_notices_another_layout_of_the_state(monkeypatch, order):
    """Nothing is read past the struct and nothing crashes: the library is just not believed."""
    fields = [_sha2._Sha256State._fields_[i] for i in order]

    class Other(ctypes.Structure):
        _fields_ = fields

    monkeypatch.setattr(_sha2, "_Sha256State", Other)
    assert _sha2.find_implementations(_sha2._libraries()) == {}


def test_the_real_layout_passes_the_self_test():
    assert set(_sha2.find_implementations(_sha2._libraries())) == set(ALGORITHMS)


def test_hashers_of_different_threads_do_not_disturb_each_other():
    content = bytes(range(256)) * 4096
    results = []

    def run(seed):
        hasher = Hasher()
        for _ in range(4):
            hasher.update(content[seed:])
        results.append((seed, hasher.digest()))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    for seed, digest in results:
        assert digest == Digest.of(content[seed:] * 4)
