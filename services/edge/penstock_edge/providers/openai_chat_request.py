"""A canonical request, written as chat.completions for OpenAI or a server that speaks as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.notes import Notes
from penstock_edge.providers.losses import note_lost
from penstock_edge.providers.openai_chat_turns import Turns
from penstock_edge.providers.request_json import TOO_DEEP, encoded
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request
    from penstock_edge.providers.wire import Addressee

_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_LONGEST_NAME: Final = 64
_MOST_STOPS: Final = 4
_JSON_ONLY: Final = "Answer with one JSON object and nothing else."
_TOOL: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_READ: Final = frozenset(
    {
        "messages",
        "system",
        "max_tokens",
        "stop_sequences",
        "temperature",
        "top_p",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
    }
)


def write(request: Request, to: Addressee, *, streamed: bool) -> Written:
    """Return the chat request. Raises ProblemError for what this format cannot say."""
    draft = _Draft(request, to)
    try:
        body = draft.shape()
    except RecursionError:
        raise ProblemError(TOO_DEEP) from None
    if streamed:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return Written(encoded(body), draft.ignored)


class _Draft:
    """A request on its way."""

    def __init__(self, request: Request, to: Addressee) -> None:
        self.ignored = Notes()
        self._canonical = request.body
        self._extras = request.extras
        self._to = to
        self._openai = to.provider == "OpenAI"
        self._hints = not self._openai and "claude" in to.model.lower()
        """Whether hints of what to cache are understood."""

    def shape(self) -> Json:
        """Return the body."""
        turns = Turns(self.ignored, self._to.provider, hints=self._hints)
        messages = turns.write(self._canonical.get("system"), self._canonical.get("messages") or [])
        body: Json = {"model": self._to.model, "messages": messages}
        self._tools(body)
        self._limits(body)
        self._sampling(body)
        self._thinking(body)
        self._format(body)
        self._person(body)
        if self._extras.images:
            body["modalities"] = ["image", "text"]
        self.ignored += [name for name in self._canonical if name not in _READ]
        if turns.dropped_hint:
            self.ignored.once("cache_control")
        return body

    def _limits(self, body: Json) -> None:
        asked, most = self._canonical.get("max_tokens"), self._to.max_output_tokens
        if asked is not None:
            if 0 < most < asked:
                self.ignored.append(f"max_tokens={most}")
                asked = most
            body["max_completion_tokens" if self._openai else "max_tokens"] = asked
        stops = self._canonical.get("stop_sequences")
        if stops:
            if not all(isinstance(stop, str) for stop in stops):
                raise ProblemError(invalid("stop_sequences: Input should be a list of strings"))
            if self._openai and len(stops) > _MOST_STOPS:
                raise ProblemError(invalid(f"stop_sequences: at most {_MOST_STOPS} can be carried to this model"))
            body["stop"] = stops

    def _sampling(self, body: Json) -> None:
        temperature = self._canonical.get("temperature")
        if temperature is not None:
            if temperature > 2:
                self.ignored.append("temperature=2")
                temperature = 2
            body["temperature"] = temperature
        for name, value in (
            ("top_p", self._canonical.get("top_p")),
            ("seed", self._extras.seed),
            ("frequency_penalty", self._extras.frequency_penalty),
            ("presence_penalty", self._extras.presence_penalty),
        ):
            if value is not None:
                body[name] = value

    def _thinking(self, body: Json) -> None:
        """Ask for thought only in the words that the client itself used: not every server takes others."""
        thinking = self._canonical.get("thinking") or {}
        kind = thinking.get("type")
        asked = (self._canonical.get("output_config") or {}).get("effort")
        effort = _word(asked)
        if effort is None and asked is not None:
            self.ignored.append("output_config.effort")
        if self._openai and effort is None and kind == "enabled":
            effort = _effort(thinking.get("budget_tokens"))
        if kind == "disabled":
            effort = "none" if self._openai else None
        if kind is not None and effort is None:
            self.ignored.append("thinking")
        if effort is not None:
            body["reasoning_effort"] = effort

    def _format(self, body: Json) -> None:
        config = self._canonical.get("output_config") or {}
        self.ignored += [f"output_config.{name[:64]}" for name in config if name not in {"effort", "format"}]
        wanted = config.get("format")
        if self._extras.json_object and wanted is None:
            body["response_format"] = {"type": "json_object"}
            _speak_of_json(body)
        if wanted is None:
            return
        schema = wanted.get("schema") if isinstance(wanted, dict) else None
        if not isinstance(schema, dict):
            raise ProblemError(invalid("output_config.format.schema: Input should be a valid dictionary"))
        named: Json = {"name": self._extras.schema_name or "answer", "schema": schema}
        if _strict(schema):
            named["strict"] = True
        body["response_format"] = {"type": "json_schema", "json_schema": named}

    def _person(self, body: Json) -> None:
        person = (self._canonical.get("metadata") or {}).get("user_id")
        if person is None:
            return
        if isinstance(person, str) and len(person) <= _LONGEST_NAME:
            body["prompt_cache_key" if self._openai else "user"] = person
        else:
            self.ignored.append("metadata.user_id")

    def _tools(self, body: Json) -> None:
        tools: list[Json] = []
        left_out: set[str] = set()
        for index, tool in enumerate(self._canonical.get("tools") or ()):
            kind = tool.get("type")
            if kind is not None and kind != "custom":
                # Run by a provider, or known to its models alone.
                self.ignored.append(f"tools.{index} ({str(kind)[:64]})")
                left_out.add(tool["name"])
            else:
                tools.append(self._tool(tool))
                note_lost(self.ignored, "tools", tool, _TOOL)
        if tools:
            body["tools"] = tools
        self._choice(body, left_out)

    def _tool(self, tool: Json) -> Json:
        function: Json = {"name": tool["name"]}
        if tool.get("description"):
            function["description"] = tool["description"]
        schema = tool.get("input_schema")
        # Many refuse an object that does not say so, or has no properties.
        usual = {"type": "object", "properties": {}}
        function["parameters"] = usual | schema if isinstance(schema, dict) else usual
        if tool.get("strict") is not None:
            function["strict"] = tool["strict"]
        written: Json = {"type": "function", "function": function}
        if tool.get("cache_control") is not None:
            if self._hints:
                written["cache_control"] = tool["cache_control"]
            else:
                self.ignored.once("cache_control")
        return written

    def _choice(self, body: Json, left_out: set[str]) -> None:
        choice = self._canonical.get("tool_choice")
        if choice is None:
            return
        kind, name = choice.get("type"), choice.get("name")
        if kind == "tool":
            if not isinstance(name, str) or name in left_out:
                raise ProblemError(invalid("tool_choice.name: this tool cannot be carried to this model"))
            body["tool_choice"] = {"type": "function", "function": {"name": name}}
        elif not isinstance(kind, str) or kind not in _CHOICES:
            raise ProblemError(invalid("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'"))
        elif "tools" in body:
            body["tool_choice"] = _CHOICES[kind]
        elif kind == "any":
            raise ProblemError(invalid("tool_choice: no tool that could be called can be carried to this model"))
        if choice.get("disable_parallel_tool_use") is True and "tools" in body and kind != "none":
            body["parallel_tool_calls"] = False


def _speak_of_json(body: Json) -> None:
    """See that the conversation speaks of JSON: OpenAI, and who follows it closely, refuses to give any otherwise."""
    messages = body["messages"]
    if b"json" in msgspec.json.encode(messages).lower():
        return
    first = messages[0] if messages else {}
    if first.get("role") in {"system", "developer"} and isinstance(first.get("content"), str):
        body["messages"] = [{**first, "content": f"{first['content']}\n\n{_JSON_ONLY}"}, *messages[1:]]
    else:
        body["messages"] = [{"role": "system", "content": _JSON_ONLY}, *messages]


def _word(effort: Any) -> str | None:
    return _EFFORTS.get(effort) if isinstance(effort, str) else None


def _effort(budget: Any) -> str:
    for word, most in (("low", 2_048), ("medium", 8_192), ("high", 24_576)):
        if isinstance(budget, int) and budget <= most:
            return word
    return "xhigh"


def _strict(schema: Any) -> bool:
    """Whether a schema is one that strict mode takes: objects are closed, and all they name is required."""
    if isinstance(schema, list):
        return all(_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        properties, required = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        # A set, because schemas may name many; what is no text names nothing.
        if not isinstance(required, list) or not properties.keys() <= {name for name in required if type(name) is str}:
            return False
        if not all(_strict(part) for part in properties.values()):
            return False
    return all(_strict(part) for name, part in schema.items() if name not in {"properties", "enum", "const", "default"})
