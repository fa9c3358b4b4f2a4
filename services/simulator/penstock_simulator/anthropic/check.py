"""Checks a request as strictly as the real API: what it refuses is refused here, in its order and words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock_simulator.anthropic.blocks import BlockCheck, extra, only, require, typed
from penstock_simulator.anthropic.conversation import check_turns
from penstock_simulator.anthropic.errors import invalid, unknown_model
from penstock_simulator.anthropic.schema import check_enforced

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.anthropic.models import Model, Models
    from penstock_simulator.connection import Request

MODERN = "2026-10-21"
_VERSIONS = frozenset({"2023-01-01", "2023-06-01", MODERN})
_BETA_NAME = re.compile(r"[a-z][a-z0-9-]*-20\d\d-?\d\d-?\d\d")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_COMMON = {
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "cache_control",
    "output_config",
    "speed",
}
_MESSAGES = _COMMON | {
    "max_tokens",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
}
_SAMPLING = ("temperature", "top_p", "top_k")
# Fields that exist only with a beta whose name begins so.
_BETA_FIELDS = {
    "context_management": ("context-management-", "compact-"),
    "mcp_servers": ("mcp-client-",),
    "fallbacks": ("server-side-fallback-",),
    "fallback_credit_token": ("fallback-credit-",),
    "compaction": ("compact-",),
    "billing_policy": ("user-profiles-billing-",),
    "thread": ("message-threads-",),
    "output_format": ("structured-outputs-",),
}
_TOOL_FIELDS = {
    "type",
    "name",
    "description",
    "input_schema",
    "cache_control",
    "strict",
    "allowed_callers",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
}


@dataclass(slots=True)
class Checked:
    """A request that passed."""

    document: dict[str, Any]
    model: Model
    max_tokens: int
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: dict[str, Any] | None = None
    thinking: str = "disabled"
    """disabled, enabled or adaptive."""
    thinking_budget: int = 0
    thinking_shown: bool = True
    stop_sequences: list[str] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    """JSON schema that the text has to follow."""
    marked: bool = False
    """Whether any cache mark is in it."""


def check_version(request: Request) -> bool:
    """Check anthropic-version and anthropic-beta; returns whether the version is the modern one."""
    version = request.header("anthropic-version")
    if not version:
        raise invalid("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    for beta in betas(request):
        if not _BETA_NAME.fullmatch(beta):
            raise invalid(
                f"Unexpected value(s) `{beta}` for the `anthropic-beta` header. Please consult our documentation at "
                "https://docs.claude.com/en/api/beta-headers or try again without the header."
            )
    return version == MODERN


def betas(request: Request) -> list[str]:
    """Return the values of all anthropic-beta headers."""
    lines = [value for name, value in request.raw if name == "anthropic-beta"]
    return [beta.strip() for line in lines for beta in line.split(",") if beta.strip()]


def check(request: Request, document: Any, models: Models, account: Account, *, counting: bool) -> Checked:
    """Return what the request asks for; raises RefusalError. `counting`: count_tokens, which knows fewer fields."""
    modern = check_version(request)
    if not isinstance(document, dict):
        raise invalid("The request body is not valid JSON: expected an object")
    named = betas(request)
    _check_names(document, _COMMON if counting else _MESSAGES, named, modern=modern)
    name = require(document, "model", str, "")
    max_tokens = 0 if counting else require(document, "max_tokens", int, "")
    require(document, "messages", list, "")
    if max_tokens < 0:
        raise invalid("max_tokens: Input should be greater than or equal to 0")
    model = models.find(name)
    if model is None or not account.serves(name):
        raise unknown_model(name)
    if max_tokens > model.output:
        raise invalid(
            f"max_tokens: {max_tokens} > {model.output}, which is the maximum allowed number of output tokens for "
            f"{model.name}"
        )
    checked = Checked(document, model, max_tokens)
    blocks = BlockCheck(modern=modern, beta=bool(named))
    _check_tools(checked, blocks)
    _check_system(document, blocks)
    middle = modern or any(beta.startswith("mid-conversation-") for beta in named)
    check_turns(document["messages"], blocks, model, system_allowed=middle)
    blocks.mark(document, "")
    checked.marked = bool(blocks.marks)
    _check_thinking(checked)
    _check_small_fields(checked)
    return checked


def _check_names(document: dict[str, Any], allowed: set[str], named: list[str], *, modern: bool) -> None:
    for name in document:
        unlocked = any(beta.startswith(_BETA_FIELDS.get(name, ())) for beta in named)
        if (name not in allowed and not unlocked) or (modern and name in _SAMPLING):
            raise invalid(extra(name))


def _check_system(document: dict[str, Any], blocks: BlockCheck) -> None:
    system = document.get("system")
    if system is None or isinstance(system, str):
        return
    for index, block in enumerate(typed(system, list, "system")):
        blocks.text(block, f"system.{index}", "system")


def _check_tools(checked: Checked, blocks: BlockCheck) -> None:
    document = checked.document
    tools = typed(document.get("tools") or [], list, "tools")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        typed(tool, dict, f"tools.{index}")
        name = _check_tool(tool, f"tools.{index}")
        if name in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(name)
        blocks.mark(tool, f"tools.{index}")
    checked.tools = tools
    choice = document.get("tool_choice")
    if choice is None:
        return
    kind = require(typed(choice, dict, "tool_choice"), "type", str, "tool_choice")
    if kind not in {"auto", "any", "tool", "none"}:
        raise invalid(
            f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'any', "
            "'auto', 'none', 'tool'"
        )
    only(choice, {"type", "disable_parallel_tool_use", "name"}, f"tool_choice.{kind}")
    if not tools and kind != "none":
        raise invalid("tool_choice may only be specified while providing tools")
    if kind == "tool" and require(choice, "name", str, "tool_choice.tool") not in names:
        raise invalid(f"Tool '{choice['name']}' not found in provided tools")
    checked.tool_choice = choice


def _check_tool(tool: dict[str, Any], at: str) -> str:
    kind = tool.get("type", "custom")
    if kind not in {None, "custom"}:
        # Built-in tools are many and change with the year; they need a name here and nothing else.
        return str(tool.get("name", kind))
    inside = f"{at}.custom"
    name = require(tool, "name", str, inside)
    if not _TOOL_NAME.fullmatch(name):
        raise invalid(f"{inside}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = require(tool, "input_schema", dict, inside)
    if require(schema, "type", str, f"{inside}.input_schema") != "object":
        raise invalid(f"{inside}.input_schema.type: Input should be 'object'")
    only(tool, _TOOL_FIELDS, inside)
    if tool.get("strict") is not None and typed(tool["strict"], bool, f"{inside}.strict"):
        check_enforced(schema, inside)
    return str(name)


def _check_thinking(checked: Checked) -> None:
    thinking = checked.document.get("thinking")
    if thinking is None:
        return
    kind = require(typed(thinking, dict, "thinking"), "type", str, "thinking")
    if kind not in {"enabled", "adaptive", "disabled", "between_tools"}:
        raise invalid(
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'adaptive', "
            "'disabled', 'enabled'"
        )
    only(thinking, {"type", "budget_tokens", "display", "block_selection", "block_binding"}, f"thinking.{kind}")
    display = thinking.get("display")
    if display not in {None, "summarized", "omitted"}:
        raise invalid(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    checked.thinking_shown = display == "summarized" or (display is None and not checked.model.hides)
    if kind in {"disabled", "between_tools"}:
        return
    if kind == "adaptive" and not checked.model.adaptive:
        raise invalid("adaptive thinking is not supported on this model")
    checked.thinking = kind
    if kind == "enabled":
        checked.thinking_budget = _budget(checked, thinking)
    if checked.tool_choice is not None and checked.tool_choice["type"] in {"any", "tool"}:
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    if checked.document.get("temperature", 1) != 1:
        raise invalid("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
    if "top_k" in checked.document:
        raise invalid("`top_k` must be unset when thinking is enabled or in adaptive mode.")


def _budget(checked: Checked, thinking: dict[str, Any]) -> int:
    if not checked.model.budgeted:
        raise invalid(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    budget = require(thinking, "budget_tokens", int, "thinking.enabled")
    if budget < 1024:
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if "max_tokens" in checked.document and checked.max_tokens <= budget:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return int(budget)


def _check_small_fields(checked: Checked) -> None:
    document = checked.document
    _check_sampling(checked)
    if document.get("stream") is not None:
        typed(document["stream"], bool, "stream")
    stops = typed(document.get("stop_sequences") or [], list, "stop_sequences")
    for index, stop in enumerate(stops):
        if not typed(stop, str, f"stop_sequences.{index}").strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    checked.stop_sequences = stops
    metadata = document.get("metadata")
    if metadata is not None:
        only(typed(metadata, dict, "metadata"), {"user_id"}, "metadata")
        if metadata.get("user_id") is not None:
            typed(metadata["user_id"], str, "metadata.user_id")
    for name, allowed in (("service_tier", {"auto", "standard_only"}), ("speed", {"standard", "fast", None})):
        if name in document and document[name] not in allowed:
            words = " or ".join(f"'{one}'" for one in sorted(one for one in allowed if one))
            raise invalid(f"{name}: Input should be {words}")
    _check_output(checked)


def _check_sampling(checked: Checked) -> None:
    document = checked.document
    for name, high in (("temperature", 1.0), ("top_p", 1.0)):
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise invalid(f"{name}: Input should be a valid number")
        if not 0.0 <= value <= high:
            raise invalid(f"{name}: range: 0..1")
        if not checked.model.sampling and value != 1:
            raise invalid(f"`{name}` is deprecated for this model.")
    if document.get("top_k") is not None:
        typed(document["top_k"], int, "top_k")
        if not checked.model.sampling:
            raise invalid("`top_k` is deprecated for this model.")


def _check_output(checked: Checked) -> None:
    config = checked.document.get("output_config")
    if config is None:
        return
    only(typed(config, dict, "output_config"), {"effort", "format", "task_budget"}, "output_config")
    if config.get("effort") not in {None, "low", "medium", "high", "xhigh", "max"}:
        raise invalid("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    form = config.get("format")
    if form is not None:
        typed(form, dict, "output_config.format")
        if require(form, "type", str, "output_config.format") != "json_schema":
            raise invalid("output_config.format.type: Input should be 'json_schema'")
        checked.schema = require(form, "schema", dict, "output_config.format")
        check_enforced(checked.schema, "output_config.format.schema")
