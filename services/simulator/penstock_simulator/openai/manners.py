"""Checks the settings that depend on the model: lengths, sampling, reasoning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.openai.errors import invalid
from penstock_simulator.openai.fields import may, one_of, ranged, sized, typed, unsupported, wrong_value

if TYPE_CHECKING:
    from penstock_simulator.openai.models import Model

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_VERBOSITIES = ("low", "medium", "high")
_MOST_PAIRS, _MOST_KEY, _MOST_VALUE = 16, 64, 512


def effort_of(model: Model, given: str | None, where: str) -> str:
    """Return the reasoning effort in force."""
    if given is None or model.free:
        return model.effort if model.reasons else "none"
    if not model.reasons:
        raise unsupported(where)
    if given not in _EFFORTS:
        raise wrong_value(where, given, model.efforts)
    if given not in model.efforts:
        quoted = [f"'{one}'" for one in model.efforts]
        raise invalid(
            f"Unsupported value: '{where}' does not support '{given}' with this model. Supported values are: "
            f"{', '.join(quoted[:-1])}, and {quoted[-1]}.",
            where,
            "unsupported_value",
        )
    return given


def check_sampling(document: dict[str, Any], model: Model, effort: str) -> None:
    """Check temperature and its kin; a model that reasons takes none of them."""
    reasoning = model.reasons and effort != "none"
    temperature = ranged(document, "temperature", float, 0, 2)
    top_p = ranged(document, "top_p", float, 0, 1)
    if reasoning and temperature not in {None, 1}:
        raise invalid(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1) "
            "value is supported.",
            "temperature",
            "unsupported_value",
        )
    if reasoning and top_p not in {None, 1}:
        raise unsupported("top_p")
    for name in ("presence_penalty", "frequency_penalty"):
        if ranged(document, name, float, -2, 2) and model.reasons:
            raise unsupported(name)
    if may(document, "logit_bias", dict) and model.reasons:
        raise unsupported("logit_bias")
    if reasoning and (document.get("logprobs") or document.get("top_logprobs")):
        raise unsupported("logprobs" if document.get("logprobs") else "top_logprobs")


def check_verbosity(document: dict[str, Any], model: Model, at: str = "") -> None:
    """Check how much the model is to say; models before gpt-5 know one way."""
    verbosity = one_of(document, "verbosity", _VERBOSITIES, at)
    if verbosity in {None, "medium"} or model.free or model.name.startswith("gpt-5"):
        return
    where = f"{at}.verbosity" if at else "verbosity"
    raise invalid(
        f"Unsupported value: '{where}' does not support '{verbosity}' with this model. Supported values are: 'medium'.",
        where,
        "unsupported_value",
    )


def check_labels(document: dict[str, Any]) -> None:
    """Check what says who asks and how it is to be kept."""
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        value = may(document, name, str)
        if value is not None:
            sized(value, name, 64 if name != "user" else 512)
    one_of(document, "prompt_cache_retention", ("in_memory", "in-memory", "24h"))
    one_of(document, "service_tier", ("auto", "default", "flex", "scale", "priority", "fast"))
    may(document, "store", bool)
    metadata = may(document, "metadata", dict)
    if metadata is None:
        return
    sized(metadata, "metadata", _MOST_PAIRS)
    for name, value in metadata.items():
        where = f"metadata.{name}"
        sized(name, "metadata", _MOST_KEY)
        sized(typed(value, str, where), where, _MOST_VALUE)


def check_stream(document: dict[str, Any], known: set[str]) -> None:
    """Check `stream` and its options."""
    streamed = may(document, "stream", bool)
    options = may(document, "stream_options", dict)
    if options is None:
        return
    if not streamed:
        words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise invalid(words, "stream_options")
    for name, value in options.items():
        if name not in known:
            where = f"stream_options.{name}"
            raise invalid(f"Unknown parameter: '{where}'.", where, "unknown_parameter")
        typed(value, bool, f"stream_options.{name}")
