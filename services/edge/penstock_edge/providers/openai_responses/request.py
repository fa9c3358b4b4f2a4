"""Writes a canonical request as a Responses request."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.notes import Notes
from penstock_edge.providers.losses import THINKING, lost, note_lost
from penstock_edge.providers.openai_responses.gpt_manners import EFFORTS, bounded, effort_of, manners
from penstock_edge.providers.openai_responses.input_items import InputItems
from penstock_edge.providers.openai_responses.schemas import completed, is_an_answers, is_strict
from penstock_edge.providers.request_json import TOO_DEEP, encoded
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request
    from penstock_edge.providers.wire import Addressee

_CARRIED: Final = frozenset(
    {
        "max_tokens",
        "messages",
        "metadata",
        "output_config",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
    }
)
_OF_TOOLS: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_NEVER: Final = ("seed", "frequency_penalty", "presence_penalty")
_COUNTED: Final = ("model", "input", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools")
_LEAST_TOKENS: Final = 16
_HIGHEST_TEMPERATURE: Final = 2
_LONGEST_CACHE_KEY: Final = 64
_LONGEST_SCHEMA_NAME: Final = 64
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_JSON_ONLY: Final = {"type": "text", "text": "Answer with one JSON object and nothing else."}
_BY_SCHEMA: Final = "Answer with JSON that follows this schema and nothing else: "


def write(request: Request, to: Addressee, *, streamed: bool) -> Written:
    """Return the request. Raises ProblemError (400, naming the field)."""
    draft = _Draft(request, to)
    body = draft.write()
    body["stream"] = streamed
    body["store"] = False
    return Written(encoded(body), draft.ignored)


def write_count(request: Request, to: Addressee) -> Written:
    """Return the request to count tokens. Raises ProblemError (400, naming the field)."""
    draft = _Draft(request, to)
    body = draft.write()
    return Written(encoded({name: body[name] for name in _COUNTED if name in body}), draft.ignored)


class _Draft:
    """A request on its way."""

    def __init__(self, request: Request, to: Addressee) -> None:
        self.ignored = Notes()
        self._request = request
        self._asked = request.body
        self._to = to
        self._manners = manners(to.model)
        self._body: Json = {"model": to.model}

    def write(self) -> Json:
        """Return the whole body, but for what depends on how it is sent."""
        try:
            self._input()
            self._tools()
            self._choice()
            self._reasoning()
            self._text()
        except RecursionError:
            raise ProblemError(TOO_DEEP) from None
        self._sampling()
        self._rest()
        return self._body

    def _input(self) -> None:
        items = InputItems(self.ignored, reasons=self._manners.reasons)
        items.instruct(self._asked.get("system", []))
        if self._request.extras.json_object and b"json" not in self._spoken().lower():
            # The upstream refuses to give JSON to a conversation that never speaks of it.
            items.instruct([_JSON_ONLY])
        schema = self._schema()
        if schema is not None and not is_an_answers(schema):
            # A list, say: the upstream takes only objects.
            items.instruct([{"type": "text", "text": _BY_SCHEMA + encoded(schema).decode()}])
        items.read(self._asked["messages"])
        self._body["input"] = items.items

    def _spoken(self) -> bytes:
        return encoded([self._asked.get("system"), self._asked["messages"]])

    def _tools(self) -> None:
        tools = []
        for index, tool in enumerate(self._asked.get("tools") or ()):
            kind = tool.get("type")
            if kind not in (None, "custom"):
                self.ignored.append(f"tools.{index} ({str(kind)[:64]})")
                continue
            if tool.get("cache_control"):
                self.ignored.once("cache_control")
            note_lost(self.ignored, "tools", tool, _OF_TOOLS)
            tools.append(self._tool(tool, f"tools.{index}"))
        if tools:
            self._body["tools"] = tools

    def _tool(self, tool: Json, where: str) -> Json:
        schema = tool.get("input_schema")
        schema = dict(completed(schema)) if isinstance(schema, dict) else {}
        schema.setdefault("type", "object")
        # The upstream refuses an object without them.
        schema.setdefault("properties", {})
        strict = bool(tool.get("strict"))
        if strict and not is_strict(schema):
            strict = False
            self.ignored.append(f"{where}.strict")
        # Said in any case: left out, it would mean true.
        written: Json = {"type": "function", "name": tool["name"], "parameters": schema, "strict": strict}
        if isinstance(tool.get("description"), str):
            written["description"] = tool["description"]
        return written

    def _choice(self) -> None:
        choice = self._asked.get("tool_choice")
        if not isinstance(choice, dict):
            return
        kind, tools = choice.get("type"), self._body.get("tools", [])
        if kind == "tool":
            name = choice.get("name")
            if not any(tool["name"] == name for tool in tools):
                raise _refused("tool_choice", "the chosen tool cannot be carried to this model")
            self._body["tool_choice"] = {"type": "function", "name": name}
        elif kind == "any" and not tools:
            raise _refused("tool_choice", "none of the tools can be carried to this model")
        elif tools:
            if not isinstance(kind, str) or kind not in _CHOICES:
                raise _refused("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
            self._body["tool_choice"] = _CHOICES[kind]
        if tools and choice.get("disable_parallel_tool_use") is True:
            self._body["parallel_tool_calls"] = False

    def _reasoning(self) -> None:
        wanted = self._asked.get("thinking")
        kind = wanted.get("type") if isinstance(wanted, dict) else None
        config = self._asked.get("output_config")
        effort = config.get("effort") if isinstance(config, dict) else None
        if effort is not None and effort not in EFFORTS:
            raise _refused("output_config.effort", "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
        if not self._manners.reasons:
            self.ignored += [
                name
                for name, asked in (("thinking", kind not in (None, "disabled")), ("output_config.effort", effort))
                if asked
            ]
            return
        self.ignored += lost("thinking", wanted if isinstance(wanted, dict) else {}, THINKING)
        self._body["include"] = ["reasoning.encrypted_content"]
        if kind == "disabled":
            self._body["reasoning"] = {"effort": self._manners.least}
            if self._manners.least != "none":
                self.ignored.append(f"reasoning.effort={self._manners.least}")
            return
        if kind not in (None, "enabled", "adaptive"):
            self.ignored.append("thinking=adaptive")
        if effort is None and kind == "enabled":
            budget = wanted.get("budget_tokens") if isinstance(wanted, dict) else None
            effort = effort_of(budget) if isinstance(budget, int) else None
        if effort is None and kind is not None and self._manners.least == "none":
            # Without a word about it some of these do not think at all.
            effort = "medium"
        reasoning: Json = {}
        if effort is not None:
            reasoning["effort"] = bounded(effort, self._manners.most)
            if reasoning["effort"] != effort:
                self.ignored.append(f"output_config.effort={reasoning['effort']}")
        if kind is not None:
            reasoning["summary"] = "auto"
        if reasoning:
            self._body["reasoning"] = reasoning

    def _text(self) -> None:
        schema = self._schema()
        if schema is not None and is_an_answers(schema):
            strict = is_strict(schema)
            schema = {**completed(schema)}
            # The upstream refuses an object without them.
            schema.setdefault("properties", {})
            name = self._request.extras.schema_name[:_LONGEST_SCHEMA_NAME] or "answer"
            self._body["text"] = {"format": {"type": "json_schema", "name": name, "schema": schema, "strict": strict}}
        elif schema is not None:
            self.ignored.append("output_config.format (only asked for in words)")
        elif self._request.extras.json_object:
            self._body["text"] = {"format": {"type": "json_object"}}

    def _schema(self) -> Json | None:
        """Return the schema that the answer is to follow."""
        config = self._asked.get("output_config")
        wanted = config.get("format") if isinstance(config, dict) else None
        if wanted is None:
            return None
        schema = wanted.get("schema") if isinstance(wanted, dict) else None
        if not isinstance(schema, dict):
            raise _refused("output_config.format.schema", "field required")
        return schema

    def _sampling(self) -> None:
        asked, body = self._asked, self._body
        if self._manners.reasons and body.get("reasoning", {}).get("effort") != "none":
            self.ignored += [name for name in ("temperature", "top_p") if asked.get(name) is not None]
        else:
            temperature = asked.get("temperature")
            if temperature is not None and temperature > _HIGHEST_TEMPERATURE:
                temperature = _HIGHEST_TEMPERATURE
                self.ignored.append(f"temperature={temperature}")
            for name, value in (("temperature", temperature), ("top_p", asked.get("top_p"))):
                if value is not None:
                    body[name] = value
        most = asked.get("max_tokens")
        if most is not None:
            body["max_output_tokens"] = self._bounded(most)

    def _bounded(self, most: int) -> int:
        highest = self._to.max_output_tokens
        allowed = max(_LEAST_TOKENS, min(most, highest) if highest > 0 else most)
        if allowed != most:
            self.ignored.append(f"max_tokens={allowed}")
        return allowed

    def _rest(self) -> None:
        metadata = self._asked.get("metadata")
        user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
        if isinstance(user_id, str) and user_id:
            self._body["prompt_cache_key"] = _cache_key(user_id)
        extras = self._request.extras
        self.ignored += [name for name in _NEVER if getattr(extras, name) is not None]
        self.ignored += [name[:64] for name, value in self._asked.items() if name not in _CARRIED and value]
        config = self._asked.get("output_config")
        if isinstance(config, dict):
            self.ignored += [f"output_config.{name[:64]}" for name in config if name not in ("effort", "format")]


def _cache_key(user_id: str) -> str:
    if len(user_id) <= _LONGEST_CACHE_KEY:
        return user_id
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _refused(where: str, words: str) -> ProblemError:
    return ProblemError(invalid(f"{where}: {words}"))
