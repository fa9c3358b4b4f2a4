"""How much Claude models are told to think, in the words of each generation, and where the API would refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.providers.losses import THINKING, lost

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.providers.claude_manners import Manners

_LEAST_BUDGET: Final = 1_024
_BUDGETS: Final = {"low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 49_152}
_OFF: Final = frozenset({"disabled", "between_tools"})


def express(body: Json, manners: Manners, max_tokens: int, ignored: list[str]) -> None:
    """Put `thinking` and `output_config` of a request into this model's words."""
    asked: Json = body.pop("thinking", None) or {}
    config = dict(body.pop("output_config", None) or {})
    effort: str | None = config.pop("effort", None)
    ignored += lost("thinking", asked, THINKING)
    kind = asked.get("type")
    if kind is None and effort is not None:
        # Whoever names an effort wants reasoning; without a word about it Claude does none.
        kind = "adaptive"
    if kind == "disabled":
        effort = _do_not_think(body, manners, ignored)
    elif kind is not None:
        effort = _think(body, kind, asked, effort, manners, ignored)
    if effort is not None and manners.adaptive:
        config["effort"] = _known(effort, manners, ignored)
    if config:
        body["output_config"] = config
    _bound(body, max_tokens, asked.get("budget_tokens"), ignored)


def _do_not_think(body: Json, manners: Manners, ignored: list[str]) -> str | None:
    """Switch thinking off, as far as that goes; returns the effort that goes with it."""
    if not manners.thinks:
        return None
    if not manners.off:
        ignored.append("thinking=adaptive")
        return "low"
    body["thinking"] = {"type": manners.off}
    if manners.off != "disabled":
        ignored.append(f"thinking={manners.off}")
    return None


def _think(body: Json, kind: str, asked: Json, effort: str | None, manners: Manners, ignored: list[str]) -> str | None:
    """Switch thinking on; returns the effort that goes with it."""
    if not manners.thinks:
        ignored += ["thinking"] if asked else []
        ignored += ["output_config.effort"] if effort is not None else []
        return None
    budget: Any = asked.get("budget_tokens")
    budget = budget if isinstance(budget, int) else 0
    if kind == "enabled" and manners.budgeted:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif manners.adaptive:
        body["thinking"] = {"type": "adaptive"}
        if kind == "enabled":
            effort = effort or _effort(budget)
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS.get(effort or "medium", 8_192)}
    display = asked.get("display")
    if display == "omitted" and manners.adaptive:
        body["thinking"]["display"] = display
    elif display != "omitted" and manners.hides:
        body["thinking"]["display"] = "summarized"
    return effort


def _known(effort: str, manners: Manners, ignored: list[str]) -> str:
    if effort == "xhigh" and not manners.xhigh:
        ignored.append("output_config.effort=high")
        return "high"
    return effort


def _bound(body: Json, max_tokens: int, asked: Any, ignored: list[str]) -> None:
    """Keep thinking within its bounds, and leave it out where the API would refuse it. `asked`: the client's budget."""
    thinking = body.get("thinking")
    if thinking is None or thinking["type"] in _OFF:
        return
    forced = (body.get("tool_choice") or {}).get("type") in {"any", "tool"}
    budget = thinking.get("budget_tokens")
    if budget is not None:
        most = max_tokens - 1
        thinking["budget_tokens"] = min(max(budget, _LEAST_BUDGET), most)
        forced = forced or most < _LEAST_BUDGET or tools_without_thinking(body["messages"])
    if forced:
        del body["thinking"]
        ignored.append("thinking")
    elif budget == asked and budget != thinking.get("budget_tokens"):
        ignored.append(f"thinking.budget_tokens={thinking['budget_tokens']}")


def _effort(budget: int) -> str:
    for word, most in (("low", 2_048), ("medium", 8_192), ("high", 24_576)):
        if budget <= most:
            return word
    return "xhigh"


def tools_without_thinking(messages: list[Json]) -> bool:
    """Whether the turn that goes on has tool calls before which no thinking stands: with a budget that is refused."""
    for message in reversed(messages):
        if message["role"] == "assistant":
            content = message["content"]
            if any(block["type"] == "tool_use" for block in content):
                return content[0]["type"] not in {"thinking", "redacted_thinking"}
            return False
        if not any(block["type"] == "tool_result" for block in message["content"]):
            return False
    return False
