"""`generationConfig`: how to sample, how long, in which shape, and how much to think."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge.dialects.gemini.schema import json_schema
from penstock_edge.dialects.gemini.spelling import integer, members, number, text, uncarriable
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Extras, Json

_EFFORTS: Final = {"MINIMAL": "low", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}
_ENUM: Final = "text/x.enum"
_NUMBERS: Final = {"temperature": "temperature", "topP": "top_p"}


class GenerationReader:
    """Reads one request's generationConfig into its canonical body and extras."""

    def __init__(self, body: Json, extras: Extras, ignored: list[str]) -> None:
        self._body = body
        self._extras = extras
        self._ignored = ignored
        self._mime = "text/plain"
        self._schema: Json | None = None
        self.thoughts = False
        """The client wants to see what the model thinks."""

    def read(self, config: Any, where: str) -> None:
        """Take over what it says. Raises ProblemError for what cannot be carried."""
        for name, path, value in members(config, where):
            if name in _NUMBERS:
                self._body[_NUMBERS[name]] = number(value, path)
            elif name == "topK":
                self._body["top_k"] = integer(value, path)
            elif name == "maxOutputTokens":
                self._body["max_tokens"] = _positive(integer(value, path), path)
            elif name == "seed":
                self._extras.seed = integer(value, path)
            elif name == "presencePenalty":
                self._extras.presence_penalty = number(value, path)
            elif name == "frequencyPenalty":
                self._extras.frequency_penalty = number(value, path)
            elif name == "stopSequences":
                self._stops(value, path)
            elif name == "thinkingConfig":
                self._thinking(value, path)
            elif not self._shape(name, path, value):
                self._refuse(name, path, value)
                if name not in {"candidateCount", "responseLogprobs", "responseModalities"}:
                    self._ignored.append(path)
        self._format(where)

    def _stops(self, value: Any, where: str) -> None:
        stops = [text(one, where) for one in (value if isinstance(value, list) else [value])]
        if any(stops):
            self._body["stop_sequences"] = [one for one in stops if one]

    def _shape(self, name: str, path: str, value: Any) -> bool:
        """Read what says in which form the answer is to be; False when this is none of that."""
        if name == "responseMimeType":
            self._mime = text(value, path).lower()
        elif name == "responseSchema":
            self._schema = json_schema(value, path)
        elif name in {"responseJsonSchema", "_responseJsonSchema"}:
            if not isinstance(value, dict):
                raise ProblemError(invalid(f"{path}: Input should be a valid dictionary"))
            self._schema = value
        else:
            return False
        return True

    def _refuse(self, name: str, path: str, value: Any) -> None:
        """Refuse what would make the answer mean something else."""
        if name == "candidateCount" and integer(value, path) != 1:
            raise ProblemError(invalid(f"{path}: only one candidate can be had from the provider of this model"))
        if name == "responseLogprobs" and value is not False:
            raise uncarriable(path)
        if name == "responseModalities":
            self._modalities(path, value)
        if name == "responseFormat":
            raise uncarriable(path)

    def _modalities(self, path: str, value: Any) -> None:
        wanted = {text(one, path).upper() for one in (value if isinstance(value, list) else [value])}
        if not wanted <= {"TEXT", "IMAGE", "MODALITY_UNSPECIFIED"}:
            raise uncarriable(path)
        self._extras.images = "IMAGE" in wanted

    def _format(self, where: str) -> None:
        if self._mime == _ENUM:
            self._one_of(where)
            return
        if self._mime not in {"text/plain", "application/json"}:
            raise uncarriable(f"{where}.responseMimeType")
        if self._schema is not None:
            wanted = {"type": "json_schema", "schema": self._schema}
            self._body.setdefault("output_config", {})["format"] = wanted
        elif self._mime == "application/json":
            self._extras.json_object = True

    def _one_of(self, where: str) -> None:
        """Ask in words for one of some values, bare: elsewhere there is no form for that."""
        values = (self._schema or {}).get("enum")
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise uncarriable(f"{where}.responseMimeType")
        words = ", ".join(msgspec.json.encode(value).decode() for value in values)
        asked = {"type": "text", "text": f"Answer with exactly one of these values and nothing else, unquoted: {words}"}
        self._body.setdefault("system", []).append(asked)
        self._ignored.append(f"{where}.responseMimeType (only asked for in words)")

    def _thinking(self, value: Any, where: str) -> None:
        for name, path, item in members(value, where):
            if name == "includeThoughts":
                self.thoughts = item is True
            elif name == "thinkingBudget":
                self._budget(integer(item, path))
            elif name == "thinkingLevel":
                level = text(item, path).upper()
                if level in _EFFORTS:
                    self._body.setdefault("output_config", {})["effort"] = _EFFORTS[level]
                elif level != "THINKING_LEVEL_UNSPECIFIED":
                    raise ProblemError(invalid(f"{path}: Input should be a level of thinking"))
            else:
                self._ignored.append(path)
        thinking = self._body.get("thinking")
        if thinking is None and (self.thoughts or "effort" in self._body.get("output_config", {})):
            thinking = self._body["thinking"] = {"type": "adaptive"}
        if thinking is not None and thinking["type"] != "disabled" and not self.thoughts:
            thinking["display"] = "omitted"

    def _budget(self, tokens: int) -> None:
        if tokens > 0:
            self._body["thinking"] = {"type": "enabled", "budget_tokens": tokens}
        else:
            self._body["thinking"] = {"type": "disabled" if tokens == 0 else "adaptive"}


def _positive(value: int, where: str) -> int:
    if value < 1:
        raise ProblemError(invalid(f"{where}: Input should be greater than 0"))
    return value
