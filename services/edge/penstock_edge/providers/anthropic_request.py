"""Writes a canonical request for one Claude model: the form is the same, the manners differ by model."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.anthropic_marks import with_latest_marks
from penstock_edge.providers.anthropic_turns import texts, turns
from penstock_edge.providers.claude_manners import manners
from penstock_edge.providers.claude_schemas import enforced, is_open
from penstock_edge.providers.claude_thinking import express
from penstock_edge.providers.request_json import TOO_DEEP, encoded
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request
    from penstock_edge.providers.claude_manners import Manners
    from penstock_edge.providers.wire import Addressee

_USUAL_MAX_TOKENS: Final = 32_000
_JSON_ONLY: Final = {"type": "text", "text": "Answer with one JSON object and nothing else."}
_BY_SCHEMA: Final = "Answer with JSON that follows this schema and nothing else: "
_COUNTED: Final = ("messages", "system", "tools", "tool_choice", "thinking", "output_config")
_MARK: Final = b'"cache_control":{'
_MOST_MARKS: Final = 4
_LONGEST_USER_ID: Final = 256
_PERSONAL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\A\+?[\d\s()./-]{7,}\Z")


def write(request: Request, to: Addressee, *, streamed: bool) -> Written:
    """Return the Messages request. Raises ProblemError for what the model cannot do."""
    draft = _Draft(request, to)
    draft.body["max_tokens"] = draft.max_tokens()
    if streamed:
        draft.body["stream"] = True
    draft.shape()
    body = encoded(draft.body)
    marks = body.count(_MARK)
    if marks > _MOST_MARKS:
        bounded, dropped = with_latest_marks(draft.body, _MOST_MARKS)
        if dropped:
            draft.ignored.append(f"cache_control (all but the last {_MOST_MARKS})")
            body = encoded(bounded)
    elif not marks and request.extras.cached:
        # Claude then remembers everything up to the last block, and finds it again when that is no longer the last.
        body = body[:-1] + b',"cache_control":{"type":"ephemeral"}}'
    return Written(body, draft.ignored)


def write_count(request: Request, to: Addressee) -> Written:
    """Return the request to count tokens."""
    draft = _Draft(request, to)
    draft.shape()
    counted = {"model": to.model} | {name: draft.body[name] for name in _COUNTED if name in draft.body}
    return Written(encoded(counted), draft.ignored)


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
        """Make everything fit the model. Raises ProblemError."""
        try:
            self._extras()
            self._conversation()
            self._tools()
            self._format()
        except RecursionError:
            raise ProblemError(TOO_DEEP) from None
        self._thinking()
        self._sampling()
        self._stops()
        self._person()

    def _extras(self) -> None:
        extras = self._request.extras
        for name in ("seed", "frequency_penalty", "presence_penalty"):
            if getattr(extras, name) is not None:
                self.ignored.append(name)
        if extras.json_object:
            self.body["system"] = [*self.body.get("system", ()), _JSON_ONLY]

    def _conversation(self) -> None:
        self.body["messages"] = turns(self.body["messages"], self.ignored)
        system = texts(self.body.pop("system", []), "system", self.ignored)
        if system:
            self.body["system"] = system

    def _format(self) -> None:
        wanted = (self.body.get("output_config") or {}).get("format")
        if wanted is None:
            return
        if not self._manners.structured:
            raise ProblemError(invalid(f"output_config.format: {self._to.model} has no structured output"))
        schema = wanted.get("schema") or {}
        kept = self._enforced("output_config.format", schema)
        if kept is None:
            self._format_in_words(schema)
        else:
            strict = {"type": "json_schema", "schema": kept}
            self.body["output_config"] = {**self.body["output_config"], "format": strict}

    def _format_in_words(self, schema: Json) -> None:
        told = {"type": "text", "text": _BY_SCHEMA + encoded(schema).decode()}
        self.body["system"] = [*self.body.get("system", ()), told]
        rest = {name: value for name, value in self.body.pop("output_config").items() if name != "format"}
        if rest:
            self.body["output_config"] = rest
        self.ignored.append("output_config.format (only asked for in words)")

    def _enforced(self, where: str, schema: Json) -> Json | None:
        """Return the schema as the API takes it where the model is to keep to it; None when it cannot."""
        in_words: set[str] = set()
        kept: Json = enforced(schema, in_words)
        if is_open(kept):
            return None
        if in_words:
            self.ignored.append(f"{where} ({', '.join(sorted(in_words))}: only asked for in words)")
        return kept

    def _thinking(self) -> None:
        most = self.body["max_tokens"] if "max_tokens" in self.body else self.max_tokens()
        express(self.body, self._manners, most, self.ignored)

    def _sampling(self) -> None:
        body = self.body
        if not self._manners.sampling:
            # What is usual anyway is no loss.
            self.ignored += [name for name in ("temperature", "top_p", "top_k") if body.pop(name, 1) != 1]
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
            self.ignored.append("stop_sequences (white space only)")
        if kept:
            self.body["stop_sequences"] = kept
        else:
            del self.body["stop_sequences"]

    def _tools(self) -> None:
        tools = self.body.pop("tools", None)
        if tools:
            self.body["tools"] = [self._tool(index, tool) for index, tool in enumerate(tools)]
        else:
            # There is nothing to choose from.
            self.body.pop("tool_choice", None)

    def _tool(self, index: int, tool: Json) -> Json:
        schema = tool.get("input_schema") or {}
        if schema.get("type") != "object":
            schema = {**schema, "type": "object"}
        if not tool.get("strict"):
            return {**tool, "input_schema": schema}
        kept = self._enforced(f"tools.{index}.strict", schema)
        if kept is None:
            self.ignored.append(f"tools.{index}.strict")
            return {**tool, "input_schema": schema, "strict": False}
        return {**tool, "input_schema": kept}

    def _person(self) -> None:
        """Give the API a name that it takes: none that is long, or that looks as if it told whose it is."""
        user_id = (self.body.get("metadata") or {}).get("user_id")
        if isinstance(user_id, str) and (len(user_id) > _LONGEST_USER_ID or _PERSONAL.search(user_id)):
            digest = blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            self.body["metadata"] = {"user_id": digest}
