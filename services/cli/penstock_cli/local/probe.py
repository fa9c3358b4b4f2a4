"""Ask a process of this machine over HTTP how it is."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx

TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether it can serve, and if not, why."""

    ready: bool
    reason: str = ""


async def readyz(client: httpx.AsyncClient, base: str) -> Health:
    """Ask `<base>/readyz`; silence is an answer too."""
    try:
        answer = await client.get(f"{base}/readyz", timeout=TIMEOUT_SECONDS)
    except httpx.TransportError:
        return Health(ready=False, reason="does not answer yet")
    if answer.status_code == 200:
        return Health(ready=True)
    return Health(ready=False, reason=_reason(answer))


def _reason(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except json.JSONDecodeError:
        document = None
    if isinstance(document, dict) and document.get("reason"):
        return str(document["reason"])
    return f"answers {answer.status_code}"
