"""What requests should meet the same account again, so that its prompt cache is warm. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Protocol

# An upstream caches prefixes of at least 1,024 tokens; this is that in bytes.
_CACHEABLE_BYTES: Final = 4096
# Of each part that is longer than three of these so much from its beginning, its middle and its end.
_LOOKED_AT_BYTES: Final = 512
_MARK: Final = b'"cache_control"'


class Part(Protocol):
    """Bytes of any kind: what `len` and `memoryview` take."""

    def __len__(self) -> int:
        """Return how many they are."""
        ...

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of them."""
        ...


def affinity_key(project: str, session: str, prefix: tuple[Part, ...], body: bytes) -> bytes | None:
    """Return the key that selection hashes, or None when no account is better than another.

    `session` is the client's own name of its conversation, "" without one; `prefix` are the parts of `body` that stay
    the same from turn to turn (tools, system, first message) as raw JSON. Of each part its length, its beginning, its
    middle and its end count: conversations that differ only between these share an account, which costs nothing but
    balance, while reading all of a long prompt once more would cost more than choosing its account. The middle is
    there for those that put pieces of one size between the same instructions.
    """
    if session:
        return blake2b(f"{project}\0s\0{session}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    whole = 0
    for part in prefix:
        whole += len(part)
    # From behind, because CPython looks several times faster that way.
    if whole < _CACHEABLE_BYTES and body.rfind(_MARK) < 0:
        return None
    return _key_of(project, prefix)


def _key_of(project: str, prefix: tuple[Part, ...]) -> bytes:
    """Return the key of a prefix. All that counts is hashed at once: each call costs as much as a hundred bytes."""
    said = f"{project}\0p"
    looked_at: list[Part] = []
    for part in prefix:
        size = len(part)
        said = f"{said}\0{size}"
        if size <= 3 * _LOOKED_AT_BYTES:
            looked_at.append(part)
            continue
        view, middle = memoryview(part), (size - _LOOKED_AT_BYTES) // 2
        looked_at.append(view[:_LOOKED_AT_BYTES])
        looked_at.append(view[middle : middle + _LOOKED_AT_BYTES])
        looked_at.append(view[size - _LOOKED_AT_BYTES :])
    looked_at.append(said.encode())
    return blake2b(b"".join(looked_at), digest_size=16).digest()
