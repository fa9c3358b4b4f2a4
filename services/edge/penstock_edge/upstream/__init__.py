"""The edge's own HTTP/1.1 client: what stands between an attempt and an account's socket.

`client` finds the `pool` of a request's origin; a pool keeps connections and lets `dialing` make new ones: `resolver`
(names), `racing` (TCP), `proxies` (a tunnel), `tls`. A `connection` carries one `call` at a time, watches the request
while it is `outgoing`, keeps the `fields` of the answer and leaves it to `answers` to judge its framing. There are no
redirects, no cookies and no retries: those are the dispatcher's to decide.
"""

from penstock_edge.upstream.addresses import Origin, Target, parse_target
from penstock_edge.upstream.call import Call
from penstock_edge.upstream.client import UpstreamClient
from penstock_edge.upstream.deadlines import Deadlines
from penstock_edge.upstream.errors import (
    AddressRefusedError,
    BodyTooLargeError,
    CertificateRefusedError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    MalformedAnswerError,
    PoolFullError,
    ProxyError,
    TruncatedBodyError,
    UpstreamError,
)
from penstock_edge.upstream.pool import UpstreamLimits

__all__ = [
    "AddressRefusedError",
    "BodyTooLargeError",
    "Call",
    "CertificateRefusedError",
    "ConnectError",
    "ConnectionLostError",
    "DeadlineError",
    "Deadlines",
    "MalformedAnswerError",
    "Origin",
    "PoolFullError",
    "ProxyError",
    "Target",
    "TruncatedBodyError",
    "UpstreamClient",
    "UpstreamError",
    "UpstreamLimits",
    "parse_target",
]
