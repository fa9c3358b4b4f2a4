"""Writes a canonical request for a Gemini account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.gemini.contents import ContentsWriter
from penstock_edge.providers.gemini.thinking import signs_calls, thinking_config
from penstock_edge.providers.gemini.tools import calling_config, declarations
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request
    from penstock_edge.providers.wire import Addressee

_READ: Final = frozenset(
    {
        "max_tokens",
        "messages",
        "output_config",
        "stop_sequences",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
_COPIED: Final = {"top_p": "topP", "top_k": "topK", "stop_sequences": "stopSequences"}
_MOST_TEMPERATURE: Final = 2
_LARGEST_SEED: Final = 2**31 - 1


def write(request: Request, to: Addressee) -> Written:
    """Return the request to generate. Raises ProblemError (400)."""
    ignored = [name for name in request.body if name not in _READ]
    body = _prompt(request, to, ignored)
    config = _generation(request, to, ignored)
    if config:
        body["generationConfig"] = config
    return Written(_encode(body), ignored)


def write_count(request: Request, to: Addressee) -> Written:
    """Return the request to count. Raises ProblemError (400)."""
    ignored: list[str] = []
    name = to.model if to.model.startswith(("models/", "tunedModels/")) else f"models/{to.model}"
    # Only in this form are tools and system text counted.
    return Written(_encode({"generateContentRequest": {"model": name, **_prompt(request, to, ignored)}}), ignored)


def _prompt(request: Request, to: Addressee, ignored: list[str]) -> Json:
    """Return what the model reads."""
    body = request.body
    writer = ContentsWriter(to.provider, ignored, signs_calls=signs_calls(to.model))
    prompt: Json = {"contents": writer.write(body["messages"])}
    if not prompt["contents"]:
        raise ProblemError(invalid("messages: nothing is left that the provider of this model could read"))
    system = body.get("system")
    if system:
        prompt["systemInstruction"] = {"parts": [{"text": block["text"]} for block in system]}
    functions = declarations(body.get("tools"), ignored)
    if functions:
        prompt["tools"] = [{"functionDeclarations": functions}]
    calling = calling_config(body.get("tool_choice"), functions, ignored)
    if calling is not None:
        prompt["toolConfig"] = {"functionCallingConfig": calling}
    if writer.cached or any("cache_control" in block for block in [*(system or ()), *(body.get("tools") or ())]):
        ignored.append("cache_control")
    return prompt


def _generation(request: Request, to: Addressee, ignored: list[str]) -> Json:
    body, extras = request.body, request.extras
    config: Json = {_COPIED[name]: body[name] for name in _COPIED if name in body}
    asked = body.get("max_tokens")
    if asked is not None:
        config["maxOutputTokens"] = _bounded("max_tokens", asked, to.max_output_tokens or asked, ignored)
    if "temperature" in body:
        config["temperature"] = _bounded("temperature", body["temperature"], _MOST_TEMPERATURE, ignored)
    if extras.seed is not None:
        config["seed"] = extras.seed & _LARGEST_SEED if abs(extras.seed) > _LARGEST_SEED else extras.seed
    if extras.frequency_penalty is not None:
        config["frequencyPenalty"] = extras.frequency_penalty
    if extras.presence_penalty is not None:
        config["presencePenalty"] = extras.presence_penalty
    _shape(config, request, ignored)
    thinking = thinking_config(to.model, body, ignored)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _bounded(name: str, asked: Any, most: Any, ignored: list[str]) -> Any:
    if asked <= most:
        return asked
    ignored.append(f"{name}={most}")
    return most


def _shape(config: Json, request: Request, ignored: list[str]) -> None:
    """Say in which form the answer is to be."""
    output = request.body.get("output_config")
    output = output if isinstance(output, dict) else {}
    ignored += [f"output_config.{key[:64]}" for key in output if key not in {"effort", "format"}]
    wanted = output.get("format")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if request.extras.json_object or schema is not None:
        config["responseMimeType"] = "application/json"
    if schema is not None:
        config["responseJsonSchema"] = schema


def _encode(body: Json) -> bytes:
    try:
        return msgspec.json.encode(body)
    except RecursionError:
        raise ProblemError(invalid("the request body is nested too deeply")) from None
