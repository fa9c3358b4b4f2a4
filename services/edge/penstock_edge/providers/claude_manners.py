"""What Claude models accept, by generation: a request translated for one must not hold what that one refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# claude-sonnet-4-5, claude-3-5-haiku-…, anthropic.claude-opus-4-6-v1, anthropic/claude-sonnet-4.5
_NEW_STYLE = re.compile(r"claude-(?:opus|sonnet|haiku)-(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_OLD_STYLE = re.compile(r"claude-(\d+)(?:[-.](\d{1,2}))?-(?:opus|sonnet|haiku)")


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

    @property
    def thinks(self) -> bool:
        """Whether it can be told to think at all."""
        return self.adaptive or self.budgeted


_CURRENT = Manners(adaptive=True, budgeted=False, sampling=False, structured=True, hides=True, xhigh=True)
_TURNING = Manners(adaptive=True, budgeted=True, sampling=True, structured=True)
_BUDGETED = Manners(adaptive=False, budgeted=True, sampling=True, structured=True)
_FIRST = Manners(adaptive=False, budgeted=False, sampling=True, structured=False)


@lru_cache(maxsize=1024)
def manners(model: str) -> Manners:
    """Return the manners of a model by its upstream name; an unknown one is taken for a current one."""
    match = _NEW_STYLE.search(model) or _OLD_STYLE.search(model)
    if match is None:
        return _CURRENT
    version = (int(match[1]), int(match[2] or 0))
    if version >= (4, 7):
        return _CURRENT
    if version >= (4, 6):
        return _TURNING
    return _BUDGETED if version >= (3, 7) else _FIRST
