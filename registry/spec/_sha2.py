"""SHA-256 and SHA-512 whose state can be written down.

`hashlib` hides its state. libcrypto's older functions (`SHA256_Init`, `SHA256_Update`,
`SHA256_Final` and their SHA512 twins) keep it in a struct whose layout is public
(openssl/sha.h) and run the same assembly. They are called through ctypes, which releases the
interpreter's lock. They are marked deprecated in OpenSSL 3 and may go, so nothing here is
believed until it has passed a self-test at import; without it hashing goes on with `hashlib`
and `export()` gives None.
"""

from __future__ import annotations

import _hashlib
import ctypes
import ctypes.util
import hashlib
import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Data = bytes | bytearray | memoryview

MAX_LENGTH = 2**61 - 1
"""Most bytes that SHA-256 can count: its length field holds 64 bits of bits."""

_STATE = re.compile(
    r"1\.(?:(?P<a>sha256)\.(?P<h>[0-9a-f]{64})|(?P<A>sha512)\.(?P<H>[0-9a-f]{128}))"
    r"\.(?P<length>0|[1-9][0-9]{0,18})\.(?P<tail>[0-9a-f]{0,254})"
).fullmatch


class Context(Protocol):
    """A running hash."""

    @property
    def algorithm(self) -> str: ...
    @property
    def length(self) -> int: ...
    def update(self, data: Data, /) -> None: ...
    def hexdigest(self) -> str: ...
    def export(self) -> str | None: ...


class PlainContext:
    """`hashlib`'s hash: correct everywhere, but its state cannot be had."""

    __slots__ = ("_hash", "algorithm", "length")

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.length = 0
        self._hash = hashlib.new(algorithm)

    def update(self, data: Data, /) -> None:
        """Hash more bytes."""
        self._hash.update(data)
        self.length += memoryview(data).nbytes

    def hexdigest(self) -> str:
        """Give the digest so far."""
        return self._hash.hexdigest()

    def export(self) -> str | None:
        """Give None: the state cannot be had."""
        return None


class _Sha256State(ctypes.Structure):
    """`SHA256_CTX` of openssl/sha.h."""

    _fields_ = (
        ("words", ctypes.c_uint32 * 8),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("block", ctypes.c_ubyte * 64),
        ("held", ctypes.c_uint),
        ("digest_size", ctypes.c_uint),
        ("room", ctypes.c_ubyte * 256),  # so that a larger struct fails the self-test, not the heap
    )


class _Sha512State(ctypes.Structure):
    """`SHA512_CTX` of openssl/sha.h."""

    _fields_ = (
        ("words", ctypes.c_uint64 * 8),
        ("bits_low", ctypes.c_uint64),
        ("bits_high", ctypes.c_uint64),
        ("block", ctypes.c_ubyte * 128),
        ("held", ctypes.c_uint),
        ("digest_size", ctypes.c_uint),
        ("room", ctypes.c_ubyte * 256),  # so that a larger struct fails the self-test, not the heap
    )


class Implementation:
    """The C functions of one algorithm and the layout of its state."""

    def __init__(self, library: Any, algorithm: str) -> None:
        """Look the functions up; raise AttributeError when the library lacks one."""
        prefix = algorithm.upper()
        self.algorithm = algorithm
        self.state: type[Any] = _Sha256State if algorithm == "sha256" else _Sha512State
        self.digest_size = int(algorithm[3:]) // 8
        self.block_size = self.digest_size * 2
        self.word_size = self.digest_size // 8
        pointer = ctypes.c_void_p
        self.init = _function(library, f"{prefix}_Init", pointer)
        self.update = _function(library, f"{prefix}_Update", pointer, pointer, ctypes.c_size_t)
        self.final = _function(library, f"{prefix}_Final", pointer, pointer)


