"""What failures below HTTP mean for health and for the next attempt."""

from __future__ import annotations

import pytest

from penstock_edge.providers.failure import of_transport
from penstock_edge.upstream import (
    CertificateRefusedError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    MalformedAnswerError,
    PoolFullError,
    ProxyError,
)

# (error, streamed, blames the account, may be sent to another account, the same account may be asked again)
MEANINGS = [
    (ConnectError("no"), False, True, True, False),
    (CertificateRefusedError("expired"), False, True, True, False),
    (MalformedAnswerError("no"), False, True, True, False),
    (PoolFullError("no"), False, False, True, False),
    (ProxyError("no"), False, False, True, False),
    (ConnectionLostError(stale=True), False, False, True, True),
    (ConnectionLostError(stale=False), False, True, True, False),
    (DeadlineError("first_byte"), True, True, True, False),
    (DeadlineError("response"), True, True, True, False),
    (DeadlineError("response"), False, True, False, False),
    # The request never was whole, so nobody has carried it out.
    (DeadlineError("write"), False, True, True, False),
    (DeadlineError("tls"), False, True, True, False),
]


@pytest.mark.parametrize(
    ("error", "streamed", "blames", "repeatable", "stale"), MEANINGS, ids=[f"{row[0]}-{row[1]}" for row in MEANINGS]
)
def test_what_a_failure_means(error, streamed, blames, repeatable, stale):
    failure = of_transport(error, streamed=streamed)
    assert failure.cls == "Unstable"
    assert (failure.blames_account, failure.repeatable, failure.stale) == (blames, repeatable, stale)
