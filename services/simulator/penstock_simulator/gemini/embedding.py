"""Embeddings: vectors made of the text's digest, so that equal texts are equal and no others are."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

from penstock_simulator.gemini.complaints import Complaints
from penstock_simulator.gemini.contents import check_parts
from penstock_simulator.gemini.errors import invalid
from penstock_simulator.gemini.prompt import count

_MOST_DIMENSIONS = 3072
_MOST_REQUESTS = 100


def check_requests(requests: list[dict[str, Any]], model: str, *, batch: bool) -> None:
    """Check what is to be embedded; raises RefusalError."""
    root = "BatchEmbedContentsRequest" if batch else "EmbedContentRequest"
    complaints = Complaints(root)
    if not requests:
        complaints.add("requests", "requests is not specified")
    if len(requests) > _MOST_REQUESTS:
        raise invalid(f"* {root}.requests: at most {_MOST_REQUESTS} requests can be in one batch\n")
    for index, request in enumerate(requests):
        at = f"requests[{index}]." if batch else ""
        named = request.get("model", "" if batch else f"models/{model}")
        if named != f"models/{model}":
            complaints.add(f"{at}model", "unexpected model name format" if not named else "must match the model in URL")
        if "content" not in request:
            complaints.add(f"{at}content", "content is not specified")
        else:
            check_parts(request["content"], f"{at}content", complaints)
        if not 1 <= request.get("output_dimensionality", 1) <= _MOST_DIMENSIONS:
            words = f"output_dimensionality must be between 1 and {_MOST_DIMENSIONS}"
            complaints.add(f"{at}output_dimensionality", words)
    complaints.settle()


def tokens(request: dict[str, Any], most: int) -> int:
    """Return what a request counts for; what is longer than the model can read is cut off, not refused."""
    return min(most, count({"contents": [request["content"]]}).total())


def vector(request: dict[str, Any]) -> dict[str, Any]:
    """Return a ContentEmbedding of length one."""
    said = "\n".join(part.get("text", "") for part in request["content"]["parts"])
    digest = hashlib.sha256(f"{request.get('title', '')}\n{said}".encode()).digest()
    source = random.Random(digest)
    values = [source.gauss(0.0, 1.0) for _ in range(request.get("output_dimensionality", _MOST_DIMENSIONS))]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return {"values": [round(value / length, 8) for value in values]}
