"""How much a request will use, before anybody knows: holds are made of this, and settlements correct it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from penstock_edge.cost import hold_micro, tokens_of, whole_input
from penstock_edge.records import Kind, Need

if TYPE_CHECKING:
    from collections.abc import Hashable

    from penstock_edge.price import Price
    from penstock_edge.records import Usage

_BYTES_PER_TOKEN: Final = 4.0
_CHARACTERS_PER_OUTPUT_TOKEN: Final = 4.0
# Far above any model: what a client asks for beyond it must still fit where holds are written.
_MOST_OUTPUT_TOKENS: Final = 1_000_000_000
_IMAGE_TOKENS: Final = 1_600
_DOCUMENT_TOKENS: Final = 6_000
_FIRST_OUTPUT_GUESS: Final = 1_024
_KNOWN_AT_MOST: Final = 50_000
# As the Messages format and Gemini's write it, as Responses write an image that was made, and as data URLs.
_BASE64: Final = re.compile(rb'(?:"(?:data|result)"\s*:\s*"|;base64,)[A-Za-z0-9+/=\\]{128,}"')
# What shows that a body may hold some, by wire format: looking for it is what a long prompt costs.
_BLOB_SIGNS: Final = {
    "messages": (b'"base64"',),
    "chat": (b";base64,",),
    "responses": (b";base64,", b"image_generation_call"),
    "generate": (b"nline",),
}
_PDF: Final = b"application/pdf"


def has_blobs(body: bytes, wire: str) -> bool:
    """Whether a body in this wire format may hold images or documents as base64."""
    # From behind, because CPython looks several times faster that way.
    return any(body.rfind(sign) >= 0 for sign in _BLOB_SIGNS.get(wire, ()))


class _Averages:
    """Moving averages by key, in two generations: when the younger is full, the older one is forgotten."""

    __slots__ = ("_limit", "_old", "_weight", "_young")

    def __init__(self, weight: float, limit: int = _KNOWN_AT_MOST) -> None:
        self._young: dict[Hashable, float] = {}
        self._old: dict[Hashable, float] = {}
        self._weight = weight
        self._limit = limit

    def get(self, key: Hashable) -> float | None:
        known = self._young.get(key)
        return self._old.get(key) if known is None else known

    def learn(self, key: Hashable, value: float) -> None:
        young = self._young
        known = young.get(key)
        if known is None:
            known = self._old.get(key, value)
            if len(young) * 2 >= self._limit:
                self._old = young
                young = self._young = {}
        young[key] = known + self._weight * (value - known)


class Estimates:
    """Learns from what requests really used; one object per process. `model` is the catalogue's name throughout."""

    def __init__(self) -> None:
        self._outputs = _Averages(0.2)
        self._bytes_per_token = _Averages(0.1)
        self._characters_per_token = _Averages(0.1)

    def need(
        self,
        *,
        body: bytes,
        model: str,
        max_tokens: int,
        context_tokens: int,
        digest: bytes,
        strict: bool,
        price: Price | None,
        multiplier_ppm: int,
        kind: Kind = "requests",
        blobs: bool = False,
    ) -> Need:
        """Return what to hold: for Strict plans all that the request may use, for others what such requests do use.

        `blobs`: what `has_blobs` says of the body.
        """
        if kind == "count_tokens":
            return Need(kind=kind)
        tokens = self.input_tokens(body, model, context_tokens, blobs=blobs)
        most = min(max(0, max_tokens), _MOST_OUTPUT_TOKENS)
        output = most if strict else min(most, self._usual_output(digest, model))
        money = 0 if price is None else hold_micro(tokens, output, price, multiplier_ppm)
        return Need(tokens, output, money, kind)

    def input_tokens(self, body: bytes, model: str, context_tokens: int, *, blobs: bool) -> int:
        """Return the estimated whole input of a request body, at most the model's context."""
        text = len(body)
        extra = 0
        if blobs:
            for blob in _BASE64.finditer(body):
                text -= blob.end() - blob.start()
                near = body[max(0, blob.start() - 200) : blob.start()]
                extra += _DOCUMENT_TOKENS if _PDF in near else _IMAGE_TOKENS
        per_token = self._bytes_per_token.get(model) or _BYTES_PER_TOKEN
        tokens = int(text / per_token) + 1 + extra
        return min(tokens, context_tokens) if context_tokens > 0 else tokens

    def relayed_tokens(self, characters: int, model: str) -> int:
        """Return how many output tokens that many characters of deltas are."""
        if characters <= 0:
            return 0
        return max(1, round(characters / (self._characters_per_token.get(model) or _CHARACTERS_PER_OUTPUT_TOKEN)))

    def learn(
        self, *, digest: bytes, model: str, body_bytes: int, has_blobs: bool, characters: int, usage: Usage
    ) -> None:
        """Learn from a complete answer; `characters` 0 when they were not counted."""
        tokens = tokens_of(usage)
        read, written = 0 if has_blobs else whole_input(tokens), tokens[1]
        self._outputs.learn((digest, model), written)
        if read > 0:
            self._bytes_per_token.learn(model, min(64.0, max(0.5, body_bytes / read)))
        if characters > 0 and written > 1:
            self._characters_per_token.learn(model, min(64.0, max(0.25, characters / written)))

    def _usual_output(self, digest: bytes, model: str) -> int:
        usual = self._outputs.get((digest, model))
        return _FIRST_OUTPUT_GUESS if usual is None else int(usual) + 1
