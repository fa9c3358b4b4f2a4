"""The text of an API key: made by auth and local mode, checked by the edge before anything else looks at it.

`psk_<id>_<secret><checksum>`: a prefix of the operator's choice, a public id that may be shown, at least 160 random
bits, and a checksum that lets the edge refuse a mistyped key without asking anybody.
"""

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

DEFAULT_PREFIX = "psk_"

_ID_LENGTH = 12
_SECRET_LENGTH = 32  # 32 base62 digits carry 190 bits
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SHAPE = re.compile(
    rf"[A-Za-z0-9_-]{{1,32}}[a-z2-7]{{{_ID_LENGTH}}}_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
)
_SHOWN = re.compile(rf"(?:[A-Za-z0-9_-]{{0,31}}[_-])?([a-z2-7]{{{_ID_LENGTH}}})")
_SECRET_FOLLOWS = re.compile(rf"[a-z2-7]{{{_ID_LENGTH}}}_")

RandomBytes = Callable[[int], bytes]
"""Gives that many random bytes; `secrets.token_bytes` outside tests."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new key. `text` is the whole secret and never shows in a repr; `id` and `shown` are public."""

    text: str = field(repr=False)
    id: str
    prefix: str

    @property
    def shown(self) -> str:
        """Prefix and id: what lists and logs may show."""
        return self.prefix + self.id

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text: all that is ever stored."""
        return digest(self.text)


def generate(prefix: str, random_bytes: RandomBytes) -> ApiKey:
    """Make a key. `ValueError` when the prefix is not 1 to 32 letters, digits, `_` or `-`."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("a key prefix is 1 to 32 letters, digits, '_' or '-'")
    # Drawn from twice as many bits as are needed, the digits are even to within 2**-50.
    key_id = _digits(int.from_bytes(random_bytes(16)), _BASE32, _ID_LENGTH)
    secret = _digits(int.from_bytes(random_bytes(48)), _BASE62, _SECRET_LENGTH)
    body = f"{prefix}{key_id}_{secret}"
    return ApiKey(text=body + _checksum(body), id=key_id, prefix=prefix)


def well_formed(text: str) -> bool:
    """Whether this has a key's shape, under any prefix, and its checksum holds. It may still be unknown."""
    if not _SHAPE.fullmatch(text):
        return False
    return text[-_CHECKSUM_LENGTH:] == _checksum(text[:-_CHECKSUM_LENGTH])


def digest(text: str) -> bytes:
    """SHA-256 of the key's text, for any text that a client may send."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def shown(text: str) -> str:
    """Prefix and id of a well-formed key, `""` for anything else (which might be a secret of another kind)."""
    return text[: -(1 + _SECRET_LENGTH + _CHECKSUM_LENGTH)] if well_formed(text) else ""


def public_id(text: str) -> str:
    """Id of a well-formed key, `""` for anything else."""
    return shown(text)[-_ID_LENGTH:]


def meant_id(text: str) -> str:
    """Id that a person means by a whole key, by what is shown of it or by the id; `""` for anything else.

    It holds no part of a secret, also when the key was mistyped or cut; a prefix that looks like an id gives `""`.
    """
    if whole := public_id(text):
        return whole
    named = None if _SECRET_FOLLOWS.search(text) else _SHOWN.fullmatch(text)
    return named[1] if named else ""


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode("ascii")), _BASE62, _CHECKSUM_LENGTH)


def _digits(number: int, alphabet: str, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(reversed(digits))
