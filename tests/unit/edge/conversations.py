"""Conversations as clients of each dialect may send them, drawn at random: valid, though no client would be so odd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from penstock_edge import signatures
from penstock_simulator.anthropic.signature import issue as claude_signs
from penstock_simulator.gemini.signature import issue as google_signs
from penstock_simulator.openai.sealed import seal

if TYPE_CHECKING:
    from random import Random

Json = dict[str, Any]
PNG, PDF = "iVBORw0KGgp4eHh4", "JVBERi0xLjQgeHh4eHg="
IMAGE_URL, PDF_URL = "https://pictures.invalid/a.png", "https://papers.invalid/a.pdf"
TEXTS = ("hi", "what now?", " ", "\n", "", "trailing blank ", "\u2028x", "y" * 50)
NAMES = ("weather", "get_time", "mcp__" + "x" * 70, "1st_tool", "a-b")
SCHEMAS: tuple[Json, ...] = (
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    {"type": "object", "properties": {}},
    {"type": "object"},
    {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}, "l": {"type": "array", "items": {"type": "integer"}}},
        "required": ["a", "l"],
        "additionalProperties": False,
    },
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string", "enum": ["q"]}}},
    {"type": "object", "additionalProperties": {"type": "string"}},
    {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]}},
        "required": ["a"],
        "additionalProperties": {"type": "integer"},
    },
)
RESULTS = ("ok", "", " ", '{"a": 1}', "picture", "pieces")


def chance(random: Random, odds: float) -> bool:
    return random.random() < odds


def signature(random: Random) -> tuple[str, str]:
    """Return a thought and its signature: by each provider, by nobody, or by whom nobody knows."""
    thought = random.choice(("hm", ""))
    signed = {
        "Anthropic": random.choice((claude_signs(thought), "redacted:abc=")),
        "OpenAI": json.dumps({"id": f"rs_{random.getrandbits(32)}", "encrypted_content": seal("org", "hm", 5)}),
        "Gemini": random.choice((google_signs(3, 0), "")),
    }
    maker = random.choice((*signed, "nobody", "unknown"))
    if maker in signed:
        return thought, signatures.tag(signed[maker], maker)
    return thought, "" if maker == "nobody" else "d2hhdGV2ZXI="


class Drawn:
    """One conversation: turns of (role, pieces) and what is asked beside them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = random.sample(NAMES, random.randint(1, 3)) if chance(random, 0.6) else []
        self.turns: list[tuple[str, list[Any]]] = []
        self._calls = 0
        if chance(random, 0.08):
            self.turns.append(("assistant", [("text", "hello, I begin")]))
        for left in range(random.randint(0, 3), -1, -1):
            self._user()
            for _ in range(random.randint(0, 2) if self.names else 0):
                self._tools()
            if left:
                self.turns.append(("assistant", [*self._thought(0.4), ("text", random.choice(TEXTS))]))
        self.options = self._options()

    def _user(self) -> None:
        pieces: list[Any] = [("text", self.random.choice(TEXTS)) for _ in range(self.random.randint(1, 3))]
        for kind, odds in (("image", 0.15), ("document", 0.1)):
            if chance(self.random, odds):
                pieces.append((kind, self.random.choice(("data", "url"))))
        # Something to answer, so that the conversation does not end with the assistant's words.
        self.turns.append(("user", [*pieces, ("text", "so?")]))

    def _thought(self, odds: float) -> list[Any]:
        return [("thinking", *signature(self.random))] if chance(self.random, odds) else []

    def _tools(self) -> None:
        random = self.random
        calls = []
        if chance(random, 0.15):
            # As servers do that number the calls of each turn anew.
            self._calls = 0
        for _ in range(random.randint(1, 3)):
            self._calls += 1
            given = random.choice(("call_{}", "toolu_{}", "functions.x:{}", "c" * 60 + "{}")).format(self._calls)
            calls.append(("call", given, random.choice(self.names), random.choice(({}, {"city": "Bern", "x": None}))))
        said = [("text", random.choice(TEXTS))] if chance(random, 0.4) else []
        self.turns.append(("assistant", [*self._thought(0.5), *said, *calls]))
        answers = [("result", given, name, random.choice(RESULTS), chance(random, 0.2)) for _, given, name, _ in calls]
        self.turns.append(("results", answers))

    def _options(self) -> Json:
        random = self.random
        some: list[tuple[str, float, tuple[Any, ...]]] = [
            ("system", 0.4, TEXTS),
            ("choice", 0.5 if self.names else 0, ("auto", "any", "none", "tool")),
            ("temperature", 0.4, (0, 0.5, 1, 1.0, 1.7, 2)),
            ("top_p", 0.3, (0.1, 0.9, 1)),
            ("top_k", 0.2, (1, 5, 40)),
            ("stops", 0.3, (["END"], [" ", "\n\n"], list("abcdefg"))),
            ("most", 0.7, (1, 5, 16, 500, 1024, 1025, 4000, 30_000, 200_000)),
            ("thinking", 0.6, (0, -1, 100, 2000, 60_000, "minimal", "low", "medium", "high", "xhigh", "adaptive")),
            ("shown", 0.5, (True, False)),
            ("schema", 0.25, SCHEMAS),
            ("json", 0.1, (True,)),
            ("seed", 0.2, (0, -1, 2**40)),
            ("penalty", 0.15, (0, 0.5, -2)),
            ("user", 0.2, ("u1", "x" * 300)),
        ]
        return {name: random.choice(values) for name, odds, values in some if chance(random, odds)}


def strict(random: Random) -> Json:
    """Return whether a tool's calls are to keep to its schema, if that is said."""
    return {"strict": random.choice((True, False))} if chance(random, 0.3) else {}


def copied(options: Json, names: Json) -> Json:
    return {field: options[name] for name, field in names.items() if name in options}


def messages(drawn: Drawn) -> Json:
    """Return a Messages request."""
    random, options = drawn.random, drawn.options
    turns = []
    for role, pieces in drawn.turns:
        content = [_block(piece) for piece in pieces]
        if role == "results" and chance(random, 0.2):
            content.insert(random.randint(0, len(content)), {"type": "text", "text": "and now"})
        turns.append({"role": "assistant" if role == "assistant" else "user", "content": content})
    body: Json = {"model": "m", "messages": turns, "max_tokens": options.get("most", 1000)}
    body |= copied(options, {n: n for n in ("system", "temperature", "top_p", "top_k")} | {"stops": "stop_sequences"})
    if drawn.names:
        body["tools"] = [
            {"name": name, "input_schema": random.choice(SCHEMAS)} | strict(random) for name in drawn.names
        ]
    if "choice" in options:
        named = {"name": drawn.names[0]} if options["choice"] == "tool" else {}
        body["tool_choice"] = {"type": options["choice"], **named}
    wanted = options.get("thinking")
    if isinstance(wanted, int):
        kinds = {0: "disabled", -1: "adaptive"}
        budget = {} if wanted in kinds else {"budget_tokens": wanted}
        body["thinking"] = {"type": kinds.get(wanted, "enabled"), **budget}
    elif wanted is not None:
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": wanted} if wanted not in {"minimal", "adaptive"} else {}
    if "thinking" in body and "shown" in options:
        body["thinking"]["display"] = "summarized" if options["shown"] else "omitted"
    if "schema" in options:
        wanted_form = {"type": "json_schema", "schema": options["schema"]}
        body["output_config"] = body.get("output_config", {}) | {"format": wanted_form}
    if "user" in options:
        body["metadata"] = {"user_id": options["user"]}
    return body


def _block(piece: tuple[Any, ...]) -> Json:
    match piece:
        case ("text", text):
            return {"type": "text", "text": text}
        case ("thinking", thought, signed):
            return {"type": "thinking", "thinking": thought, "signature": signed}
        case ("call", given, name, arguments):
            return {"type": "tool_use", "id": given, "name": name, "input": arguments}
        case ("result", given, _, what, failed):
            block = {"type": "tool_result", "tool_use_id": given, "content": _told(what)}
            return block | ({"is_error": True} if failed else {})
        case (kind, "data"):
            media_type, data = ("image/png", PNG) if kind == "image" else ("application/pdf", PDF)
            return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}
        case (kind, _):
            return {"type": kind, "source": {"type": "url", "url": IMAGE_URL if kind == "image" else PDF_URL}}
    raise AssertionError(piece)


def _told(what: str) -> Any:
    if what == "pieces":
        return [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]
    return [{"type": "text", "text": "see"}, _block(("image", "data"))] if what == "picture" else what


def generate(drawn: Drawn) -> Json:
    """Return a Gemini request."""
    random, options = drawn.random, drawn.options
    named = chance(random, 0.5)
    contents = [
        {"role": "model" if role == "assistant" else "user", "parts": _parts(pieces, named=named)}
        for role, pieces in drawn.turns
    ]
    body: Json = {"contents": contents}
    if "system" in options:
        body["systemInstruction"] = {"parts": [{"text": options["system"]}]}
    if drawn.names:
        declared = [{"name": name, "parametersJsonSchema": random.choice(SCHEMAS)} for name in drawn.names]
        body["tools"] = [{"functionDeclarations": declared}]
    if "choice" in options:
        calling = {"mode": {"auto": "AUTO", "none": "NONE"}.get(options["choice"], "ANY")}
        allowed = {"allowedFunctionNames": drawn.names[:1]} if options["choice"] == "tool" else {}
        body["toolConfig"] = {"functionCallingConfig": calling | allowed}
    fields = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "stops": "stopSequences"}
    config = copied(options, fields | {"most": "maxOutputTokens", "seed": "seed", "penalty": "presencePenalty"})
    wanted = options.get("thinking")
    thinking: Json = {"thinkingBudget": wanted} if isinstance(wanted, int) else {}
    if isinstance(wanted, str) and wanted != "adaptive":
        thinking["thinkingLevel"] = wanted.upper()
    config["thinkingConfig"] = thinking | copied(options, {"shown": "includeThoughts"})
    if "json" in options or "schema" in options:
        config["responseMimeType"] = "application/json"
    body["generationConfig"] = config | copied(options, {"schema": "responseJsonSchema"})
    return body


def _parts(pieces: list[Any], *, named: bool) -> list[Json]:
    parts: list[Json] = []
    waiting = ""
    for piece in pieces:
        match piece:
            case ("thinking", thought, signed):
                if not thought:
                    waiting = signed
                    continue
                parts.append({"text": thought, "thought": True} | ({"thoughtSignature": signed} if signed else {}))
                continue
            case ("text", text):
                part: Json = {"text": text}
            case ("call", given, name, arguments):
                part = {"functionCall": {"name": name, "args": arguments} | ({"id": given} if named else {})}
            case ("result", given, name, what, failed):
                response = {"error": what} if failed else {"result": what}
                part = {"functionResponse": {"name": name, "response": response} | ({"id": given} if named else {})}
            case (kind, "data"):
                media_type, data = ("image/png", PNG) if kind == "image" else ("application/pdf", PDF)
                part = {"inlineData": {"mimeType": media_type, "data": data}}
            case (kind, _):
                part = {"fileData": {"fileUri": IMAGE_URL if kind == "image" else PDF_URL}}
        if waiting:
            part["thoughtSignature"], waiting = waiting, ""
        parts.append(part)
    return parts


