"""Writes a canonical request for one Claude model: the form is the same, the manners differ by model."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.claude_manners import manners
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request
    from penstock_edge.providers.claude_manners import Manners
    from penstock_edge.providers.wire import Addressee

PROVIDER: Final = "Anthropic"
REDACTED: Final = "redacted:"
_USUAL_MAX_TOKENS: Final = 32_000
_LEAST_BUDGET: Final = 1_024
_BUDGETS: Final = {"low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 49_152}
_JSON_ONLY: Final = {"type": "text", "text": "Answer with one JSON object and nothing else."}
_COUNTED: Final = ("messages", "system", "tools", "tool_choice", "thinking", "output_config")
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_ID_FIELDS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
_encoder = msgspec.json.Encoder()


def write(request: Request, to: Addressee, *, streamed: bool) -> Written:
    """Return the Messages request. Raises ProblemError for what the model cannot do."""
    draft = _Draft(request, to)
    draft.body["max_tokens"] = draft.max_tokens()
    if streamed:
        draft.body["stream"] = True
    draft.shape()
    return Written(_encoder.encode(draft.body), draft.ignored)


def write_count(request: Request, to: Addressee) -> Written:
    """Return the request to count tokens."""
    draft = _Draft(request, to)
    draft.shape()
    counted = {"model": to.model} | {name: draft.body[name] for name in _COUNTED if name in draft.body}
    return Written(_encoder.encode(counted), draft.ignored)


class _Draft:
    """A request on its way; `body` is a shallow copy, of which only what is replaced changes."""

    def __init__(self, request: Request, to: Addressee) -> None:
        self.body: Json = {"model": to.model, **request.body}
        self.ignored: list[str] = []
        self._request = request
        self._to = to
        self._manners: Manners = manners(to.model)

    def max_tokens(self) -> int:
        most = self._to.max_output_tokens
        asked = self._request.body.get("max_tokens")
        if asked is None:
            return min(_USUAL_MAX_TOKENS, most) if most > 0 else _USUAL_MAX_TOKENS
        if 0 < most < asked:
            self.ignored.append(f"max_tokens={most}")
            return most
        return int(asked)

    def shape(self) -> None:
        """Make everything fit the model."""
        self._extras()
        self._messages()
        self._format()
        self._thinking()
        self._sampling()
        self._stops()
        self._tools()

    def _extras(self) -> None:
        extras = self._request.extras
        for name in ("seed", "frequency_penalty", "presence_penalty"):
            if getattr(extras, name) is not None:
                self.ignored.append(name)
        if extras.json_object:
            self.body["system"] = [*self.body.get("system", ()), _JSON_ONLY]

    def _messages(self) -> None:
        """Give tool calls ids that Claude takes; unwrap own thinking and leave out what others signed."""
        self._call_ids()
        messages = self.body["messages"]
        if not any(block["type"] == "thinking" for message in messages for block in message["content"]):
            return
        kept = []
        for index, message in enumerate(messages):
            content = message["content"]
            if message["role"] == "assistant":
                content = self._own_thinking(index, content)
            if content:
                kept.append({**message, "content": content})
        self.body["messages"] = kept

    def _call_ids(self) -> None:
        """Replace ids of tool calls that the API would refuse, such as `functions.x:0`: always by the same ones."""
        if all(
            _CALL_ID.fullmatch(block[name])
            for message in self.body["messages"]
            for block in message["content"]
            if (name := _ID_FIELDS.get(block["type"]))
        ):
            return
        self.body["messages"] = [
            {**message, "content": [_with_sound_id(block) for block in message["content"]]}
            for message in self.body["messages"]
        ]

    def _own_thinking(self, index: int, content: list[Json]) -> list[Json]:
        kept: list[Json] = []
        for place, block in enumerate(content):
            if block["type"] != "thinking":
                kept.append(block)
                continue
            signature = block.get("signature") or ""
            mine = signatures.own(signature, PROVIDER)
            if mine is None:
                whose = signatures.origin(signature)
                what = f"thinking signed by {whose}" if whose else "unsigned thinking"
                self.ignored.append(f"messages.{index}.content.{place} ({what})")
            elif mine.startswith(REDACTED):
                kept.append({"type": "redacted_thinking", "data": mine.removeprefix(REDACTED)})
            else:
                kept.append({"type": "thinking", "thinking": block["thinking"], "signature": mine})
        return kept

    def _format(self) -> None:
        wanted = (self.body.get("output_config") or {}).get("format")
        if wanted is None:
            return
        if not self._manners.structured:
            raise ProblemError(invalid(f"response_format: {self._to.model} has no structured output"))
        strict = {"type": "json_schema", "schema": _closed(wanted.get("schema") or {})}
        self.body["output_config"] = {**self.body["output_config"], "format": strict}

    def _thinking(self) -> None:
        """Express how much the client wants thought in the words of this model's generation."""
        body = self.body
        thinking: Json = body.get("thinking") or {}
        config = dict(body.pop("output_config", None) or {})
        effort = config.pop("effort", None)
        kind = thinking.get("type")
        if kind == "enabled" and not self._manners.budgeted:
            body["thinking"] = {"type": "adaptive"}
            effort = effort or _effort(thinking.get("budget_tokens", 0))
        elif (kind == "adaptive" or (kind is None and effort)) and not self._manners.adaptive:
            body.pop("thinking", None)
            if self._manners.budgeted:
                body["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS.get(effort or "medium", 8_192)}
            elif effort:
                self.ignored.append("reasoning_effort")
        elif kind == "disabled" and not self._manners.budgeted and not self._manners.adaptive:
            body.pop("thinking")
        if effort and self._manners.adaptive and kind != "disabled":
            config["effort"] = effort
        if config:
            body["output_config"] = config
        self._bound_thinking()

    def _bound_thinking(self) -> None:
        """Leave thinking out where the API would refuse it."""
        body, thinking = self.body, self.body.get("thinking")
        if not thinking or thinking["type"] == "disabled":
            return
        forced = (body.get("tool_choice") or {}).get("type") in {"any", "tool"}
        if forced or (thinking["type"] == "enabled" and _tools_without_thinking(body["messages"])):
            self._no_thinking()
            return
        if thinking["type"] != "enabled":
            return
        most = body.get("max_tokens", self.max_tokens()) - 1
        budget = min(max(int(thinking.get("budget_tokens") or 0), _LEAST_BUDGET), most)
        if budget < _LEAST_BUDGET:
            self._no_thinking()
        else:
            body["thinking"] = {**thinking, "budget_tokens": budget}

    def _no_thinking(self) -> None:
        del self.body["thinking"]
        self.ignored.append("thinking")

    def _sampling(self) -> None:
        body = self.body
        if not self._manners.sampling:
            self.ignored += [name for name in ("temperature", "top_p", "top_k") if body.pop(name, None) is not None]
            return
        if "thinking" in body and body["thinking"]["type"] != "disabled":
            # With thinking on, only 1 is taken; top_k not at all.
            if body.pop("temperature", 1) != 1:
                self.ignored.append("temperature=1")
            self.ignored += [name for name in ("top_p", "top_k") if body.pop(name, None) is not None]
            return
        if body.get("temperature", 0) > 1:
            body["temperature"] = 1
            self.ignored.append("temperature=1")
        if "temperature" in body and "top_p" in body:
            # Models since 4.5 take one of the two; temperature is what most clients mean.
            del body["top_p"]
            self.ignored.append("top_p")

    def _stops(self) -> None:
        stops = self.body.get("stop_sequences")
        if stops is None:
            return
        kept = [stop for stop in stops if stop.strip()]
        if len(kept) < len(stops):
            self.ignored.append("stop (white space only)")
        if kept:
            self.body["stop_sequences"] = kept
        else:
            del self.body["stop_sequences"]

    def _tools(self) -> None:
        tools = self.body.get("tools")
        if tools is None:
            return
        self.body["tools"] = [_tool(tool) for tool in tools]
        if not tools:
            del self.body["tools"]


def _with_sound_id(block: Json) -> Json:
    name = _ID_FIELDS.get(block["type"])
    if name is None or _CALL_ID.fullmatch(block[name]):
        return block
    return {**block, name: "toolu_" + blake2b(block[name].encode("utf-8", "replace"), digest_size=16).hexdigest()}


def _tool(tool: Json) -> Json:
    schema = tool.get("input_schema") or {}
    if schema.get("type") != "object":
        schema = {**schema, "type": "object"}
    return {**tool, "input_schema": _closed(schema) if tool.get("strict") else schema}


def _effort(budget: int) -> str:
    for word, most in (("low", 2_048), ("medium", 8_192), ("high", 24_576)):
        if budget <= most:
            return word
    return "xhigh"


def _tools_without_thinking(messages: list[Json]) -> bool:
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


def _closed(schema: Any) -> Any:
    """Return a JSON schema whose objects allow no further properties, as structured output demands."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: part if name in {"enum", "const", "default"} else _closed(part) for name, part in schema.items()}
    if closed.get("type") == "object" and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed
