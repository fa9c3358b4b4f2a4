import base64
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.openai.embeddings import body, check_embeddings, vector
from penstock_simulator.openai.models import Models
from penstock_simulator.refusal import RefusalError

from .conftest import account, without

SMALL = "text-embedding-3-small"


def asked(given="hi", **fields):
    return without({"model": SMALL, "input": given} | fields)


def run(document, **fields):
    return check_embeddings(document, Models(), account(**fields))


@given(st.text(max_size=50) | st.lists(st.integers(0, 99), min_size=1, max_size=9), st.integers(1, 300))
def test_vectors_are_of_unit_length_and_repeatable(text, dimensions):
    numbers = vector("m", text, dimensions)
    assert len(numbers) == dimensions
    assert math.isclose(sum(one * one for one in numbers), 1, rel_tol=1e-5)
    assert numbers == vector("m", text, dimensions)


def test_another_text_or_model_has_another_vector():
    assert vector("m", "a", 8) != vector("m", "b", 8)
    assert vector("m", "a", 8) != vector("n", "a", 8)


@pytest.mark.parametrize(
    ("inputs", "count", "tokens"),
    [
        ("hello", 1, 2),
        (["hello", "hi"], 2, 3),
        ([1, 2, 3], 1, 3),
        ([[1, 2, 3], [4]], 2, 4),
        ("x" * 32_768, 1, 8_192),
        (["x"] * 2_048, 2_048, 2_048),
    ],
)
def test_inputs(inputs, count, tokens):
    wanted = run(asked(inputs))
    assert (len(wanted.inputs), wanted.tokens, wanted.dimensions) == (count, tokens, 1_536)


def test_the_answer():
    answer = json.loads(body(run(asked(["a", "b"], dimensions=4))))
    assert (answer["object"], answer["model"], answer["usage"]) == (
        "list",
        SMALL,
        {"prompt_tokens": 2, "total_tokens": 2},
    )
    assert [(one["object"], one["index"], len(one["embedding"])) for one in answer["data"]] == [
        ("embedding", 0, 4),
        ("embedding", 1, 4),
    ]


def test_both_encodings_are_the_same_numbers():
    plain = json.loads(body(run(asked(dimensions=16))))["data"][0]["embedding"]
    packed = json.loads(body(run(asked(dimensions=16, encoding_format="base64"))))["data"][0]["embedding"]
    assert list(struct.unpack("<16f", base64.b64decode(packed))) == plain


@pytest.mark.parametrize(
    ("document", "status", "param", "code", "words"),
    [
        ([], 400, None, None, "expected an object"),
        (asked(model=...), 400, None, None, "you must provide a model parameter"),
        (asked(model="nope"), 404, None, "model_not_found", "does not exist"),
        (asked(model="gpt-4o"), 403, None, "model_not_allowed", "not allowed to generate embeddings"),
        (asked(input=...), 400, "input", "missing_required_parameter", "Missing required parameter: 'input'"),
        (asked(xyz=1), 400, "xyz", "unknown_parameter", "Unrecognized request argument supplied: xyz"),
        (asked(""), 400, "input", "empty_string", "empty string"),
        (asked([]), 400, "input", "empty_array", "empty array"),
        (asked(["a", ""]), 400, "input[1]", "empty_string", "empty string"),
        (asked(3), 400, "input", "invalid_type", "one of a string or array of strings"),
        (asked(["a", 3]), 400, "input[1]", "invalid_type", "expected a string, but got an integer"),
        (asked([[1], "a"]), 400, "input[1]", "invalid_type", "expected an array of integers, but got a string"),
        (asked([[1, "a"]]), 400, "input[0][1]", "invalid_type", "expected an integer"),
        (asked([-1]), 400, "input", "invalid_value", "-1 is not a token"),
        (asked(["a"] * 2_049), 400, "input", "array_above_max_length", "maximum length 2048"),
        (asked("x" * 32_769), 400, None, None, "maximum context length is 8192 tokens, however you requested 8193"),
        (asked(["x" * 32_000] * 38), 400, "input", "max_tokens_per_request", "300000 tokens per request"),
        (asked(dimensions=0), 400, "dimensions", "integer_below_min_value", ">= 1"),
        (asked(dimensions=1_537), 400, "dimensions", "integer_above_max_value", "<= 1536"),
        (asked(encoding_format="hex"), 400, "encoding_format", "invalid_value", "'float' and 'base64'"),
        (asked(user=3), 400, "user", "invalid_type", "expected a string"),
    ],
)
def test_what_is_refused(document, status, param, code, words):
    with pytest.raises(RefusalError) as refused:
        run(document)
    assert words in refused.value.message
    assert (refused.value.status, refused.value.param, refused.value.code) == (status, param, code)


def test_a_compatible_server_embeds_with_any_model():
    wanted = run(asked("x" * 99_999, model="bge-m3", dimensions=5_000), compatible=True)
    assert (wanted.model.name, wanted.dimensions) == ("bge-m3", 5_000)
    assert run(asked(model="bge-m3"), compatible=True).dimensions == 1_024
    with pytest.raises(RefusalError, match="does not exist"):
        run(asked(), compatible=True, models=("bge-*",))
