"""Checks `generationConfig` and `safetySettings`: ranges, and what each model can and cannot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.errors import invalid
from penstock_simulator.gemini.messages import HARMS
from penstock_simulator.gemini.openapi import check_schema, json_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock_simulator.gemini.complaints import Complaints
    from penstock_simulator.gemini.models import Model

_PLAIN, _JSON, _ENUM = "text/plain", "application/json", "text/x.enum"
_TYPES = (_PLAIN, _JSON, "application/xml", "application/yaml", _ENUM)
_MOST_STOPS = 5
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "presence_penalty": (-2.0, 2.0)}
_RANGES["frequency_penalty"] = _RANGES["presence_penalty"]


@dataclass(slots=True)
class Generation:
    """How a request wants to be answered."""

    max_tokens: int
    stop_sequences: list[str] = field(default_factory=list)
    form: str = _PLAIN
    """Media type of the text."""
    schema: dict[str, Any] | None = None
    """JSON schema that the text has to follow."""
    thinks: bool = False
    thinking_budget: int = -1
    """Most thinking tokens; -1: as many as it likes."""
    thoughts_shown: bool = False
    words: bool = True
    """The answer may hold text."""
    images: bool = False
    """The answer holds an image."""

    @property
    def structured(self) -> bool:
        """Whether the text is JSON."""
        return self.form == _JSON

    @property
    def one_of(self) -> bool:
        """Whether the text is one of the schema's values, bare."""
        return self.form == _ENUM


def check_generation(config: dict[str, Any], complaints: Complaints) -> None:
    """Complain about values that no model takes."""
    at = "generation_config"
    for name, (low, high) in _RANGES.items():
        if not low <= config.get(name, low) <= high:
            complaints.add(f"{at}.{name}", f"{name} must be in the range [{low}, {high}].")
    for name in ("max_output_tokens", "top_k", "candidate_count"):
        if config.get(name, 1) < 1:
            complaints.add(f"{at}.{name}", f"{name} must be positive.")
    if len(config.get("stop_sequences", ())) > _MOST_STOPS:
        complaints.add(f"{at}.stop_sequences", f"at most {_MOST_STOPS} stop sequences may be given.")
    if not all(config.get("stop_sequences", ())):
        complaints.add(f"{at}.stop_sequences", "stop sequences must not be empty.")
    form = config.get("response_mime_type") or _PLAIN
    if form not in _TYPES:
        words = "`text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`."
        complaints.add(f"{at}.response_mime_type", f"allowed mimetypes are {words}")
    _check_schemas(config, form, at, complaints)


def _check_schemas(config: dict[str, Any], form: str, at: str, complaints: Complaints) -> None:
    given = [name for name in ("response_schema", "response_json_schema") if config.get(name) is not None]
    if len(given) > 1:
        complaints.add(f"{at}.response_schema", "must not be set together with response_json_schema")
    for name in given:
        if form not in {_JSON, _ENUM}:
            complaints.add(f"{at}.{name}", f"only supported with response_mime_type `{_JSON}` or `{_ENUM}`")
        if not isinstance(config[name], dict):
            complaints.add(f"{at}.{name}", "must be a JSON schema object")
        elif name == "response_schema":
            check_schema(config[name], f"{at}.{name}", complaints)


def check_safety(settings: list[dict[str, Any]], complaints: Complaints) -> None:
    """Complain about categories of other models, and about those named twice."""
    names = [setting.get("category", "") for setting in settings]
    allowed = ", ".join(f"HarmCategory.{name}" for name in HARMS)
    for index, name in enumerate(names):
        if name not in HARMS:
            complaints.add(f"safety_settings[{index}]", f"element predicate failed: $.category in ({allowed})")
        elif name in names[:index]:
            complaints.add(f"safety_settings[{index}]", f"there must be only one setting for {name}")


def read_generation(config: dict[str, Any], model: Model) -> Generation:
    """Return how to answer; raises RefusalError for what this model cannot."""
    asked = config.get("max_output_tokens", model.output)
    if asked > model.output:
        raise invalid(
            f"Unable to submit request because it has a maxOutputTokens value of {asked} but the supported range is "
            f"from 1 (inclusive) to {model.output + 1} (exclusive). Update the value and try again."
        )
    _check_abilities(config, model)
    generation = Generation(asked, config.get("stop_sequences", []), config.get("response_mime_type") or _PLAIN)
    given = config.get("response_json_schema")
    if given is None and config.get("response_schema") is not None:
        given = json_schema(config["response_schema"])
    generation.schema = given
    _read_modalities(generation, config.get("response_modalities", ()), model)
    _read_thinking(generation, config.get("thinking_config", {}), model)
    return generation


def _check_abilities(config: dict[str, Any], model: Model) -> None:
    if config.get("candidate_count", 1) > 1:
        raise invalid("Multiple candidates is not enabled for this model")
    penalties = (config.get("presence_penalty"), config.get("frequency_penalty"))
    if any(penalties) and model.budgets is not None:
        raise invalid(f"Penalty is not enabled for models/{model.name}")
    if config.get("response_logprobs") or config.get("logprobs"):
        raise invalid(f"Logprobs is not enabled for models/{model.name}")
    if model.draws and config.get("response_mime_type") == _JSON:
        raise invalid(f"JSON mode is not enabled for models/{model.name}")


def _read_modalities(generation: Generation, asked: Sequence[str], model: Model) -> None:
    asked = [name for name in asked if name != "MODALITY_UNSPECIFIED"]
    for name in asked:
        if name not in ({"TEXT", "IMAGE"} if model.draws else {"TEXT"}):
            raise invalid("Model does not support the requested response modalities: " + name.lower())
    generation.words = not asked or "TEXT" in asked
    generation.images = model.draws and (not asked or "IMAGE" in asked)


def _read_thinking(generation: Generation, config: dict[str, Any], model: Model) -> None:
    budget, level = config.get("thinking_budget"), config.get("thinking_level", "THINKING_LEVEL_UNSPECIFIED")
    leveled = level != "THINKING_LEVEL_UNSPECIFIED"
    if budget is not None and leveled:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if leveled:
        _check_level(level, model)
    if budget is not None:
        _check_budget(budget, model)
        generation.thinking_budget = budget
    generation.thinks = model.budgets is not None and (model.thinks_unasked if budget is None else budget != 0)
    if level == "MINIMAL":
        generation.thinking_budget = 0
    generation.thoughts_shown = config.get("include_thoughts", False)
    if generation.thoughts_shown and not generation.thinks:
        raise invalid("Thinking_config.include_thoughts is only enabled when thinking is enabled.")


def _check_level(level: str, model: Model) -> None:
    if not model.levels:
        raise invalid("Thinking level is not supported for this model.")
    if level not in model.levels:
        raise invalid(
            f"Thinking level {level} is not supported for this model. Please retry with other thinking level."
        )


def _check_budget(budget: int, model: Model) -> None:
    if model.budgets is None:
        raise invalid("Thinking budget is not supported for this model.")
    low, high = model.budgets
    if budget == 0 and model.always_thinks:
        raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
    if budget not in {-1, 0} and not low <= budget <= high:
        raise invalid(f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.")
