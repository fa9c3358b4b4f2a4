"""Signatures of thinking: made here, and known again without being kept anywhere."""

from __future__ import annotations

import hashlib
import re

_FORM = re.compile(r"Sim[0-9a-f]{64}==")


def issue(thinking: str) -> str:
    """Return the signature of a thinking text."""
    return "Sim" + hashlib.sha256(b"thinking:" + thinking.encode("utf-8", "replace")).hexdigest() + "=="


def known(thinking: str, signature: str) -> bool:
    """Whether this was issued here for that text; of thinking that was not shown there is no text to compare."""
    return signature == issue(thinking) if thinking else _FORM.fullmatch(signature) is not None
