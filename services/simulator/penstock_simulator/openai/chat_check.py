"""Checks a request to Chat Completions as strictly as the real API: what it refuses is refused here, in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.asked import Asked
from penstock_simulator.openai.audio import FORMATS
from penstock_simulator.openai.chat_messages import check_messages
from penstock_simulator.openai.content import Parts
from penstock_simulator.openai.errors import INVALID, invalid, unknown_model
from penstock_simulator.openai.fields import (
    filled,
    may,
    missing,
    need,
    one_of,
    only,
    ranged,
    sized,
    typed,
    unsupported,
    wrong_type,
    wrong_value,
)
from penstock_simulator.openai.manners import check_labels, check_sampling, check_stream, check_verbosity, effort_of
from penstock_simulator.openai.models import CHAT, RESPONSES, foreign
from penstock_simulator.openai.schema import SchemaError, check_schema
from penstock_simulator.openai.tools import chat_tools, name_of
from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.openai.models import Model, Models

_KNOWN = {
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
}
_MOST_CHOICES = 128
_MOST_STOPS = 4


def check_chat(document: Any, models: Models, account: Account) -> Asked:
    """Return what the request asks for; raises RefusalError."""
    if not isinstance(document, dict):
        raise invalid("We could not parse the JSON body of your request: expected an object.")
    model = _model(document, models, account)
    for name in document:
        if name not in _KNOWN or (name == "reasoning_effort" and not model.reasons and not model.free):
            raise invalid(f"Unrecognized request argument supplied: {name}", name, "unknown_parameter")
    messages = need(document, "messages", list)
    asked = Asked(document, model, _room(document, model))
    asked.effort = effort_of(model, may(document, "reasoning_effort", str), "reasoning_effort")
    check_sampling(document, model, asked.effort)
    check_messages(messages, model, Parts(model, responses=False))
    asked.answered = messages[-1]["role"] in {"tool", "function"}
    chat_tools(asked)
    _check_format(asked, messages)
    _check_small_fields(asked)
    _check_audio(asked, messages)
    return asked


def _model(document: dict[str, Any], models: Models, account: Account) -> Model:
    if "model" not in document:
        raise invalid("you must provide a model parameter")
    name = need(document, "model", str)
    if account.compatible:
        if not name or not account.serves(name):
            raise unknown_model(name)
        return foreign(name)
    model = models.find(name)
    if model is None or not account.serves(name):
        raise unknown_model(name)
    if CHAT not in model.endpoints:
        only_responses = "This model is only supported in v1/responses and not in v1/chat/completions."
        none = (
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use "
            "v1/completions?"
        )
        raise RefusalError(404, INVALID, only_responses if RESPONSES in model.endpoints else none, param="model")
    return model


def _room(document: dict[str, Any], model: Model) -> int:
    """Return the most output tokens of one choice."""
    if document.get("max_tokens") is not None:
        if model.reasons:
            raise unsupported("max_tokens", "max_completion_tokens")
        if document.get("max_completion_tokens") is not None:
            raise invalid(
                "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
                "max_tokens",
                "invalid_parameter_combination",
            )
    for name in ("max_tokens", "max_completion_tokens"):
        given = ranged(document, name, int, 1)
        if given is None:
            continue
        if given > model.output and not model.free:
            raise invalid(
                f"{name} is too large: {given}. This model supports at most {model.output} completion tokens, whereas "
                f"you provided {given}.",
                name,
                "invalid_value",
            )
        return int(given)
    return model.output


def _check_format(asked: Asked, messages: list[Any]) -> None:
    form = may(asked.document, "response_format", dict)
    if form is None:
        return
    kind = need(form, "type", str, "response_format")
    if kind not in {"text", "json_object", "json_schema"}:
        raise wrong_value("response_format.type", kind, ("json_object", "json_schema", "text"))
    only(form, {"type", "json_schema"} if kind == "json_schema" else {"type"}, "response_format")
    if kind == "json_object":
        asked.json = True
        if "json" not in str([message.get("content") for message in messages]).lower():
            words = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            raise invalid(words, "messages")
    if kind != "json_schema":
        return
    inner = need(form, "json_schema", dict, "response_format")
    at = "response_format.json_schema"
    only(inner, {"name", "description", "schema", "strict"}, at)
    name = name_of(inner, at)
    may(inner, "description", str, at)
    strict = bool(may(inner, "strict", bool, at))
    schema = may(inner, "schema", dict, at)
    if schema is None:
        if strict:
            raise missing(f"{at}.schema")
        schema = {"type": "object", "properties": {}}
    try:
        check_schema(schema, strict=strict)
    except SchemaError as error:
        raise invalid(f"Invalid schema for response_format '{name}': {error}", "response_format") from None
    asked.schema = schema


def _check_small_fields(asked: Asked) -> None:
    document = asked.document
    check_labels(document)
    check_stream(document, {"include_usage", "include_obfuscation"})
    check_verbosity(document, asked.model)
    if document.get("metadata") is not None and not document.get("store"):
        raise invalid("The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata")
    asked.choices = ranged(document, "n", int, 1, _MOST_CHOICES) or 1
    may(document, "seed", int)
    _check_stop(asked)
    logprobs = may(document, "logprobs", bool)
    top = ranged(document, "top_logprobs", int, 0, 20)
    if top is not None and not logprobs:
        raise invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    asked.top_logprobs = (top or 0) if logprobs else None
    prediction = may(document, "prediction", dict)
    if prediction is not None:
        if asked.model.reasons:
            raise unsupported("prediction")
        one_of(prediction, "type", ("content",), "prediction")
    if may(document, "web_search_options", dict) is not None:
        raise invalid("Web search options not supported with this model.", "web_search_options")
    may(document, "moderation", dict)
    if may(document, "prompt_cache_options", dict) is not None and not asked.model.free:
        raise unsupported("prompt_cache_options")


def _check_stop(asked: Asked) -> None:
    stop = asked.document.get("stop")
    if stop is None:
        return
    if asked.model.reasons:
        raise unsupported("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list):
        raise wrong_type("stop", "one of a string or array of strings", stop)
    sized(stops, "stop", _MOST_STOPS)
    for index, one in enumerate(stops):
        filled(typed(one, str, f"stop[{index}]"), f"stop[{index}]")
    asked.stops = stops


def _check_audio(asked: Asked, messages: list[Any]) -> None:
    document, model = asked.document, asked.model
    modalities = may(document, "modalities", list)
    for index, one in enumerate(modalities or ()):
        if typed(one, str, f"modalities[{index}]") not in {"text", "audio"}:
            raise wrong_value(f"modalities[{index}]", one, ("text", "audio"))
    speaks = "audio" in (modalities or ())
    if model.free:
        return
    if speaks and not model.audio:
        words = "Invalid value: 'audio'. This model does not support audio output. Supported values are: 'text'."
        raise invalid(words, "modalities", "invalid_value")
    audio = may(document, "audio", dict)
    if speaks:
        if audio is None:
            raise missing("audio")
        if audio.get("voice") is None:
            raise missing("audio.voice")
        # A stream is pcm16 with the real one too; the formats that compress are beyond a simulator.
        allowed = ("pcm16",) if document.get("stream") else FORMATS
        if one_of(audio, "format", allowed, "audio") is None:
            raise missing("audio.format")
    elif audio is not None:
        raise invalid("The 'audio' parameter is only allowed when 'modalities' contains 'audio'.", "audio")
    heard = any(
        part.get("type") == "input_audio"
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
    if model.audio and not speaks and not heard:
        words = "This model requires that either input content or output modality contain audio."
        raise invalid(words, "model", "invalid_value")
