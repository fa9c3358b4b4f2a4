"""Log probabilities of made-up tokens: four characters each, as everywhere here. Pure."""

from __future__ import annotations

from typing import Any

from penstock_simulator.text import CHARS_PER_TOKEN

_FIRST = -0.05
_STEP = -1.25


def _entry(token: str, rank: int) -> dict[str, Any]:
    logprob = _FIRST + _STEP * rank
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}


def of(text: str, top: int) -> list[dict[str, Any]]:
    """Return one entry for each token of a text, with its `top` most likely alternatives."""
    tokens = [text[start : start + CHARS_PER_TOKEN] for start in range(0, len(text), CHARS_PER_TOKEN)]
    return [
        _entry(token, 0)
        | {"top_logprobs": [_entry(token if rank == 0 else f"{token[:-1]}{rank}", rank) for rank in range(top)]}
        for token in tokens
    ]
