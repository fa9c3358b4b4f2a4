"""The response object around an answer's items, most of which repeats what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from penstock_edge.dialects.openai_responses.items import Ids

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_encode = msgspec.json.Encoder().encode
_NULL: Final = b"null"


class Envelope:
    """One answer's response object, but for what becomes known as the answer goes on."""

    __slots__ = ("_begin", "_repeated", "ids")

    def __init__(self, request_id: str, created: int, model: str, asked: Json, tools: bytes) -> None:
        self.ids = Ids(request_id)
        self._begin = b'{"id":"%s","object":"response","created_at":%d,"background":false,' % (
            self.ids.response().encode(),
            created,
        )
        self._repeated = _encode(_repeated(model, asked, tools))[1:]

    def close(
        self,
        status: str,
        output: list[bytes],
        *,
        usage: Json | None = None,
        error: Json | None = None,
        shortfall: str | None = None,
    ) -> bytes:
        """Return the object as JSON."""
        return b'%s"status":"%s","error":%s,"incomplete_details":%s,"output":[%s],"usage":%s,%s' % (
            self._begin,
            status.encode(),
            _NULL if error is None else _encode(error),
            _NULL if shortfall is None else _encode({"reason": shortfall}),
            b",".join(output),
            _NULL if usage is None else _encode(usage),
            self._repeated,
        )


def _repeated(model: str, asked: Json, tools: bytes) -> Json:
    """Return what an answer repeats of its request."""
    reasoning = asked.get("reasoning") or {}
    temperature, top_p, parallel = asked.get("temperature"), asked.get("top_p"), asked.get("parallel_tool_calls")
    return {
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "metadata": asked.get("metadata") or {},
        "model": model,
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": None,
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if temperature is None else temperature,
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": msgspec.Raw(tools or b"[]"),
        "top_p": 1.0 if top_p is None else top_p,
        "truncation": "disabled",
        "user": asked.get("user"),
    }
