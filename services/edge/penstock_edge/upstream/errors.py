"""What can go wrong between an attempt and its account, below HTTP statuses.

UpstreamError
├── AddressRefusedError    the host resolves to an address that this account may not use
├── ConnectError           name, TCP or TLS failed
├── PoolFullError          no connection became free in time
├── DeadlineError          the upstream was silent for too long (`phase` says where)
├── ConnectionLostError    the connection ended before the answer's head was whole
├── MalformedAnswerError   the answer is not HTTP, or its head is too large
├── TruncatedBodyError     the body ended before its announced end
└── BodyTooLargeError      the body is larger than this process will hold
"""

from __future__ import annotations


class UpstreamError(Exception):
    """An attempt got no usable answer. `sent`: a part of the request may have reached the upstream."""

    sent = True


class AddressRefusedError(UpstreamError):
    """The host resolves to a private address, or the scheme is plain http, and the account allows neither."""

    sent = False


class ConnectError(UpstreamError):
    """No connection could be made."""

    sent = False


class PoolFullError(UpstreamError):
    """All connections to the origin are taken, and none came back in time."""

    sent = False


class DeadlineError(UpstreamError):
    """The upstream did not answer in time; `phase` is `connect`, `first_byte`, `idle`, `response` or `total`."""

    def __init__(self, phase: str) -> None:
        super().__init__(f"the upstream let the {phase} deadline pass")
        self.phase = phase
        self.sent = phase != "connect"


class ConnectionLostError(UpstreamError):
    """The connection ended before an answer. `stale`: a kept one that the upstream had most likely closed before."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__("the upstream closed the connection without an answer")
        self.stale = stale


class MalformedAnswerError(UpstreamError):
    """What came is not an HTTP answer that can be relayed."""


class TruncatedBodyError(UpstreamError):
    """The body broke off."""


class BodyTooLargeError(UpstreamError):
    """The body passed the bound of what is held in memory."""
