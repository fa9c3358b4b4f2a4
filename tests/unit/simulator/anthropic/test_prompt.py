import pytest

from penstock_simulator.anthropic.prompt import DOCUMENT_CHARS, IMAGE_CHARS, chars, count, last_user_text


@pytest.mark.parametrize(
    ("block", "size"),
    [
        ({"type": "text", "text": "x" * 9}, 9),
        ({"type": "image", "source": {}}, IMAGE_CHARS),
        ({"type": "document", "source": {"type": "base64"}}, DOCUMENT_CHARS),
        ({"type": "document", "source": {"type": "text", "data": "four"}}, 4),
        ({"type": "tool_result", "content": "abc"}, 3),
        ({"type": "tool_result", "content": [{"type": "text", "text": "abc"}]}, 3),
        ({"type": "tool_result"}, 0),
        ({"type": "thinking", "thinking": "hm"}, 2),
        ({"type": "tool_use", "id": "i"}, len('{"type":"tool_use","id":"i"}')),
    ],
)
def test_what_a_block_counts(block, size):
    assert chars(block) == size


def test_the_whole_is_counted_once_and_rounded_up():
    document = {
        "tools": [{"name": "t"}],
        "system": "abcd",
        "messages": [
            {"role": "user", "content": "ab"},
            {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
        ],
    }
    assert count(document) == -(-(len('{"name":"t"}') + 4 + 2 + 1) // 4)
    assert count({"messages": [{"role": "user", "content": ""}]}) == 1


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "a"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}, 5]}]}, "a\nb"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "tool_result"}]}]},
            "a",
        ),
        ({"messages": "x"}, ""),
        ({"messages": [5, {"role": "user", "content": None}]}, ""),
        ({}, ""),
    ],
)
def test_the_last_user_text_is_found_in_whatever_comes(document, found):
    assert last_user_text(document) == found