def chat(drawn: Drawn) -> Json:
    """Return a chat.completions request."""
    random, options = drawn.random, drawn.options
    turns: list[Json] = []
    if "system" in options:
        turns.append({"role": random.choice(("system", "developer")), "content": options["system"]})
    for role, pieces in drawn.turns:
        if role == "results":
            turns += [
                {"role": "tool", "tool_call_id": given, "content": _told("pieces") if what == "pieces" else what}
                for _, given, _, what, _ in pieces
            ]
        elif role == "user":
            turns.append({"role": "user", "content": [_chat_part(piece) for piece in pieces]})
        else:
            turns.append(_chat_message(pieces))
    body: Json = {"model": "m", "messages": turns}
    if drawn.names:
        functions = [{"name": name, "parameters": random.choice(SCHEMAS)} | strict(random) for name in drawn.names]
        body["tools"] = [{"type": "function", "function": function} for function in functions]
    if "choice" in options:
        named = {"type": "function", "function": {"name": drawn.names[0]}}
        body["tool_choice"] = {"any": "required", "tool": named}.get(options["choice"], options["choice"])
    fields = {n: n for n in ("temperature", "top_p", "seed", "user")}
    body |= copied(options, fields | {"most": "max_completion_tokens", "penalty": "presence_penalty"})
    if "stops" in options:
        body["stop"] = options["stops"][:4]
    wanted = options.get("thinking")
    if isinstance(wanted, str) and wanted != "adaptive":
        body["reasoning_effort"] = wanted
    elif isinstance(wanted, int) and wanted > 0:
        body["thinking"] = {"type": "enabled", "budget_tokens": wanted}
    if "schema" in options:
        wanted_form = {"name": "x", "schema": options["schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted_form}
    elif "json" in options:
        body["response_format"] = {"type": "json_object"}
    return body


def _chat_part(piece: tuple[Any, ...]) -> Json:
    match piece:
        case ("text", text):
            return {"type": "text", "text": text}
        case ("image", where):
            url = f"data:image/png;base64,{PNG}" if where == "data" else IMAGE_URL
            return {"type": "image_url", "image_url": {"url": url}}
    file = {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    return {"type": "file", "file": file}


def _chat_message(pieces: list[Any]) -> Json:
    message: Json = {"role": "assistant", "content": None}
    signed = ""
    for piece in pieces:
        match piece:
            case ("text", text):
                message["content"] = text
            case ("thinking", _, signed):
                pass
            case ("call", given, name, arguments):
                function = {"name": name, "arguments": json.dumps(arguments)}
                call: Json = {"id": given, "type": "function", "function": function}
                if signed:
                    call["extra_content"], signed = {"google": {"thought_signature": signed}}, ""
                message.setdefault("tool_calls", []).append(call)
    if message["content"] is None and "tool_calls" not in message:
        message["content"] = ""
    return message


def responses(drawn: Drawn) -> Json:
    """Return a Responses request."""
    options = drawn.options
    items = [item for role, pieces in drawn.turns for item in _items(role, pieces)]
    body: Json = {"model": "m", "input": items, "store": False}
    if drawn.names:
        body["tools"] = [
            {"type": "function", "name": name, "parameters": drawn.random.choice(SCHEMAS)} | strict(drawn.random)
            for name in drawn.names
        ]
    if "choice" in options:
        named = {"type": "function", "name": drawn.names[0]} if drawn.names else {}
        body["tool_choice"] = {"any": "required", "tool": named}.get(options["choice"], options["choice"])
    fields = {n: n for n in ("temperature", "top_p", "user")}
    body |= copied(options, fields | {"most": "max_output_tokens", "system": "instructions"})
    wanted = options.get("thinking")
    if isinstance(wanted, str) and wanted != "adaptive":
        body["reasoning"] = {"effort": wanted} | ({"summary": "auto"} if options.get("shown") else {})
    if "schema" in options:
        body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": options["schema"]}}
    elif "json" in options:
        body["text"] = {"format": {"type": "json_object"}}
    return body


def _items(role: str, pieces: list[Any]) -> list[Json]:
    if role == "user":
        return [{"role": "user", "content": [_input_part(piece) for piece in pieces]}]
    items: list[Json] = []
    for piece in pieces:
        match piece:
            case ("text", text):
                content = [{"type": "output_text", "text": text}]
                items.append({"type": "message", "role": "assistant", "content": content})
            case ("thinking", thought, signed):
                summary = [{"type": "summary_text", "text": thought}] if thought else []
                items.append(
                    {"type": "reasoning", "summary": summary} | ({"encrypted_content": signed} if signed else {})
                )
            case ("call", given, name, arguments):
                call = {"call_id": given, "name": name, "arguments": json.dumps(arguments)}
                items.append({"type": "function_call", **call})
            case ("result", given, _, what, _):
                items.append({"type": "function_call_output", "call_id": given, "output": what})
    return items


def _input_part(piece: tuple[Any, ...]) -> Json:
    match piece:
        case ("text", text):
            return {"type": "input_text", "text": text}
        case ("image", where):
            url = f"data:image/png;base64,{PNG}" if where == "data" else IMAGE_URL
            return {"type": "input_image", "image_url": url}
        case (_, "url"):
            return {"type": "input_file", "file_url": PDF_URL}
    return {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
