"""An account's limits as OpenAI tells them: `x-ratelimit-*` headers, and the 429."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account, Standing
    from penstock_simulator.refusal import LimitError

_LEARN_MORE = "Visit https://platform.openai.com/account/rate-limits to learn more."
_NAMES = {
    "requests": ("requests", "requests per min (RPM)"),
    "input-tokens": ("tokens", "tokens per min (TPM)"),
    "output-tokens": ("tokens", "tokens per min (TPM)"),
    "count": ("requests", "requests per min (RPM)"),
}


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: 20ms, 1.5s, 6m0s."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    short = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{short}s" if minutes else f"{short}s"


def _tokens(standings: dict[str, Standing]) -> Standing | None:
    """OpenAI has one limit of tokens: the scarcer of the two stands for it."""
    both = [standings[name] for name in ("input-tokens", "output-tokens") if name in standings]
    return min(both, key=lambda one: one.left / one.amount, default=None)


def headers(account: Account, now: float) -> list[tuple[str, str]]:
    """Return the headers of the limits that the account has."""
    standings = account.standings(now)
    result: list[tuple[str, str]] = []
    for name, standing in (("requests", standings.get("requests")), ("tokens", _tokens(standings))):
        if standing is not None:
            result += [
                (f"x-ratelimit-limit-{name}", str(standing.amount)),
                (f"x-ratelimit-remaining-{name}", str(standing.left)),
                (f"x-ratelimit-reset-{name}", duration(standing.full_in)),
            ]
    return result


def refused(error: LimitError, account: Account, model: str, now: float) -> RefusalError:
    """Return the 429 of a limit, in OpenAI's words."""
    kind, words = _NAMES.get(error.limit, ("requests", "concurrent requests"))
    standing = account.standings(now).get(error.limit)
    used = error.amount - standing.left if standing else error.amount
    message = (
        f"Rate limit reached for {model} in organization {account.organization} on {words}: Limit {error.amount}, "
        f"Used {used}, Requested {error.asked}."
    )
    hints: tuple[tuple[str, str], ...] = ()
    if error.wait_seconds > 0:
        message += f" Please try again in {duration(error.wait_seconds)}."
        hints = (
            ("retry-after", str(math.ceil(error.wait_seconds))),
            ("retry-after-ms", str(math.ceil(error.wait_seconds * 1000))),
        )
    told = (*hints, *headers(account, now))
    return RefusalError(429, kind, f"{message} {_LEARN_MORE}", told, code="rate_limit_exceeded")
