"""Where webhooks may lead: a table of addresses that a server must not be talked into asking."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.spec.destinations import DestinationRefused, Destinations
from registry.spec.retries import LONGEST, wait_before

OPEN = Destinations()

REFUSED = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.5.4", "172.31.255.255"),
    *("192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1"),
    *("255.255.255.255", "240.0.0.1", "192.0.0.8", "::", "::1", "fe80::1", "fc00::1", "fd12::8"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:db8::1"),
    *("2001:0:4136:e378:8000:63bf:f5ff:fffe", "64:ff9b:1::a00:1", "fec0::1", "::127.0.0.1"),
]
ADMITTED = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_inner_addresses_are_refused(address):
    assert not OPEN.admits(ip_address(address))


@pytest.mark.parametrize("address", ADMITTED)
def test_addresses_that_everybody_reaches_are_admitted(address):
    assert OPEN.admits(ip_address(address))


def test_what_the_configuration_allows_is_admitted_and_no_more():
    some = Destinations((ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "8.8.8.8"):
        assert some.admits(ip_address(address)), address
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1", "169.254.169.254"):
        assert not some.admits(ip_address(address)), address


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/", "ftp://hooks.example/", "//hooks.example/", "hooks.example", ""),
        *("https://", "https:///x", "https://user:secret@hooks.example/", "https://@hooks.example/"),
        *("https://hooks.example/#x", "https://hooks.example:port/", "https://hooks.example:99999/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]:8443/x"),
        *("https://169.254.169.254/latest/meta-data", "https://0.0.0.0/", "https://[fe80::1%25eth0]/"),
        *("https://hooks.example\\@10.0.0.1/", "https://hooks.example /", "https://höoks.example/"),
        *("https://hooks.example/\r\nX: y", "https://hooks.example/" + "x" * 2048, "https://[::1"),
        *("https://%31%32%37.0.0.1/", "javascript:alert(1)", "https://hooks.example/\x00"),
    ],
)  # fmt: skip
def test_urls_that_nothing_is_sent_to(url):
    with pytest.raises(DestinationRefused):
        OPEN.check(url)


def test_urls_that_may_be():
    for url, host in (
        ("https://hooks.example/x?y=1", "hooks.example"),
        ("https://HOOKS.example:8443", "hooks.example"),
        ("https://8.8.8.8/", "8.8.8.8"),
        ("https://[2606:4700::1111]/", "2606:4700::1111"),
    ):
        assert OPEN.check(url) == host
    assert Destinations(plain_http=True).check("http://hooks.example/") == "hooks.example"


@given(st.integers(2, 10_000), st.floats(0.05, 3600), st.floats(0, 1), st.floats(0, 1))
def test_waits_grow_within_bounds_whatever_the_dice_say(attempt, first, one, other):
    wait = wait_before(attempt, first, one)
    assert 0 < wait <= LONGEST
    assert wait_before(attempt + 1, first, one) >= wait
    assert wait_before(attempt, first, other) <= 2 * wait + 1e-9
    if attempt == 2:
        assert first / 2 <= wait <= first
