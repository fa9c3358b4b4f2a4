"""Checks the order of turns: roles, that calls and responses belong together, and the signatures of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.errors import invalid
from penstock_simulator.gemini.signature import known

if TYPE_CHECKING:
    from penstock_simulator.gemini.models import Model

_COUNT = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
_CALL_TURN = (
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
)
_RESPONSE_TURN = "Please ensure that function response turn comes immediately after a function call turn."
_IDS = "Please ensure that the id of each function response is the id of a function call of the function call turn."


def check_turns(contents: list[dict[str, Any]], model: Model) -> None:
    """Check all turns; raises RefusalError."""
    for content in contents:
        if role(content) not in {"user", "model"}:
            raise invalid("Please use a valid role: user, model.")
    contents = _merged(contents)
    before: dict[str, Any] = {}
    for content in contents:
        _check_turn(before, content, model)
        before = content
    if held(before, "function_call"):
        raise invalid(_COUNT)
    _check_signatures(contents)
    if model.third:
        _check_missing(contents)
    if model.third and model.draws:
        _check_images(contents)


def _merged(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one content for each turn: the SDKs keep a streamed answer as it came, a content for each chunk."""
    turns: list[dict[str, Any]] = []
    for content in contents:
        if turns and role(turns[-1]) == role(content):
            turns[-1] = turns[-1] | {"parts": [*turns[-1].get("parts", ()), *content.get("parts", ())]}
        else:
            turns.append(content)
    return turns


def role(content: dict[str, Any]) -> str:
    """Return who speaks; nobody named is the user."""
    return str(content.get("role") or "user")


def held(content: dict[str, Any], kind: str) -> list[Any]:
    """Return what the parts of a content hold of a kind."""
    return [part[kind] for part in content.get("parts", ()) if kind in part]


def _check_turn(before: dict[str, Any], content: dict[str, Any], model: Model) -> None:
    calls, responses = held(content, "function_call"), held(content, "function_response")
    asked = held(before, "function_call")
    said_by_model = role(content) == "model"
    if calls and (not said_by_model or not before or role(before) == "model"):
        raise invalid(_CALL_TURN)
    if responses and (said_by_model or not asked):
        raise invalid(_RESPONSE_TURN)
    if len(responses) != len(asked):
        raise invalid(_COUNT)
    ids = {call.get("id", "") for call in asked}
    if model.third and any(response.get("id", "") not in ids | {""} for response in responses):
        raise invalid(_IDS)


def _check_signatures(contents: list[dict[str, Any]]) -> None:
    for content in contents:
        for signature in held(content, "thought_signature"):
            if not known(signature):
                raise invalid("Corrupted thought signature.")


def _check_missing(contents: list[dict[str, Any]]) -> None:
    """In the current turn the first call of each step must be signed; parallel calls after it need not be."""
    for index in range(_current_turn(contents), len(contents)):
        calls = [part for part in contents[index].get("parts", ()) if "function_call" in part]
        if calls and not calls[0].get("thought_signature"):
            name = calls[0]["function_call"]["name"]
            raise invalid(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{name}` , position {index + 1}. Please refer to "
                "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )


def _check_images(contents: list[dict[str, Any]]) -> None:
    """Images that the model has made come back signed, from whenever they are."""
    for index, content in enumerate(contents):
        for place, part in enumerate(content.get("parts", ())):
            if role(content) == "model" and "inline_data" in part and not part.get("thought_signature"):
                raise invalid(
                    f"Image part is missing a thought_signature in content position {index + 1}, part position "
                    f"{place + 1}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more "
                    "details regarding how to do this."
                )


def _current_turn(contents: list[dict[str, Any]]) -> int:
    """Return where the current turn begins: with the last words of the user that are not responses."""
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        if role(content) == "user" and not held(content, "function_response"):
            return index
    return 0
