"""The edge's own HTTP/1.1 client: what stands between an attempt and an account's socket.

It has what relaying needs (bounded pools, back-pressure, abort, TLS, deadlines) and nothing else: no redirects, no
cookies, no proxies, no retries.
"""

from penstock_edge.upstream.addresses import Origin, Target, parse_target
from penstock_edge.upstream.call import Call
from penstock_edge.upstream.client import UpstreamClient, UpstreamLimits
from penstock_edge.upstream.deadlines import Deadlines
from penstock_edge.upstream.errors import (
    AddressRefusedError,
    BodyTooLargeError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    MalformedAnswerError,
    PoolFullError,
    TruncatedBodyError,
    UpstreamError,
)

__all__ = [
    "AddressRefusedError",
    "BodyTooLargeError",
    "Call",
    "ConnectError",
    "ConnectionLostError",
    "DeadlineError",
    "Deadlines",
    "MalformedAnswerError",
    "Origin",
    "PoolFullError",
    "Target",
    "TruncatedBodyError",
    "UpstreamClient",
    "UpstreamError",
    "UpstreamLimits",
    "parse_target",
]
