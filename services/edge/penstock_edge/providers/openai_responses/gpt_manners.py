"""What OpenAI's models accept, by generation: a request translated for one must not hold what that one refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_VERSION: Final = re.compile(r"gpt-(\d{1,3})(?:\.(\d{1,3}))?(?![\d])")
_O_SERIES: Final = re.compile(r"o\d")
_TALKERS: Final = ("chatgpt-", "davinci-", "babbage-")


@dataclass(frozen=True, slots=True)
class Manners:
    """What a model takes."""

    reasons: bool
    """`reasoning`, and encrypted reasoning; such a model takes no temperature and no top_p."""
    most: str = "max"
    """The highest effort it knows."""
    least: str = "none"
    """The effort that comes nearest to not thinking at all."""


@lru_cache(maxsize=1024)
def manners(model: str) -> Manners:
    """Return the manners of a model by its upstream name; an unknown one is taken for a current one."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    if _O_SERIES.match(name):
        return Manners(reasons=True, most="high", least="low")
    match = _VERSION.match(name)
    version = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
    if version < (5, 0) or "-chat" in name or name.startswith(_TALKERS):
        return Manners(reasons=False)
    codex = "codex" in name
    if version < (5, 1):
        return Manners(reasons=True, most="high", least="low" if codex else "minimal")
    least = "low" if codex else "none"
    if version < (5, 2):
        return Manners(reasons=True, most="xhigh" if "codex-max" in name else "high", least=least)
    return Manners(reasons=True, most="xhigh" if version < (5, 6) else "max", least=least)


def effort_of(budget: int) -> str:
    """Return the effort that a budget of tokens for thinking stands for."""
    for word, most in (("low", 2_048), ("medium", 8_192), ("high", 24_576)):
        if budget <= most:
            return word
    return "xhigh"


def bounded(effort: str, most: str) -> str:
    """Return an effort that a model knows."""
    return EFFORTS[min(EFFORTS.index(effort), EFFORTS.index(most))]
