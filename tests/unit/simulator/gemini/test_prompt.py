"""What a prompt counts for, and where it may be remembered."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.gemini.messages import GENERATE
from penstock_simulator.gemini.prompt import count, last_user_text, positions
from penstock_simulator.gemini.proto import read

DATA = base64.b64encode(b"0" * 5000).decode()


def counted(*parts, **fields):
    return count(read(GENERATE, {"contents": [{"parts": list(parts)}], **fields}))


@pytest.mark.parametrize(
    ("parts", "tokens"),
    [
        ([{"text": "x" * 40}], {"TEXT": 10}),
        ([{"text": "x" * 41}], {"TEXT": 11}),
        ([{"text": "x"}, {"text": "y"}], {"TEXT": 1}),
        ([{"text": ""}], {"TEXT": 1}),
        ([{"text": "x", "thoughtSignature": DATA}], {"TEXT": 1}),
        ([{"inlineData": {"mimeType": "image/png", "data": DATA}}], {"IMAGE": 1500}),
        (
            [{"fileData": {"fileUri": "https://x", "mimeType": "video/mp4"}}, {"text": "abcd"}],
            {"VIDEO": 3000, "TEXT": 1},
        ),
        ([{"inlineData": {"mimeType": "application/pdf", "data": DATA}}] * 2, {"DOCUMENT": 6000}),
        ([{"functionCall": {"name": "f", "args": {"a": 1}}}], {"TEXT": 7}),  # {"name":"f","args":{"a":1}}
        ([{"functionResponse": {"name": "f", "response": {"a": 1}}}], {"TEXT": 8}),
    ],
)
def test_parts(parts, tokens):
    assert dict(counted(*parts)) == tokens


def test_media_count_for_positions_too():
    image = {"inlineData": {"mimeType": "image/png", "data": DATA}}
    document = read(GENERATE, {"contents": [{"parts": [{"text": "abcd"}, image, {"text": "abcd"}]}]})
    assert [place.tokens for place in positions(document, "m")] == [1, 1501, 1502]


def test_tools_and_system_count_too():
    plain = counted({"text": "x" * 4}).total()
    assert counted({"text": "x" * 4}, systemInstruction={"parts": [{"text": "y" * 40}]}).total() == plain + 10
    assert counted({"text": "x" * 4}, tools=[{"functionDeclarations": [{"name": "f" * 40}]}]).total() > plain + 10


texts = st.lists(st.text(max_size=9), min_size=1, max_size=6)


@given(texts, texts)
def test_the_same_beginning_has_the_same_positions(first, other):
    def places(said):
        parts = [{"text": text} for text in said]
        return positions(read(GENERATE, {"contents": [{"role": "user", "parts": parts}]}), "m")

    one, two = places(first), places(other)
    assert len(one) == len(first)
    same = [a.key == b.key for a, b in zip(one, two, strict=False)]
    begun = [first[: i + 1] == other[: i + 1] for i in range(len(same))]
    assert same == begun
    assert [place.tokens for place in one] == sorted(place.tokens for place in one)


def test_positions_differ_by_model_and_by_speaker():
    def key(model, role):
        document = read(GENERATE, {"contents": [{"role": role, "parts": [{"text": "a"}]}]})
        return positions(document, model)[0].key

    assert len({key("m", "user"), key("n", "user"), key("m", "model")}) == 3


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"contents": [{"parts": [{"text": "a"}, {"text": "b"}]}]}, "a\nb"),
        ({"contents": {"parts": {"text": "a"}}}, "a"),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]}, "a"),
        ({"contents": [{"parts": [{"text": "a"}]}, {"parts": [{"functionResponse": {"name": "f"}}]}]}, "a"),
        ({"generateContentRequest": {"contents": [{"parts": [{"text": "a"}]}]}}, "a"),
        ({"content": {"parts": [{"text": "a"}]}}, "a"),
        ({"requests": [{"content": {"parts": [{"text": "a"}]}}]}, "a"),
        ({"contents": [{"parts": "a"}, 7]}, ""),
        ([], ""),
    ],
)
def test_the_last_words_of_the_user(document, text):
    assert last_user_text(document) == text


names = st.sampled_from(["contents", "parts", "text", "role", "requests", "content", "generateContentRequest", "user"])


@given(st.recursive(st.none() | st.integers() | names, lambda inner: st.lists(inner) | st.dictionaries(names, inner)))
def test_the_last_words_of_anything(document):
    assert isinstance(last_user_text(document), str)
