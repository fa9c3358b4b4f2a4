"""Field names as Google's servers read them: camelCase and snake_case mean the same, and null means absent."""

from __future__ import annotations

import re
from typing import Any, Final

from penstock_edge.errors import ProblemError, invalid

_NAMES: Final = (
    "additionalProperties",
    "allowedFunctionNames",
    "anyOf",
    "cachedContent",
    "candidateCount",
    "continuationToken",
    "displayName",
    "fileData",
    "fileUri",
    "frequencyPenalty",
    "functionCall",
    "functionCallingConfig",
    "functionDeclarations",
    "functionResponse",
    "generateContentRequest",
    "generationConfig",
    "includeThoughts",
    "inlineData",
    "maxItems",
    "maxLength",
    "maxOutputTokens",
    "maxProperties",
    "mimeType",
    "minItems",
    "minLength",
    "minProperties",
    "parametersJsonSchema",
    "presencePenalty",
    "propertyOrdering",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "stopSequences",
    "systemInstruction",
    "thinkingBudget",
    "thinkingConfig",
    "thinkingLevel",
    "thoughtSignature",
    "toolConfig",
    "topK",
    "topP",
)

CAMEL: Final[dict[str, str]] = {re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), name): name for name in _NAMES}
"""The camelCase name of every snake_case one that means something here."""


def members(value: Any, where: str) -> list[tuple[str, str, Any]]:
    """Return (camelCase name, path in the client's own spelling, value) of an object's fields that are not null.

    Raises ProblemError when it is no object.
    """
    if not isinstance(value, dict):
        raise ProblemError(invalid(f"{where or 'body'}: Input should be a valid dictionary"))
    prefix = f"{where}." if where else ""
    named: dict[str, Any] = value
    return [(CAMEL.get(key, key), prefix + key[:64], item) for key, item in named.items() if item is not None]


def many(value: Any, where: str) -> list[Any]:
    """Return a repeated field's values; Google takes a single one without brackets. Raises ProblemError."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise ProblemError(invalid(f"{where}: Input should be a valid list"))


def text(value: Any, where: str) -> str:
    """Return a text field's value. Raises ProblemError."""
    if not isinstance(value, str):
        raise ProblemError(invalid(f"{where}: Input should be a valid string"))
    return value


def integer(value: Any, where: str) -> int:
    """Return an integer field's value; Google takes `5`, `5.0` and `"5"`. Raises ProblemError."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        raise ProblemError(invalid(f"{where}: Input should be a valid integer"))
    return int(value)


def number(value: Any, where: str) -> float:
    """Return a number field's value. Raises ProblemError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProblemError(invalid(f"{where}: Input should be a valid number"))
    return value


def uncarriable(where: str) -> ProblemError:
    """Return the refusal of a field without which the answer would mean something else."""
    return ProblemError(invalid(f"{where}: this cannot be carried to the provider of this model"))
