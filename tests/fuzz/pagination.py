"""Any `n` and `last` is a page within bounds, or a 400."""

from registry.spec.errors import Unsupported
from registry.spec.pagination import MAX_LAST, MAX_PAGE, link, parse_page
from registry.spec.requests import ListRepositories, url_for

SEEDS = (b"5\nlatest", b"0\n", b"-1\nx", b"99999999999999999999\na/b")


def check(data: bytes) -> None:
    """The link of a page is one printable line."""
    n, _, last = data.decode("utf-8", "ignore").partition("\n")
    try:
        page = parse_page(n, last)
    except Unsupported:
        return
    assert page.n is not None
    assert 0 <= page.n <= MAX_PAGE
    assert page.last is not None
    assert len(page.last) <= MAX_LAST
    header = link(url_for(ListRepositories(page)))
    assert header.isascii()
    assert header.isprintable()
    assert header.count(">") == 1
