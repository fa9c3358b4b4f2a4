"""Puts another model name into a request body without touching any other byte."""

from __future__ import annotations

import json
import re

# Strings are skipped whole, so that braces and the word "model" inside texts are never seen.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]', re.DOTALL)


def splice_model(body: bytes, name: str) -> bytes:
    """Return `body` (a valid JSON object) with the value of its top-level `model` replaced by `name`.

    The last one when there are several, as JSON readers take it. Raises ValueError when there is none.
    """
    span = _model_span(body)
    if span is None:
        raise ValueError("the body has no model")
    return b"".join((body[: span[0]], json.dumps(name).encode(), body[span[1] :]))


def _model_span(body: bytes) -> tuple[int, int] | None:
    depth = 0
    at_key = False
    wanted = False
    found: tuple[int, int] | None = None
    for match in _TOKEN.finditer(body):
        token = match.group()
        first = token[0]
        if first == 0x22:  # a string
            if depth != 1:
                continue
            if at_key:
                wanted = token == b'"model"' or (b"\\" in token and json.loads(token) == "model")
                at_key = False
            elif wanted:
                found = match.span()
                wanted = False
        elif first in b"{[":
            depth += 1
            at_key = depth == 1
        elif first in b"}]":
            depth -= 1
        elif first == 0x2C and depth == 1:  # a comma
            at_key = True
            wanted = False
    return found
