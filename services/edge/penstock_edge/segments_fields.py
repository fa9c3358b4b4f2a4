"""The spool's records that are of no request: whose records follow, and which requests are settled."""

from __future__ import annotations

import msgspec


class Header(msgspec.Struct):
    """Whose records follow: the edge session that wrote them, and the stable name of its edge."""

    format: int
    session: str
    edge: str
    created_ms: int


class Acknowledged(msgspec.Struct):
    """Requests whose settlements are final; nothing of them is needed any more."""

    request_ids: list[str]
