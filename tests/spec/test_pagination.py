"""Pages: what `n` and `last` mean, and the link to the next page."""

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.errors import Unsupported
from registry.spec.names import RepositoryName
from registry.spec.pagination import MAX_LAST, MAX_PAGE, Page, link, parse_page
from registry.spec.requests import ListRepositories, ListTags, url_for


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (None, None),
        ("0", 0),
        ("00", 0),
        ("1", 1),
        ("007", 7),
        (str(MAX_PAGE), MAX_PAGE),
        (str(MAX_PAGE + 1), MAX_PAGE),
        (str(10**18), MAX_PAGE),
        ("9" * 10_000, MAX_PAGE),
        ("0" * 10_000 + "5", 5),
    ],
)
def test_n_is_cut_to_the_maximum_and_never_refused_for_its_size(n, expected):
    assert parse_page(n, None) == Page(expected, None)


@pytest.mark.parametrize("n", ["", "-1", "+1", "1.5", "1e3", "x", " 1", "1\n", "0x10", "\u0661"])
def test_what_is_no_number_is_refused(n):
    with pytest.raises(Unsupported):
        parse_page(n, None)


@given(st.integers(0, 10**30), st.integers(1, 10**6))
def test_n_never_exceeds_the_callers_maximum(n, maximum):
    assert parse_page(str(n), None, maximum=maximum).n == min(n, maximum)


@given(
    st.text(st.sampled_from("ab/"), max_size=3).map(lambda text: text * 130),
    st.lists(st.text(st.sampled_from("ab/"), max_size=250), max_size=20),
)
def test_cutting_last_changes_no_answer(last, items):
    cut = parse_page(None, last).last
    assert len(cut) <= MAX_LAST
    assert [item for item in items if item > last] == [item for item in items if item > cut]


def test_last_may_be_any_text():
    assert parse_page(None, "no such tag") == Page(None, "no such tag")
    assert parse_page("5", "") == Page(5, "")


@given(st.integers(0, 9999), st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_link_is_one_relative_url_that_gives_the_query_back(n, last):
    header = link(url_for(ListTags(RepositoryName("a/b"), Page(n, last))))
    assert header.isascii()
    assert header.isprintable()
    url, _, relation = header.partition(">")
    assert relation == '; rel="next"'
    path, _, query = url.partition("?")
    assert path == "</v2/a/b/tags/list"
    assert parse_qs(query, keep_blank_values=True) == {"n": [str(n)], "last": [last]}


def test_a_link_reads_well():
    header = link(url_for(ListRepositories(Page(2, "a/b"))))
    assert header == '</v2/_catalog?n=2&last=a/b>; rel="next"'
