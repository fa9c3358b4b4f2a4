"""Proxies of the environment: which one a host is reached through."""

from __future__ import annotations

import base64

import pytest

from penstock_chassis.proxies import Proxies, parse_proxy

ENVIRONMENTS = [
    ({}, "https", None),
    ({"HTTPS_PROXY": "http://p:3128"}, "https", ("p", 3128)),
    ({"HTTPS_PROXY": "http://p:3128"}, "http", None),
    ({"HTTP_PROXY": "http://p:3128"}, "http", ("p", 3128)),
    ({"HTTPS_PROXY": "p:3128"}, "https", ("p", 3128)),
    ({"HTTPS_PROXY": "http://p"}, "https", ("p", 80)),
    ({"HTTPS_PROXY": "http://p/"}, "https", ("p", 80)),
    ({"HTTPS_PROXY": "http://[::2]:3128"}, "https", ("::2", 3128)),
    ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://capital:2"}, "https", ("small", 1)),
    ({"https_proxy": "", "HTTPS_PROXY": "http://capital:2"}, "https", None),
]


@pytest.mark.parametrize(("environ", "scheme", "expected"), ENVIRONMENTS)
def test_the_environment_names_the_proxy(environ, scheme, expected):
    chosen = Proxies.from_environment(environ).choose(scheme, "api.example.com", 443)
    assert (chosen and (chosen.host, chosen.port)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "socks5://p:1",
        "https://p:1",
        "http://",
        "http://p:port",
        "http://p:1/path",
        "http://p?x",
        "ftp://p",
        "http://[::1",
    ],
)
def test_what_is_no_proxy_is_refused_at_the_start_without_its_text(url):
    secret = url.replace("://", "://user:hunter2@", 1)
    with pytest.raises(ValueError, match="HTTPS_PROXY must be") as error:
        Proxies.from_environment({"HTTPS_PROXY": secret})
    assert "hunter2" not in str(error.value)


EXCEPTIONS = [
    ("", "api.example.com", 443, True),
    ("*", "api.example.com", 443, False),
    ("example.com", "api.example.com", 443, False),
    ("example.com", "example.com", 443, False),
    (".example.com", "api.example.com", 443, False),
    ("*.example.com", "api.example.com", 443, False),
    ("EXAMPLE.com", "api.example.com", 443, False),
    ("ample.com", "api.example.com", 443, True),
    ("example.org, example.com ", "api.example.com", 443, False),
    ("example.com:443", "api.example.com", 443, False),
    ("example.com:8443", "api.example.com", 443, True),
    ("10.0.0.0/8", "10.1.2.3", 443, False),
    ("10.0.0.0/8", "11.1.2.3", 443, True),
    ("10.0.0.0/8", "10.example.com", 443, True),
    ("fd00::/8", "fd00::1", 443, False),
    ("10.1.2.3", "10.1.2.3", 443, False),
    ("10.1.2.3:8080", "10.1.2.3", 443, True),
    ("2.3", "10.1.2.3", 443, True),
    ("[fd00::1]:443", "fd00::1", 443, False),
    ("example.com:²", "api.example.com", 443, True),
    ("[fd00::1]:²", "fd00::2", 443, True),
    ("fd00::1", "fd00::1", 443, False),
    ("fd00:0::1", "fd00::1", 443, False),
    ("10.0.0.0/99", "10.1.2.3", 443, True),
    ("", "localhost", 443, False),
    ("", "a.localhost", 443, False),
    ("", "127.0.0.9", 443, False),
    ("", "::1", 443, False),
]


@pytest.mark.parametrize(("listed", "host", "port", "proxied"), EXCEPTIONS)
def test_what_goes_around_the_proxy(listed, host, port, proxied):
    proxies = Proxies.from_environment({"HTTPS_PROXY": "http://p:1", "NO_PROXY": listed})
    assert (proxies.choose("https", host, port) is not None) is proxied


def test_small_no_proxy_wins():
    proxies = Proxies.from_environment({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*", "no_proxy": "other.example"})
    assert proxies.choose("https", "api.example.com", 443)


def test_a_credential_is_decoded_and_in_no_text():
    proxy = parse_proxy("http://us%40er:p%3Ass@p:1", "HTTPS_PROXY")
    assert proxy.authorization == b"Basic " + base64.b64encode(b"us@er:p:ss")
    assert "p:ss" not in repr(proxy)
    assert proxy.authorization.decode() not in repr(proxy)
