"""What can go wrong between an attempt and its account, below HTTP statuses.

UpstreamError
├── AddressRefusedError          the host resolves to an address that this account may not use
├── ConnectError                 name, TCP or TLS failed
│   └── CertificateRefusedError  the upstream's certificate does not prove who it is (`reason` says why)
├── ProxyError                   the proxy on the way failed or refused, whatever the upstream would have said
├── PoolFullError                no connection became free in time
├── DeadlineError                nothing moved for too long (`phase` says where)
├── ConnectionLostError          the connection ended before the answer's head was whole
├── MalformedAnswerError         the answer is not HTTP, or its head is too large
├── TruncatedBodyError           the body ended before its announced end
└── BodyTooLargeError            the body is larger than this process will hold
"""

from __future__ import annotations

_BEFORE_SENDING = frozenset({"resolve", "connect", "proxy", "tls"})


class UpstreamError(Exception):
    """An attempt got no usable answer. `sent`: a part of the request may have reached the upstream."""

    sent = True


class AddressRefusedError(UpstreamError):
    """The host resolves to a private address, or the scheme is plain http, and the account allows neither."""

    sent = False


class ConnectError(UpstreamError):
    """No connection could be made."""

    sent = False


class CertificateRefusedError(ConnectError):
    """TLS failed on the upstream's certificate; `reason` is a short word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot connect: the upstream's certificate is refused: {reason}")
        self.reason = reason


class ProxyError(UpstreamError):
    """The proxy cannot be reached, refuses, or speaks no HTTP. Says nothing about the upstream."""

    sent = False


class PoolFullError(UpstreamError):
    """All connections to the origin are taken, and none came back in time."""

    sent = False


class DeadlineError(UpstreamError):
    """Nothing moved in time.

    `phase` is `resolve`, `connect`, `proxy` or `tls` before the request, `write` while it goes out, then `first_byte`,
    `idle` or `response`.
    """

    def __init__(self, phase: str) -> None:
        super().__init__(f"the upstream let the {phase} deadline pass")
        self.phase = phase
        self.sent = phase not in _BEFORE_SENDING


class ConnectionLostError(UpstreamError):
    """The connection ended before an answer. `stale`: the upstream had closed it before any byte reached it."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__("the upstream closed the connection without an answer")
        self.stale = stale
        self.sent = not stale


class MalformedAnswerError(UpstreamError):
    """What came is not an HTTP answer that can be relayed."""


class TruncatedBodyError(UpstreamError):
    """The body broke off."""


class BodyTooLargeError(UpstreamError):
    """The body passed the bound of what is held in memory."""
