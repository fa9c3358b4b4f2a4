"""Checks a request to Responses as strictly as the real API: what it refuses is refused here, in its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.asked import Asked
from penstock_simulator.openai.content import Parts
from penstock_simulator.openai.errors import INVALID, invalid
from penstock_simulator.openai.fields import (
    may,
    missing,
    need,
    one_of,
    only,
    ranged,
    typed,
    unsupported,
    wrong_type,
    wrong_value,
)
from penstock_simulator.openai.manners import check_labels, check_sampling, check_stream, check_verbosity, effort_of
from penstock_simulator.openai.models import RESPONSES
from penstock_simulator.openai.responses_items import ItemCheck, check_together
from penstock_simulator.openai.schema import SchemaError, check_schema
from penstock_simulator.openai.tools import name_of, responses_tools
from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.openai.models import Model, Models
    from penstock_simulator.openai.stored import Stored

_COUNTED = {
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
}
_KNOWN = (_COUNTED - {"personality"}) | {
    "access_programs",
    "background",
    "client_metadata",
    "context_management",
    "image",
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "moderation",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
}
_MOVED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "functions": "tools",
    "function_call": "tool_choice",
}
_INCLUDES = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
_SUMMARIES = ("auto", "concise", "detailed")
_LEAST_TOKENS = 16


def check_responses(document: Any, models: Models, account: Account, stored: Stored, *, counting: bool) -> Asked:
    """Return what the request asks for; raises RefusalError. `counting`: input_tokens, which knows fewer fields."""
    if not isinstance(document, dict):
        raise invalid("We could not parse the JSON body of your request: expected an object.")
    known = _COUNTED if counting else _KNOWN
    for name in document:
        if name in _MOVED:
            raise _moved(name)
        if name not in known:
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    model = _model(document, models, account, counting=counting)
    most = ranged(document, "max_output_tokens", int, _LEAST_TOKENS, model.output)
    asked = Asked(document, model, most or model.output)
    _check_reasoning(asked)
    check_sampling(document, model, asked.effort)
    _check_input(asked, account, stored)
    responses_tools(asked)
    _check_text(asked)
    _check_small_fields(asked)
    return asked


def _moved(name: str) -> RefusalError:
    return invalid(
        f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{_MOVED[name]}'. Try "
        "again with the new parameter. See the API documentation for more information: "
        "https://platform.openai.com/docs/api-reference/responses/create.",
        name,
        "unsupported_parameter",
    )


def _model(document: dict[str, Any], models: Models, account: Account, *, counting: bool) -> Model:
    name = may(document, "model", str)
    if name is None:
        if not counting:
            raise missing("model")
        name = "gpt-4o"
    model = models.find(name)
    if model is None or not account.serves(name):
        raise invalid(f"The requested model '{name}' does not exist.", "model", "model_not_found")
    if RESPONSES not in model.endpoints:
        words = f"The requested model '{name}' cannot be used with the Responses API."
        raise invalid(words, "model", "unsupported_model")
    return model


def _check_reasoning(asked: Asked) -> None:
    reasoning = may(asked.document, "reasoning", dict) or {}
    only(reasoning, {"effort", "summary", "generate_summary", "context", "mode"}, "reasoning")
    asked.effort = effort_of(asked.model, may(reasoning, "effort", str, "reasoning"), "reasoning.effort")
    for name in ("summary", "generate_summary"):
        if one_of(reasoning, name, _SUMMARIES, "reasoning") is not None and not asked.model.reasons:
            raise unsupported(f"reasoning.{name}")


def _check_input(asked: Asked, account: Account, stored: Stored) -> None:
    document = asked.document
    earlier = _earlier(document, stored)
    given = document.get("input")
    if given is None or given == []:
        if earlier is None:
            words = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
            raise invalid(words, "input", "missing_required_parameter")
        given = []
    if isinstance(given, str):
        items = [{"type": "message", "role": "user", "content": given}]
    elif isinstance(given, list):
        parts = Parts(asked.model, responses=True)
        items = ItemCheck(parts, stored, account.organization).check(given)
    else:
        raise wrong_type("input", "one of a string or array of objects", given)
    asked.items = [*(earlier or ()), *items]
    check_together(asked.items)
    asked.answered = bool(asked.items) and asked.items[-1]["type"].endswith("_output")


def _earlier(document: dict[str, Any], stored: Stored) -> list[Any] | None:
    """Return the items of the response that this one continues."""
    if document.get("conversation") is not None:
        if document.get("previous_response_id") is not None:
            words = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'."
            raise invalid(words, "previous_response_id", "mutually_exclusive_parameters")
        named = document["conversation"]
        named = named.get("id") if isinstance(named, dict) else named
        raise RefusalError(404, INVALID, f"Conversation with id '{named}' not found.", param="conversation")
    previous = may(document, "previous_response_id", str)
    if previous is None:
        return None
    turn = stored.turn(previous)
    if turn is None:
        words = f"Previous response with id '{previous}' not found."
        raise invalid(words, "previous_response_id", "previous_response_not_found")
    return turn.items


def _check_text(asked: Asked) -> None:
    text = may(asked.document, "text", dict) or {}
    only(text, {"format", "verbosity"}, "text")
    check_verbosity(text, asked.model, "text")
    form = may(text, "format", dict, "text")
    if form is None:
        return
    at = "text.format"
    kind = need(form, "type", str, at)
    if kind not in {"text", "json_object", "json_schema"}:
        raise wrong_value(f"{at}.type", kind, ("json_object", "json_schema", "text"))
    only(form, {"type", "name", "description", "schema", "strict"} if kind == "json_schema" else {"type"}, at)
    if kind == "json_object":
        asked.json = True
        if "json" not in f"{asked.items}{asked.document.get('instructions')}".lower():
            words = (
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'."
            )
            raise invalid(words, "input")
    elif kind == "json_schema":
        name = name_of(form, at)
        schema = need(form, "schema", dict, at)
        strict = bool(may(form, "strict", bool, at))
        try:
            check_schema(schema, strict=strict)
        except SchemaError as error:
            words = f"Invalid schema for response_format '{name}': {error}"
            raise invalid(words, "text.format.schema", "invalid_json_schema") from None
        asked.schema = schema


def _check_small_fields(asked: Asked) -> None:
    document, model = asked.document, asked.model
    may(document, "instructions", str)
    check_labels(document)
    check_stream(document, {"include_obfuscation"})
    one_of(document, "truncation", ("auto", "disabled"))
    ranged(document, "max_tool_calls", int, 1)
    if may(document, "background", bool):
        raise invalid("Background mode is not supported for this organization.", "background", "unsupported_parameter")
    prompt = may(document, "prompt", dict)
    if prompt is not None:
        named = need(prompt, "id", str, "prompt")
        raise RefusalError(404, INVALID, f"Prompt with id '{named}' not found.", param="prompt")
    include = may(document, "include", list) or []
    for index, one in enumerate(include):
        if typed(one, str, f"include[{index}]") not in _INCLUDES:
            raise wrong_value(f"include[{index}]", one, _INCLUDES)
    if "reasoning.encrypted_content" in include and not model.reasons:
        raise invalid("Encrypted content is not supported with this model.", "include")
    top = ranged(document, "top_logprobs", int, 0, 20)
    logprobs = "message.output_text.logprobs" in include
    if logprobs and model.reasons and asked.effort != "none":
        raise unsupported("include")
    asked.top_logprobs = (top or 0) if logprobs else None
