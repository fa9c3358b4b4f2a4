"""What requests should meet the same account again, so that its prompt cache is warm. Pure."""

from __future__ import annotations

from hashlib import blake2b

# An upstream caches prefixes of at least 1,024 tokens; this is that in bytes.
_CACHEABLE_BYTES = 4096
# Enough of a prefix to tell conversations apart.
_LOOKED_AT_BYTES = 65536


def affinity_key(project: str, session: str, prefix: tuple[bytes, ...], *, cache_control: bool) -> bytes | None:
    """Return the key that selection hashes, or None when no account is better than another.

    `session` is the client's own name of its conversation, "" without one; `prefix` are the request's parts that stay
    the same from turn to turn (tools, system, first message) as raw JSON.
    """
    if session:
        return blake2b(f"{project}\0s\0{session}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if not cache_control and sum(map(len, prefix)) < _CACHEABLE_BYTES:
        return None
    digest = blake2b(f"{project}\0p".encode(), digest_size=16)
    for part in prefix:
        digest.update(b"\0%d\0" % len(part))
        digest.update(part[:_LOOKED_AT_BYTES])
    return digest.digest()
