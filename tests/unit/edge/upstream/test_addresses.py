"""Base URLs and the addresses behind them."""

from __future__ import annotations

import pytest

from penstock_edge.upstream.addresses import Origin, is_public, parse_target


@pytest.mark.parametrize(
    ("url", "origin", "path", "host"),
    [
        ("https://api.example.com", Origin("https", "api.example.com", 443, False), b"", b"api.example.com"),
        ("https://api.example.com/", Origin("https", "api.example.com", 443, False), b"", b"api.example.com"),
        ("https://a.b:8443/x/y/", Origin("https", "a.b", 8443, False), b"/x/y", b"a.b:8443"),
        ("http://127.0.0.1:80", Origin("http", "127.0.0.1", 80, False), b"", b"127.0.0.1:80"),
        ("http://[::1]:9000", Origin("http", "::1", 9000, False), b"", b"[::1]:9000"),
        ("HTTPS://API.Example.com", Origin("https", "api.example.com", 443, False), b"", b"api.example.com"),
        ("https://bücher.example", Origin("https", "xn--bcher-kva.example", 443, False), b"", b"xn--bcher-kva.example"),
    ],
)
def test_base_urls(url, origin, path, host):
    assert parse_target(url, allow_private=False) == (origin, path, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?y=1",
        "https://x#y",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_base_url(url):
    with pytest.raises(ValueError, match=r"URL"):
        parse_target(url, allow_private=False)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::8.8.8.8"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"],
        *["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"],
        *["::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1"],
        *["::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b:1::a00:1", "64:ff9b:1:fffe::8.8.8.8", "fec0::1", "::8.8.8.8"],
    ],
)
def test_private_addresses_in_any_disguise(address):
    assert not is_public(address)
