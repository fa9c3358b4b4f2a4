"""Deterministic text, and what a token is here: four characters, rounded up."""

from __future__ import annotations

import hashlib

CHARS_PER_TOKEN = 4

_ASCII = (
    "The river rises in the hills and runs to the sea. Above the dam the lake lies still; below it the water turns "
    "the wheels. Each gate has a keeper and each keeper a book where he writes how much went through and for whom. "
    "When one gate is shut for repair the others carry the flow, and nobody in the town notices that the lamps might "
    "have gone out. At the end of the month the books are laid side by side, and what left the lake must equal what "
    "came to the mills. It always does, because the keepers write first and open after. "
)
# U+2028, U+2029 and U+0085 are line ends to some readers, and stand raw in JSON.
_UNICODE = (
    "Über den Dämmen lag Nebel; 水は低きに流れる。 Вода течёт 🌊 вниз, et l'été s'achève.\u2028Next line\u2029next page"
    "\u0085done: ½ ∑ √ ≤ 🧭🏞️ … "
)
_LENGTH = 8192
_PIECE_CHARS = 24
# Texts longer than this times a piece get longer pieces.
_MOST_PIECES = 2_000


def _endless(text: str) -> str:
    return (text * (2 * _LENGTH // len(text) + 2))[: 2 * _LENGTH]


_CORPORA = {"ascii": _endless(_ASCII), "unicode": _endless(_UNICODE)}


def tokens(chars: int) -> int:
    """Return how many tokens so many characters are: chars / 4, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def passage(kind: str, chars: int, seed: int) -> str:
    """Return exactly `chars` characters of ascii or unicode text; the same seed gives the same text."""
    corpus = _CORPORA[kind]
    start = seed % _LENGTH
    if chars <= _LENGTH:
        return corpus[start : start + chars]
    turn = corpus[start : start + _LENGTH]
    return (turn * (chars // _LENGTH + 1))[:chars]


def pieces(text: str, count: int) -> list[str]:
    """Cut a text into at most `count` parts of nearly equal size; an empty text has none."""
    size = max(1, -(-len(text) // max(1, count)))
    return [text[start : start + size] for start in range(0, len(text), size)]


def piece_count(chars: int) -> int:
    """Return how many deltas a text of so many characters takes unless told otherwise."""
    return min(_MOST_PIECES, -(-chars // _PIECE_CHARS)) if chars else 0


def seed_of(body: bytes, *seeds: int) -> int:
    """Return the seed of a request's text."""
    digest = hashlib.blake2b(body, digest_size=8, person=b":".join(b"%d" % seed for seed in seeds)[:16])
    return int.from_bytes(digest.digest(), "big")
