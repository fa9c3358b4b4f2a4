"""What Gemini models may be told, and how much to think, by generation: each refuses words that another needs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from penstock_edge.providers.losses import THINKING, lost

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_VERSION: Final = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?")
_BUDGETS: Final = {"low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
_LEVELS: Final = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
_DYNAMIC: Final = -1
_KINDS: Final = ("enabled", "adaptive", "disabled")


@lru_cache(maxsize=1024)
def generation(model: str) -> tuple[int, int] | None:
    """Return a model's generation by its upstream name: one without a number is current, what is no Gemini has none."""
    match = _VERSION.search(model)
    if match is not None:
        return int(match[1]), int(match[2] or 0)
    return (3, 0) if "gemini" in model else None


def signs_calls(model: str) -> bool:
    """Whether a model refuses function calls of the current turn that it has not signed."""
    found = generation(model)
    return found is not None and found >= (3, 0)


def thinks(model: str) -> bool:
    """Whether a model can think. Those that can take no penalties."""
    found = generation(model)
    return found is not None and found >= (2, 5)


def shapes_with_tools(model: str) -> bool:
    """Whether a model takes structured output and functions in one request."""
    found = generation(model)
    return found is not None and found >= (3, 0)


def thinking_config(model: str, body: Json, ignored: list[str]) -> Json | None:
    """Return `thinkingConfig` for what a canonical body asks; None for what the model does by itself."""
    thinking = body.get("thinking")
    thinking = thinking if isinstance(thinking, dict) else {}
    effort = _effort(body, ignored)
    kind = thinking.get("type")
    if kind not in _KINDS:
        ignored += ["thinking"] if thinking else []
        if effort is None:
            return None
    found = generation(model)
    if found is None or not thinks(model):
        if kind in {"enabled", "adaptive"}:
            ignored.append("thinking")
        if effort is not None:
            ignored.append("output_config.effort")
        return None
    budget = thinking.get("budget_tokens") if kind == "enabled" else None
    budget = budget if isinstance(budget, int) and budget > 0 else None
    if found >= (3, 0):
        config = _by_level(model, found, kind, effort, budget, ignored)
    else:
        config = _by_budget(model, kind, effort, budget, ignored)
    ignored += lost("thinking", thinking, THINKING)
    if kind in {"enabled", "adaptive"} and thinking.get("display") != "omitted":
        config["includeThoughts"] = True
    return config


def _effort(body: Json, ignored: list[str]) -> str | None:
    config = body.get("output_config")
    effort: Any = config.get("effort") if isinstance(config, dict) else None
    if effort is None or (isinstance(effort, str) and effort in _BUDGETS):
        return effort
    ignored.append("output_config.effort")
    return None


def _by_level(
    model: str, found: tuple[int, int], kind: Any, effort: str | None, budget: int | None, ignored: list[str]
) -> Json:
    """Gemini 3: levels, and a budget only in place of one; thinking cannot be switched off."""
    if kind == "disabled":
        level = "MINIMAL" if "flash" in model else "LOW"
        ignored.append(f"thinking={level.lower()}")
        return {"thinkingLevel": level}
    if effort is None:
        return {} if budget is None else {"thinkingBudget": _bounded(budget, 1, 32_768, ignored)}
    if budget is not None:
        ignored.append("thinking.budget_tokens")
    level = _LEVELS[effort]
    if level == "MEDIUM" and found == (3, 0) and "pro" in model:
        # The first of them knows only the ends of the scale.
        level = "HIGH"
    if level.lower() != effort:
        ignored.append(f"output_config.effort={level.lower()}")
    return {"thinkingLevel": level}


def _by_budget(model: str, kind: Any, effort: str | None, budget: int | None, ignored: list[str]) -> Json:
    """Gemini 2.5: budgets alone, with bounds of each size of model."""
    least, most = (128, 32_768) if "pro" in model else (512 if "lite" in model else 1, 24_576)
    if kind == "disabled":
        if "pro" not in model:
            return {"thinkingBudget": 0}
        ignored.append(f"thinking.budget_tokens={least}")
        return {"thinkingBudget": least}
    if budget is not None:
        return {"thinkingBudget": _bounded(budget, least, most, ignored)}
    if effort is not None:
        return {"thinkingBudget": min(_BUDGETS[effort], most)}
    return {"thinkingBudget": _DYNAMIC}


def _bounded(budget: int, least: int, most: int, ignored: list[str]) -> int:
    bounded = min(max(budget, least), most)
    if bounded != budget:
        ignored.append(f"thinking.budget_tokens={bounded}")
    return bounded
