"""Writes a canonical request for a Gemini account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.gemini.contents import ContentsWriter
from penstock_edge.providers.gemini.thinking import shapes_with_tools, signs_calls, thinking_config, thinks
from penstock_edge.providers.gemini.tools import calling_config, declarations
from penstock_edge.providers.losses import lost
from penstock_edge.providers.request_json import encoded
from penstock_edge.providers.wire import Written

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_OF_SYSTEM: Final = frozenset({"type", "text", "cache_control"})
_PENALTIES: Final = {"frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty"}
_MOST_STOPS: Final = 5
_MOST_TEMPERATURE: Final = 2
_LARGEST_SEED: Final = 2**31 - 1
_JSON_ONLY: Final = "When you give your answer, give one JSON object and nothing else."
_BY_SCHEMA: Final = "When you give your answer, give JSON that follows this schema and nothing else: "


def write(request: Request, to: Addressee) -> Written:
    """Return the request to generate. Raises ProblemError (400)."""
    ignored = [name for name in request.body if name not in _READ]
    body = _prompt(request, to, ignored)
    config = _generation(request, to, ignored)
    _shape(config, body, request, to, ignored)
    if config:
        body["generationConfig"] = config
    return Written(encoded(body), ignored)


def write_count(request: Request, to: Addressee) -> Written:
    """Return the request to count. Raises ProblemError (400)."""
    ignored: list[str] = []
    name = to.model if to.model.startswith(("models/", "tunedModels/")) else f"models/{to.model}"
    # Only in this form are tools and system text counted.
    return Written(encoded({"generateContentRequest": {"model": name, **_prompt(request, to, ignored)}}), ignored)


def _prompt(request: Request, to: Addressee, ignored: list[str]) -> Json:
    """Return what the model reads."""
    body = request.body
    writer = ContentsWriter(to.provider, ignored, signs_calls=signs_calls(to.model))
    prompt: Json = {"contents": writer.write(body["messages"])}
    if not prompt["contents"]:
        raise ProblemError(invalid("messages: nothing is left that the provider of this model could read"))
    system = body.get("system")
    if system:
        for index, block in enumerate(system):
            ignored += lost(f"system.{index}", block, _OF_SYSTEM)
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
    config: Json = {}
    if "top_p" in body:
        config["topP"] = body["top_p"]
    if "top_k" in body:
        config["topK"] = _bounded("top_k", body["top_k"], 1, body["top_k"], ignored)
    _stops(config, body.get("stop_sequences") or (), ignored)
    asked = body.get("max_tokens")
    if asked is not None:
        config["maxOutputTokens"] = _bounded("max_tokens", asked, 1, to.max_output_tokens or asked, ignored)
    if "temperature" in body:
        config["temperature"] = _bounded("temperature", body["temperature"], 0, _MOST_TEMPERATURE, ignored)
    if extras.images:
        config["responseModalities"] = ["TEXT", "IMAGE"]
    if extras.seed is not None:
        config["seed"] = extras.seed & _LARGEST_SEED if abs(extras.seed) > _LARGEST_SEED else extras.seed
    for name, penalty in _PENALTIES.items():
        value = getattr(extras, name)
        if value and thinks(to.model):
            ignored.append(name)
        elif value is not None and not thinks(to.model):
            config[penalty] = value
    thinking = thinking_config(to.model, body, ignored)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _stops(config: Json, stops: Iterable[str], ignored: list[str]) -> None:
    kept = [stop for stop in stops if stop]
    if kept:
        config["stopSequences"] = kept[:_MOST_STOPS]
    if len(kept) > _MOST_STOPS:
        ignored.append(f"stop_sequences (all but {_MOST_STOPS})")


def _bounded(name: str, asked: Any, least: Any, most: Any, ignored: list[str]) -> Any:
    bounded = max(least, min(asked, most))
    if bounded != asked:
        ignored.append(f"{name}={bounded}")
    return bounded


def _shape(config: Json, prompt: Json, request: Request, to: Addressee, ignored: list[str]) -> None:
    """Say in which form the answer is to be."""
    output = request.body.get("output_config")
    output = output if isinstance(output, dict) else {}
    ignored += [f"output_config.{key[:64]}" for key in output if key not in {"effort", "format"}]
    wanted = output.get("format")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if schema is None and not request.extras.json_object:
        return
    if "tools" in prompt and not shapes_with_tools(to.model):
        # Refused together: words do, if less surely.
        words = _JSON_ONLY if schema is None else f"{_BY_SCHEMA}{encoded(schema).decode()}"
        prompt.setdefault("systemInstruction", {"parts": []})["parts"].append({"text": words})
        ignored.append("output_config.format (beside tools it is only asked for in words)")
        return
    config["responseMimeType"] = "application/json"
    if schema is not None:
        config["responseJsonSchema"] = schema
