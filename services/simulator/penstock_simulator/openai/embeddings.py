"""Embeddings: checks a request, and makes vectors of unit length that are always the same for the same text."""

from __future__ import annotations

import array
import base64
import hashlib
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.openai.errors import invalid, unknown_model
from penstock_simulator.openai.fields import filled, may, missing, need, one_of, ranged, sized, wrong_type
from penstock_simulator.openai.models import EMBEDDINGS, foreign
from penstock_simulator.refusal import RefusalError
from penstock_simulator.text import tokens

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account
    from penstock_simulator.openai.models import Model, Models

_KNOWN = {"input", "model", "dimensions", "encoding_format", "user"}
_MOST_INPUTS = 2_048
_MOST_TOKENS = 300_000

Input = str | list[int]


@dataclass(slots=True)
class Wanted:
    """A request that passed."""

    model: Model
    inputs: list[Input]
    dimensions: int
    packed: bool
    """base64 instead of a list of numbers."""
    tokens: int


def check_embeddings(document: Any, models: Models, account: Account) -> Wanted:
    """Return what the request asks for; raises RefusalError."""
    if not isinstance(document, dict):
        raise invalid("We could not parse the JSON body of your request: expected an object.")
    for name in document:
        if name not in _KNOWN:
            raise invalid(f"Unrecognized request argument supplied: {name}", name, "unknown_parameter")
    model = _model(document, models, account)
    if "input" not in document:
        raise missing("input")
    inputs = _inputs(document["input"])
    sizes = [len(one) if isinstance(one, list) else tokens(len(one)) for one in inputs]
    longest, whole = max(sizes), sum(sizes)
    if longest > model.context and not model.free:
        raise invalid(
            f"This model's maximum context length is {model.context} tokens, however you requested {longest} tokens "
            f"({longest} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
        )
    if whole > _MOST_TOKENS and not model.free:
        words = f"Invalid 'input': maximum request size is {_MOST_TOKENS} tokens per request."
        raise invalid(words, "input", "max_tokens_per_request")
    dimensions = ranged(document, "dimensions", int, 1, None if model.free else model.dimensions) or model.dimensions
    packed = one_of(document, "encoding_format", ("float", "base64")) == "base64"
    may(document, "user", str)
    return Wanted(model, inputs, dimensions, packed, whole)


def _model(document: dict[str, Any], models: Models, account: Account) -> Model:
    if "model" not in document:
        raise invalid("you must provide a model parameter")
    name = need(document, "model", str)
    if account.compatible and name and account.serves(name):
        return foreign(name)
    model = None if account.compatible else models.find(name)
    if model is None or not account.serves(name):
        raise unknown_model(name)
    if EMBEDDINGS not in model.endpoints:
        words = "You are not allowed to generate embeddings from this model"
        raise RefusalError(403, "invalid_request_error", words, code="model_not_allowed")
    return model


def _inputs(given: Any) -> list[Input]:
    if isinstance(given, str):
        filled(given, "input")
        return [given]
    if not isinstance(given, list):
        raise wrong_type("input", "one of a string or array of strings", given)
    filled(given, "input")
    if all(type(one) is int for one in given):
        return [_ids(given, "input")]
    sized(given, "input", _MOST_INPUTS)
    for index, one in enumerate(given):
        where = f"input[{index}]"
        if isinstance(one, str) != isinstance(given[0], str) or not isinstance(one, str | list):
            raise wrong_type(where, "a string" if isinstance(given[0], str) else "an array of integers", one)
        filled(one, where)
        if isinstance(one, list):
            _ids(one, where)
    return given


def _ids(given: list[Any], where: str) -> list[int]:
    for index, one in enumerate(given):
        if type(one) is not int:
            raise wrong_type(f"{where}[{index}]", "an integer", one)
        if one < 0:
            raise invalid(f"Invalid '{where}[{index}]': {one} is not a token.", where, "invalid_value")
    return given


def vector(model: str, given: Input, dimensions: int) -> array.array[float]:
    """Return the vector of a text, of unit length, in single precision."""
    source = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else msgspec.json.encode(given)
    digest = hashlib.shake_256(model.encode() + b"\0" + source).digest(2 * dimensions)
    # Odd numbers, so that none is zero and the length is never zero.
    raw = [2 * value + 1 for value in array.array("h", digest)]
    length = math.sqrt(sum(value * value for value in raw))
    return array.array("f", [value / length for value in raw])


def _shown(wanted: Wanted, given: Input) -> list[float] | str:
    numbers = vector(wanted.model.name, given, wanted.dimensions)
    if not wanted.packed:
        return numbers.tolist()
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def body(wanted: Wanted) -> bytes:
    """Return the answer."""
    data = [
        {"object": "embedding", "index": index, "embedding": _shown(wanted, one)}
        for index, one in enumerate(wanted.inputs)
    ]
    usage = {"prompt_tokens": wanted.tokens, "total_tokens": wanted.tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": wanted.model.name, "usage": usage})
