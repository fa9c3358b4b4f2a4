"""Requests as clients send them, and what the dialect makes of them."""

from __future__ import annotations

import json
from pathlib import Path

from penstock_edge.dialects.dialect import Birth
from penstock_edge.dialects.openai_responses import DIALECT

DIGITS = "0198c1c0d1e27f3a8b4c5d6e7f809102"
BIRTH = Birth(f"req_{DIGITS}", 1_795_000_000)
USER = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
CODEX = Path(__file__).with_name("codex.json").read_bytes()


def encoded(**fields) -> bytes:
    return json.dumps({"model": "claude", "input": "hi"} | fields).encode()


def conversation(**fields):
    return of(encoded(**fields))


def of(body: bytes):
    return DIALECT.read(DIALECT.head(body), body, BIRTH)


def request(**fields):
    return conversation(**fields).request
