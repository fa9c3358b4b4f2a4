"""The gateway that clients shall go to, as a person names it. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_KEY = re.compile(r"[!-~]{1,512}")
_NOT_IN_KEYS = frozenset("\"'`$\\#")


@dataclass(frozen=True, slots=True)
class Target:
    """Base URL without a slash or /v1 at its end, a key, and the model if one was asked for."""

    url: str
    key: str = field(repr=False)
    model: str | None = None

    @property
    def openai(self) -> str:
        """Base URL of OpenAI's clients."""
        return f"{self.url}/v1"

    @property
    def google(self) -> str:
        """Base URL of clients that name Google's API version themselves."""
        return f"{self.url}/v1beta"


def gateway_url(text: str) -> str:
    """Return the base URL that a text means. Raises ValueError."""
    url = text.strip().rstrip("/")
    for ending in ("/v1", "/v1beta"):
        url = url.removesuffix(ending).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is a URL such as https://gateway.example.com")
    if parts.query or parts.fragment or parts.username is not None or re.search(r"[\s\"'`$\\<>]", url):
        raise ValueError("is an address alone, without user, query or fragment")
    if parts.port is not None and not parts.port:
        raise ValueError("has a port from 1 to 65535")
    return url


def is_exposed(url: str) -> bool:
    """Say whether a key would travel unencrypted to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def api_key(text: str) -> str:
    """Return the key in what a person gave. Raises ValueError, which does not show it."""
    key = text.strip()
    if not key:
        raise ValueError("there is no key")
    if not _KEY.fullmatch(key) or _NOT_IN_KEYS & set(key):
        raise ValueError("a key is one word of letters, digits and signs; check what was pasted")
    return key
