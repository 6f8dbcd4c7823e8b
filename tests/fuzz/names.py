"""Any text is a name that is safe in a path and a header, or is refused."""
# ruff: noqa: PT017 -- both outcomes, acceptance and refusal, are looked at

from registry.spec.errors import RegistryError
from registry.spec.names import MAX_NAME, RepositoryName, SessionId, Tag, parse_reference

SEEDS = (b"a/b-c/d__e.f", b"latest", b"V1.0_rc-1", b"0123456789abcdef" * 4, b"sha256:" + b"0" * 64)


def check(data: bytes) -> None:
    """What is accepted is the text itself, ASCII, with no empty or dotted segment."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (RepositoryName.parse, Tag.parse, SessionId.parse, parse_reference):
        try:
            found = parse(text)
        except RegistryError as error:
            assert error.status in (400, 404)
            continue
        assert found == text
        assert found.isascii()
        assert found.isprintable()
        assert len(found) <= MAX_NAME
        assert not {"", ".", ".."} & set(found.split("/"))
