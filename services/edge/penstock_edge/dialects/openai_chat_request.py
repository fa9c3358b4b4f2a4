"""A chat.completions request, read whole into the canonical form."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock_edge.canonical import Extras, Json, Request
from penstock_edge.dialects.openai_caching import CACHE_OPTIONS, CACHE_RETENTIONS, wants_cache
from penstock_edge.dialects.openai_chat_messages import Messages
from penstock_edge.dialects.openai_chat_tools import Names, Tools
from penstock_edge.dialects.openai_names import CONVERSATION, chosen
from penstock_edge.dialects.unreadable import UNREADABLE, unreadable, wrong, wrong_type
from penstock_edge.notes import Notes

_decode = msgspec.json.Decoder(dict[str, Any]).decode

_CARRIED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "temperature",
        "top_p",
        "top_k",
        "n",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "response_format",
        "reasoning_effort",
        "thinking",
        "prompt_cache_key",
        "user",
        "safety_identifier",
        "metadata",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "modalities",
    }
)
# What asks for nothing, so that nothing is lost with it.
_IDLE: Final[dict[str, tuple[object, ...]]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "logit_bias": ({},),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "prompt_cache_options": CACHE_OPTIONS,
    "prompt_cache_retention": CACHE_RETENTIONS,
}
# A tuple, because what is looked for may be of any type.
_MODALITIES: Final = ("text", "image")
_NAMES: Final = {
    "messages": "messages",
    "tools": "tools",
    "stop_sequences": "stop",
    "output_config.effort": "reasoning_effort",
    "output_config.format": "response_format",
    "reasoning.effort": "reasoning_effort",
    "tool_choice.disable_parallel_tool_use": "parallel_tool_calls",
}
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class ReadRequest:
    """What a chat request says, and what its answer must look like."""

    __slots__ = ("legacy", "names", "request")

    def __init__(self, body: bytes) -> None:
        try:
            document = _decode(body)
        except UNREADABLE as error:
            raise unreadable(error) from None
        ignored = Notes()
        self.names = Names()
        """What the client calls its tools."""
        _refuse_the_uncarriable(document)
        tools = Tools(self.names, ignored)
        written = _body(document, tools, ignored)
        self.request = Request(written, _extras(document), ignored, _names(document, written))
        self.legacy = tools.legacy
        """Calls go out as `function_call`."""
        _list_the_rest(document, ignored)


def _body(document: Json, tools: Tools, ignored: Notes) -> Json:
    messages = Messages(tools.names, ignored)
    if not isinstance(document.get("messages"), list):
        raise wrong("messages", "field required")
    declared, choice = tools.read(document)
    messages.read(document["messages"])
    body: Json = {"messages": messages.turns}
    if messages.system:
        body["system"] = messages.system
    if declared:
        body["tools"] = declared
        if choice is not None:
            body["tool_choice"] = choice
    _limits(document, body)
    _sampling(document, body)
    _thinking(document, body)
    _format(document, body, ignored)
    _person(document, body, ignored)
    return body


def _names(document: Json, body: Json) -> dict[str, str]:
    """Return what this client calls the fields of its canonical request."""
    names = dict(_NAMES)
    if document.get("max_completion_tokens") is not None:
        names["max_tokens"] = "max_completion_tokens"
    if document.get("thinking") is None and document.get("reasoning_effort") is not None:
        names["thinking"] = "reasoning_effort"
    if document.get("parallel_tool_calls") is None:
        # Old clients have room for one call only, and no word for that.
        names["tool_choice.disable_parallel_tool_use"] = ""
    user_id = (body.get("metadata") or {}).get("user_id")
    if user_id is not None:
        fields = (CONVERSATION, "user", "safety_identifier")
        names["metadata"] = names["metadata.user_id"] = next(
            (field for field in fields if document.get(field) == user_id), "metadata.user_id"
        )
    return names


def _limits(document: Json, body: Json) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        most = document.get(name)
        if most is None:
            continue
        if not isinstance(most, int) or isinstance(most, bool):
            raise wrong_type(name, "int")
        if most < 1:
            raise wrong(name, "Input should be greater than 0")
        body.setdefault("max_tokens", most)
    stop = document.get("stop")
    if stop is None:
        return
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise wrong("stop", "Input should be a valid string or list of strings")
    stops = [text for text in stops if text]
    if stops:
        body["stop_sequences"] = stops


def _sampling(document: Json, body: Json) -> None:
    for name in ("temperature", "top_p"):
        value = _number(document, name)
        if value is not None:
            body[name] = value
    top_k = document.get("top_k")
    if top_k is not None:
        if not isinstance(top_k, int) or isinstance(top_k, bool):
            raise wrong_type("top_k", "int")
        # Some servers know 0 and -1 as "all".
        if top_k > 0:
            body["top_k"] = top_k


def _number(document: Json, name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_type(name, "float")
    return value


def _thinking(document: Json, body: Json) -> None:
    effort = document.get("reasoning_effort")
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort is not None:
        word = _EFFORTS.get(effort) if isinstance(effort, str) else None
        if word is None:
            raise wrong(
                "reasoning_effort", "Input should be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'"
            )
        body["output_config"] = {"effort": word}
    thinking = document.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in {"enabled", "adaptive", "disabled"}:
        raise wrong("thinking.type", "Input should be 'enabled', 'adaptive' or 'disabled'")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or isinstance(budget, bool):
            raise wrong_type("thinking.budget_tokens", "int")
        if budget < 0:
            raise wrong("thinking.budget_tokens", "Input should be greater than or equal to 0")
    body["thinking"] = {name: value for name, value in thinking.items() if value is not None}


def _format(document: Json, body: Json, ignored: list[str]) -> None:
    wanted = _response_format(document)
    if wanted is None or wanted["type"] != "json_schema":
        return
    schema = wanted["json_schema"].get("schema")
    if not isinstance(schema, dict):
        raise wrong_type("response_format.json_schema.schema", "object")
    if wanted["json_schema"].get("description"):
        ignored.append("response_format.json_schema.description")
    body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}


def _response_format(document: Json) -> Json | None:
    wanted = document.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(kind, str) or kind not in {"text", "json_object", "json_schema"}:
        raise wrong("response_format.type", "Input should be 'text', 'json_object' or 'json_schema'")
    if kind == "json_schema" and not isinstance(wanted.get("json_schema"), dict):
        raise wrong("response_format.json_schema", "field required")
    return dict(wanted)


def _person(document: Json, body: Json, ignored: list[str]) -> None:
    metadata = document.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise wrong_type("metadata", "object")
    names = {name: document.get(name) for name in (CONVERSATION, "user", "safety_identifier")}
    names["metadata.user_id"] = (metadata or {}).get("user_id")
    for name, value in names.items():
        if value is not None and not isinstance(value, str):
            raise wrong_type(name, "str")
    found = chosen(names, ignored)
    if found:
        body["metadata"] = {"user_id": found}
    if metadata and metadata.keys() - {"user_id"}:
        ignored.append("metadata")


def _extras(document: Json) -> Extras:
    seed = document.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise wrong_type("seed", "int")
    wanted = _response_format(document) or {"type": "text"}
    name = wanted["json_schema"].get("name") if wanted["type"] == "json_schema" else ""
    return Extras(
        seed=seed,
        frequency_penalty=_number(document, "frequency_penalty"),
        presence_penalty=_number(document, "presence_penalty"),
        json_object=wanted["type"] == "json_object",
        images="image" in (document.get("modalities") or ()),
        schema_name=name if isinstance(name, str) else "",
        cached=wants_cache(document),
    )


def _refuse_the_uncarriable(document: Json) -> None:
    """Refuse what the answer would lack: it could not be what was asked for."""
    if document.get("n") not in (None, 1) or isinstance(document.get("n"), bool):
        raise wrong("n", "only one choice can be asked of this model")
    for name in ("logprobs", "top_logprobs"):
        if document.get(name):
            raise wrong(name, "this model gives no log probabilities")
    modalities = document.get("modalities")
    if modalities and (not isinstance(modalities, list) or any(one not in _MODALITIES for one in modalities)):
        raise wrong("modalities", "this model answers with text or images only")


def _list_the_rest(document: Json, ignored: list[str]) -> None:
    for name, value in document.items():
        if name in _CARRIED or value is None or value in _IDLE.get(name, ()):
            continue
        ignored.append(name[:64])
    options = document.get("stream_options")
    if isinstance(options, dict):
        ignored += [
            f"stream_options.{name[:64]}" for name, value in options.items() if name != "include_usage" and value
        ]