def _function(library: Any, name: str, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


class ResumableContext:
    """libcrypto's hash, with its state in the open."""

    __slots__ = ("_address", "_c", "_state", "_update", "length")

    def __init__(self, implementation: Implementation) -> None:
        self._c = implementation
        self._state = implementation.state()
        self._address = ctypes.addressof(self._state)
        self._update = implementation.update
        self.length = 0
        implementation.init(self._address)

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self._c.algorithm

    def update(self, data: Data, /) -> None:
        """Hash more bytes."""
        if isinstance(data, bytes):
            size = len(data)
            self._update(self._address, data, size)
        else:
            size = self._update_view(memoryview(data).cast("B"))
        self.length += size

    def _update_view(self, view: memoryview) -> int:
        size = view.nbytes
        if view.readonly:
            # ctypes gives no address of a read-only view without tricks; a copy costs about a
            # twentieth of the hashing.
            self._update(self._address, bytes(view), size)
        elif size:
            pinned = ctypes.c_char.from_buffer(view)
            self._update(self._address, ctypes.addressof(pinned), size)
        return size

    def hexdigest(self) -> str:
        """Give the digest so far, from a copy of the state."""
        copy = self._c.state.from_buffer_copy(self._state)
        out = ctypes.create_string_buffer(self._c.digest_size)
        self._c.final(ctypes.addressof(out), ctypes.addressof(copy))
        return out.raw.hex()

    def export(self) -> str:
        """Write the state as `1.<algorithm>.<words>.<length>.<tail>`, in hexadecimal and decimal.

        The words are written as numbers, so the text does not depend on the machine's byte
        order. The tail is the bytes that do not fill a block yet.
        """
        digits = self._c.word_size * 2
        words = "".join(f"{word:0{digits}x}" for word in self._state.words)
        tail = bytes(self._state.block)[: self._state.held].hex()
        return f"1.{self.algorithm}.{words}.{self.length}.{tail}"

    def load(self, words: str, length: int, tail: bytes) -> None:
        """Set the state from an export's parts, which `restore()` has checked."""
        digits = self._c.word_size * 2
        state = self._state
        for i in range(8):
            state.words[i] = int(words[i * digits : (i + 1) * digits], 16)
        word_bits = self._c.word_size * 8
        state.bits_low = length * 8 & (1 << word_bits) - 1
        state.bits_high = length * 8 >> word_bits
        state.block[: len(tail)] = tail
        state.held = len(tail)
        self.length = length


def _libraries() -> Iterator[Any]:
    """Find candidates for libcrypto, the one that `hashlib` itself runs on first.

    Looking a name up in an extension module also looks in the libraries that it is linked with.
    """
    yield getattr(_hashlib, "__file__", None)
    yield ctypes.util.find_library("crypto")


def _passes(implementation: Implementation) -> bool:
    """Compare with `hashlib` over lengths around the block bounds, in two parts and resumed.

    Raises ValueError when the library's struct is so different that its export makes no sense.
    """
    block = implementation.block_size
    sample = bytes(range(251)) * 3
    name = implementation.algorithm
    for length in (0, 1, block - 17, block - 1, block, block + 1, 3 * block - 1, 4 * block + 3):
        expected = hashlib.new(name, sample[:length]).hexdigest()
        for cut in (0, length // 2, length):
            first = ResumableContext(implementation)
            first.update(sample[:cut])
            second = ResumableContext(implementation)
            second.load(*_parts(first.export())[1:])
            second.update(sample[cut:length])
            first.update(bytearray(sample[cut:length]))
            if not first.hexdigest() == second.hexdigest() == expected:
                return False
    return True


def _parts(text: str) -> tuple[str, str, int, bytes]:
    """Split an export into algorithm, words, length and tail; raise ValueError if it is none."""
    match = _STATE(text)
    if match is None:
        raise ValueError("not the state of a hash")
    algorithm: str = match["a"] or match["A"]
    length, tail = int(match["length"]), match["tail"]
    block_size = int(algorithm[3:]) // 4
    if len(tail) != length % block_size * 2 or length > MAX_LENGTH:
        raise ValueError("the hash state's length and tail disagree")
    return algorithm, match["h"] or match["H"], length, bytes.fromhex(tail)


def find_implementations(libraries: Iterator[Any]) -> Mapping[str, Implementation]:
    """Give the implementations of the first library that has all functions and hashes right."""
    for path in libraries:
        if path is None:
            continue
        try:
            library = ctypes.CDLL(path)
            found = {name: Implementation(library, name) for name in ("sha256", "sha512")}
            right = all(_passes(each) for each in found.values())
        except (OSError, AttributeError, ValueError):
            continue
        if right:
            return found
    return {}


IMPLEMENTATIONS = find_implementations(_libraries())
"""The self-tested implementations by algorithm; empty where there are none."""


def new(algorithm: str) -> Context:
    """Begin a hash of a supported algorithm."""
    implementation = IMPLEMENTATIONS.get(algorithm)
    return PlainContext(algorithm) if implementation is None else ResumableContext(implementation)


def restore(text: str) -> Context:
    """Take up an exported state; raise ValueError when it is malformed or cannot be taken up."""
    algorithm, words, length, tail = _parts(text)
    implementation = IMPLEMENTATIONS.get(algorithm)
    if implementation is None:
        raise ValueError("this interpreter's SHA-2 cannot take up a state")
    context = ResumableContext(implementation)
    context.load(words, length, tail)
    return context
