"""Checks a message as strictly as the real API: what it holds, then what the model can do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.complaints import Complaints
from penstock_simulator.gemini.contents import check_contents, check_media, check_parts
from penstock_simulator.gemini.errors import GoogleError, invalid
from penstock_simulator.gemini.generation import check_generation, check_safety, read_generation
from penstock_simulator.gemini.tools import check_declarations, read_tools
from penstock_simulator.gemini.turns import check_turns

if TYPE_CHECKING:
    from penstock_simulator.gemini.generation import Generation
    from penstock_simulator.gemini.models import Model
    from penstock_simulator.gemini.tools import Tools


@dataclass(slots=True)
class Checked:
    """A request that passed; `document` with snake_case names."""

    document: dict[str, Any]
    model: Model
    tools: Tools
    generation: Generation


def check(document: dict[str, Any], model: Model) -> Checked:
    """Return what a GenerateContentRequest asks for; raises RefusalError."""
    config = document.get("generation_config", {})
    complaints = Complaints("GenerateContentRequest")
    check_contents(document.get("contents", []), complaints)
    system = document.get("system_instruction")
    if system is not None:
        check_parts(system, "system_instruction", complaints)
    check_declarations(document, complaints)
    check_generation(config, complaints)
    check_safety(document.get("safety_settings", []), complaints)
    complaints.settle()
    check_turns(document["contents"], model)
    for content in (system or {}, *document["contents"]):
        check_media(content)
    tools = read_tools(document, model)
    generation = read_generation(config, model)
    _check_structured(generation, tools, model)
    _check_cached(document)
    return Checked(document, model, tools, generation)


def check_count(document: dict[str, Any], model: Model) -> dict[str, Any]:
    """Return what a CountTokensRequest wants counted; raises RefusalError."""
    whole = document.get("generate_content_request")
    if whole is None:
        complaints = Complaints("CountTokensRequest")
        check_contents(document.get("contents", []), complaints)
        complaints.settle()
        for content in document["contents"]:
            check_media(content)
        return document
    if document.get("contents"):
        raise invalid("* CountTokensRequest: contents and generate_content_request are mutually exclusive\n")
    if whole.get("model") != f"models/{model.name}":
        raise invalid("* CountTokensRequest.generate_content_request.model: unexpected model name format\n")
    return check(whole, model).document


def _check_structured(generation: Generation, tools: Tools, model: Model) -> None:
    if not generation.structured or model.third:
        return
    if tools.functions:
        raise invalid("Function calling with a response mime type: 'application/json' is unsupported")
    if tools.built_in:
        raise invalid("Tool use with a response mime type: 'application/json' is unsupported")


def _check_cached(document: dict[str, Any]) -> None:
    """There is no way to make cached contents here, so every one is missing."""
    name = document.get("cached_content")
    if not name:
        return
    if document.keys() & {"system_instruction", "tools", "tool_config"}:
        raise invalid(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
            "tool_config.\n\nProposed fix: move those values to CachedContent from GenerateContent request."
        )
    if not name.startswith("cachedContents/"):
        raise invalid("* GenerateContentRequest.cached_content: Invalid CachedContent name.\n")
    raise GoogleError(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")
