"""What Claude models accept, by generation: a request translated for one must not hold what that one refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

# claude-sonnet-4-5, claude-3-5-haiku-…, anthropic.claude-opus-4-6-v1, anthropic/claude-sonnet-4.5
_NEW_STYLE = re.compile(r"claude-(?P<line>opus|sonnet|haiku)-(?P<major>\d+)(?:[-.](?P<minor>\d{1,2}))?(?!\d)")
_OLD_STYLE = re.compile(r"claude-(?P<major>\d+)(?:[-.](?P<minor>\d{1,2}))?-(?P<line>opus|sonnet|haiku)")
_ALWAYS_THINKING = re.compile(r"claude-(?:fable|mythos)")
# Since this version only Haiku's thinking can be switched off.
_SETTLED = (5, 5)


@dataclass(frozen=True, slots=True)
class Manners:
    """What a model takes."""

    adaptive: bool
    """`thinking.type` adaptive, and `output_config.effort` with it."""
    budgeted: bool
    """`thinking.type` enabled with a budget."""
    sampling: bool
    """temperature, top_p and top_k other than their defaults."""
    structured: bool
    """`output_config.format`."""
    hides: bool = False
    """Thinking comes back empty unless `thinking.display` asks for a summary."""
    xhigh: bool = False
    """The effort of that name, besides low, medium, high and max."""
    off: str = "disabled"
    """The `thinking.type` that comes nearest to not thinking; "" where there is none: it always thinks."""

    @property
    def thinks(self) -> bool:
        """Whether it can be told to think at all."""
        return self.adaptive or self.budgeted


_CURRENT = Manners(adaptive=True, budgeted=False, sampling=False, structured=True, hides=True, xhigh=True)
_THINKERS = replace(_CURRENT, off="")
_TALKERS = replace(_CURRENT, off="between_tools")
_TURNING = Manners(adaptive=True, budgeted=True, sampling=True, structured=True)
_BUDGETED = Manners(adaptive=False, budgeted=True, sampling=True, structured=True)
_FIRST = Manners(adaptive=False, budgeted=False, sampling=True, structured=False)


@lru_cache(maxsize=1024)
def manners(model: str) -> Manners:
    """Return the manners of a model by its upstream name; an unknown one is taken for a current one."""
    match = _NEW_STYLE.search(model) or _OLD_STYLE.search(model)
    if match is None:
        return _THINKERS if _ALWAYS_THINKING.search(model) else _CURRENT
    version = (int(match["major"]), int(match["minor"] or 0))
    if version >= _SETTLED and match["line"] != "haiku":
        return _THINKERS if match["line"] == "opus" else _TALKERS
    if version >= (4, 7):
        return _CURRENT
    if version >= (4, 6):
        return _TURNING
    return _BUDGETED if version >= (3, 7) else _FIRST
