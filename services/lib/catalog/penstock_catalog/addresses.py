"""Which upstream addresses an account may have: public and encrypted, unless private ones are allowed."""

import ipaddress
from urllib.parse import urlsplit

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local", ".home.arpa")


def refusal(base_url: str) -> str:
    """Say why an account that may not have a private address may not have this one; "" when it may.

    Judged by the text alone. A public name may still resolve to a private address, so the edge looks again at what it
    connects to.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https":
        return "http is for private addresses, and those are not allowed"
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return "private addresses are not allowed" if private else ""
