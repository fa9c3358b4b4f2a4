import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.openai import prompt
from penstock_simulator.openai.sealed import seal

from .conftest import FLAT_TOOL, TOOL, account, chat, read_chat, read_responses, respond

ORGANIZATION = account().organization


def chat_tokens(**fields):
    return prompt.count(list(prompt.chat_parts(read_chat(chat(**fields)).document)))


def responses_tokens(**fields):
    return prompt.count(list(prompt.responses_parts(read_responses(respond(**fields)), ORGANIZATION)))


def user(*content):
    return [{"role": "user", "content": list(content)}]


PNG = {"url": "https://example.com/a.png"}
CALL = {"id": "c1", "type": "function", "function": {"name": "t", "arguments": "x" * 40}}


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"prompt": "x" * 40}, 10),
        ({"prompt": "x" * 41}, 11),
        ({"prompt": ""}, 1),
        ({"messages": user({"type": "text", "text": "x" * 40}, {"type": "image_url", "image_url": PNG})}, 1_510),
        ({"prompt": "", "tools": [TOOL]}, 30),
        (
            {
                "messages": [
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "c1", "content": "x" * 40},
                ]
            },
            27,
        ),
    ],
)
def test_a_chats_size(fields, tokens):
    assert chat_tokens(**fields) == pytest.approx(tokens, abs=1)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"prompt": "x" * 40}, 10),
        ({"prompt": "x" * 40, "instructions": "y" * 40}, 20),
        ({"prompt": "", "tools": [FLAT_TOOL]}, 26),
        (
            {"input": user({"type": "input_text", "text": "x" * 40}, {"type": "input_image", "image_url": PNG["url"]})},
            1_510,
        ),
        (
            {
                "input": [
                    {"type": "function_call", "call_id": "c1", "name": "tttt", "arguments": "x" * 36},
                    {"type": "function_call_output", "call_id": "c1", "output": "x" * 40},
                ]
            },
            20,
        ),
    ],
)
def test_a_responses_size(fields, tokens):
    assert responses_tokens(**fields) == pytest.approx(tokens, abs=1)


def test_reasoning_counts_for_what_it_was():
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": seal(ORGANIZATION, "t" * 4000, 1000),
    }
    said = {"role": "assistant", "content": "x" * 40}
    assert responses_tokens(input=[thought, said]) == 1010


TEXTS = st.lists(st.text(alphabet="ab", max_size=900), min_size=1, max_size=6)


def places(texts, minimum=16, ttl=300):
    return prompt.positions([(len(text), text) for text in texts], "m", minimum, ttl)


@given(TEXTS)
def test_places_are_every_128_tokens_wherever_the_parts_end(texts):
    whole = "".join(texts)
    found = places(texts)
    assert [place.tokens for place in found] == list(range(16, len(whole) // 4 + 1, 128))
    assert found == places([whole])
    assert {place.ttl for place in found} <= {300}


@given(TEXTS, TEXTS)
def test_what_begins_alike_has_the_same_places_as_long_as_it_is_alike(common, more):
    base = places(common)
    assert places([*common, *more])[: len(base)] == base


def test_places_tell_prompts_and_models_apart():
    assert places(["a" * 64]) != places(["b" * 64])
    assert prompt.positions([(64, "a" * 64)], "m", 16, 1) != prompt.positions([(64, "a" * 64)], "n", 16, 1)
    assert places(["a" * 63]) == []


def test_what_cannot_be_cut_has_no_place_within():
    image = {"type": "image_url"}
    found = prompt.positions([(64, "a" * 64), (6_000, image), (600, "b" * 600)], "m", 16, 1)
    assert [place.tokens for place in found] == [16, 16 + 128 * 12]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (chat("a"), "a"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": user({"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"})}, "a\nb"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "image_url"}]}]}, "a"),
        ({"input": "a"}, "a"),
        ({"input": ["a", "b"]}, "b"),
        ({"input": [{"role": "user", "content": "a"}, {"type": "function_call_output", "output": "b"}]}, "a"),
        ({"input": [[1, 2]]}, ""),
        ({"messages": 3}, ""),
        ({"messages": [3, None, {"role": "user", "content": 3}]}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_the_last_users_text(document, text):
    assert prompt.last_user_text(document) == text
