"""A translated request as JSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock_edge.errors import ProblemError, invalid

TOO_DEEP: Final = invalid("the request body is nested too deeply")
_encode: Final = msgspec.json.Encoder().encode


def encoded(body: Any) -> bytes:
    """Return a request, or a part of one, as JSON. Raises ProblemError (400) for what no JSON says.

    How deep that is depends on how deep the call is: what was read may be too deep to be written.
    """
    try:
        return _encode(body)
    except RecursionError:
        raise ProblemError(TOO_DEEP) from None
    except (UnicodeEncodeError, OverflowError):
        # Half a surrogate pair, or a number that no JSON writer takes.
        raise ProblemError(invalid("the request cannot be written for this model")) from None
