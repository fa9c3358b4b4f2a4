"""What requests should meet the same account again, so that its prompt cache is warm. Pure."""

from __future__ import annotations

from hashlib import blake2b

# An upstream caches prefixes of at least 1,024 tokens; this is that in bytes.
_CACHEABLE_BYTES = 4096
# Of each part so much from its beginning and from its end.
_LOOKED_AT_BYTES = 2048
_MARK = b'"cache_control"'


def affinity_key(project: str, session: str, prefix: tuple[bytes | memoryview, ...], body: bytes) -> bytes | None:
    """Return the key that selection hashes, or None when no account is better than another.

    `session` is the client's own name of its conversation, "" without one; `prefix` are the parts of `body` that stay
    the same from turn to turn (tools, system, first message) as raw JSON. Of each part its length, its beginning and
    its end count: conversations that differ only between these share an account, which costs nothing but balance,
    while reading all of a long prompt once more would cost more than choosing its account.
    """
    if session:
        return blake2b(f"{project}\0s\0{session}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    # From behind, because CPython looks several times faster that way.
    if sum(map(len, prefix)) < _CACHEABLE_BYTES and body.rfind(_MARK) < 0:
        return None
    digest = blake2b(f"{project}\0p".encode(), digest_size=16)
    for part in prefix:
        digest.update(b"\0%d\0" % len(part))
        digest.update(part[:_LOOKED_AT_BYTES])
        digest.update(part[max(_LOOKED_AT_BYTES, len(part) - _LOOKED_AT_BYTES) :])
    return digest.digest()
