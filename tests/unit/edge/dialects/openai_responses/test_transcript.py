"""Input items become turns."""

from __future__ import annotations

import base64

import pytest

from penstock_edge import signatures
from penstock_edge.errors import ProblemError
from tests.growth import LINEAR, growth
from tests.unit.edge.dialects.openai_responses.conversations import FUNCTION, USER, request

PNG = "data:image/png;base64,iVBORw0KGgo="


def text(words):
    return {"type": "text", "text": words}


def user(*content):
    return {"role": "user", "content": list(content)}


def assistant(*content):
    return {"role": "assistant", "content": list(content)}


def call(name, call_id, arguments="{}", **more):
    return {"type": "function_call", "name": name, "call_id": call_id, "arguments": arguments, **more}


def result(call_id, output="ok"):
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def use(name, call_id, given=None):
    return {"type": "tool_use", "id": call_id, "name": name, "input": given or {}}


def told(call_id, content="ok"):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


MESSAGES = [
    ([USER], [user(text("hi"))]),
    ([USER, {"role": "user", "content": [{"type": "input_text", "text": "there"}]}], [user(text("hi"), text("there"))]),
    ([USER, {"role": "assistant", "content": ""}, USER], [user(text("hi"), text("hi"))]),
    (
        [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
        ],
        [assistant(text("a"), text("no"))],
    ),
    (
        [
            USER,
            call("f", "1"),
            call("g", "2", '{"a": 1}'),
            result("1"),
            result("2", [{"type": "input_text", "text": "x"}]),
        ],
        [user(text("hi")), assistant(use("f", "1"), use("g", "2", {"a": 1})), user(told("1"), told("2", [text("x")]))],
    ),
    # Results come first in their turn, whatever the order of items.
    (
        [USER, call("f", "1"), USER, result("1")],
        [user(text("hi")), assistant(use("f", "1")), user(told("1"), text("hi"))],
    ),
    # Ids that each turn uses anew: a result is the newest call's, by whichever of its ids.
    (
        [
            call("f", "1", id="x"),
            {"type": "function_call_output", "call_id": "x", "output": "a"},
            call("g", "1", id="x"),
            {"type": "function_call_output", "call_id": "x", "output": "b"},
            call("h", "1"),
            result("1", "c"),
        ],
        [
            assistant(use("f", "1")),
            user(told("1", "a")),
            assistant(use("g", "1")),
            user(told("1", "b")),
            assistant(use("h", "1")),
            user(told("1", "c")),
        ],
    ),
    # A late result goes behind its call.
    (
        [USER, call("f", "1"), call("g", "2"), result("1"), {"role": "assistant", "content": "so"}, result("2"), USER],
        [
            user(text("hi")),
            assistant(use("f", "1"), use("g", "2")),
            user(told("1"), told("2")),
            assistant(text("so")),
            user(text("hi")),
        ],
    ),
    # As a model said them: half a surrogate pair, and a number that is none.
    (
        [USER, call("f", "1", r'{"a": "\ud83d", "b": NaN}'), result("1"), call("f", "2", r'{"a": "\ude00"}')],
        [
            user(text("hi")),
            assistant(use("f", "1", {"a": "\ufffd", "b": None})),
            user(told("1")),
            assistant(use("f", "2", {"a": "\ufffd"})),
        ],
    ),
    ([USER, call("f", "1", " "), result("1", "")], [user(text("hi")), assistant(use("f", "1")), user(told("1", ""))]),
    (
        [USER, {"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "assistant", "content": "x"}],
        [user(text("hi")), assistant(text("x"))],
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/jpg;base64,AAAA"}]}],
        [user({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}})],
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": PNG, "detail": "auto"}]}],
        [user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}})],
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x.example/a.png"}]}],
        [user({"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}})],
    ),
    (
        [{"role": "user", "content": [{"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="}]}],
        [
            user(
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                    "title": "a.pdf",
                }
            )
        ],
    ),
    (
        [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x.example/a.pdf"}]}],
        [user({"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}})],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "input_file",
                        "file_data": "data:text/csv;base64," + base64.b64encode(b"a,b").decode(),
                        "prompt_cache_breakpoint": {"mode": "explicit"},
                    }
                ],
            }
        ],
        [
            user(
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
                    "cache_control": {"type": "ephemeral"},
                }
            )
        ],
    ),
]


@pytest.mark.parametrize(("items", "turns"), MESSAGES)
def test_turns(items, turns):
    assert request(input=items).body["messages"] == turns


def test_instructions_stand_in_order():
    items = [
        {"role": "system", "content": "b"},
        USER,
        {"role": "developer", "content": [{"type": "input_text", "text": "c"}, {"type": "input_text", "text": ""}]},
    ]
    assert request(instructions="a", input=items).body["system"] == [text("a"), text("b"), text("c")]


def test_reasoning_of_openai_is_tagged_and_others_stay_tagged():
    foreign = signatures.tag("sig", "Anthropic")
    items = [
        USER,
        {
            "type": "reasoning",
            "id": "rs_1",
            "encrypted_content": "E",
            "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
        },
        {"type": "reasoning", "id": "rs_2", "encrypted_content": foreign, "summary": []},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]},
    ]
    own, others, unsigned = request(input=items).body["messages"][1]["content"]
    assert own["thinking"] == "a\n\nb"
    assert signatures.own(own["signature"], "OpenAI") == '{"id":"rs_1","encrypted_content":"E"}'
    assert others == {"type": "thinking", "thinking": "", "signature": foreign}
    assert unsigned == {"type": "thinking", "thinking": "c", "signature": ""}


def test_what_a_provider_ran_itself_is_listed():
    items = [USER, {"type": "web_search_call", "id": "ws_1"}, {"type": "mcp_list_tools"}, {"type": "future"}]
    read = request(input=items)
    assert read.ignored == ["input.1 (web_search_call)", "input.2 (mcp_list_tools)", "input.3 (future)"]
    assert len(read.body["messages"]) == 1


def test_hints_that_are_listed_once():
    image = {"type": "input_image", "image_url": PNG, "detail": "high"}
    said = {"role": "assistant", "content": "x", "phase": "commentary"}
    read = request(input=[{"role": "user", "content": [image, image]}, said, said])
    assert read.ignored == ["input_image.detail", "phase"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (5, "input.1: Input should be a valid dictionary"),
        ({"type": 5}, "input.1.type: Input should be a valid string"),
        ({"type": ["message"]}, "input.1.type: Input should be a valid string"),
        ({"content": "x"}, "input.1.role: field required"),
        ({"role": "critic", "content": "x"}, "input.1.role: Input should be"),
        ({"role": ["user"], "content": "x"}, "input.1.role: Input should be"),
        ({"role": "user"}, "input.1.content: field required"),
        ({"role": "user", "content": 5}, "input.1.content: Input should be a valid list"),
        ({"role": "user", "content": [5]}, "input.1.content.0: Input should be a valid dictionary"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input.1.content.0.text: field required"),
        (
            {"role": "user", "content": [{"type": ["x"], "text": "x"}]},
            "input.1.content.0.type: Input should be a valid",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio"}]},
            "input.1.content.0.type: content of the type input_audio",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "input.1.content.0.file_id: a file of",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/tiff;base64,AA=="}]},
            "input.1.content.0.image_url: an image should be JPEG, PNG, GIF or WebP",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png,AA"}]},
            "input.1.content.0.image_url: a data URL should be base64",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]},
            "input.1.content.0.image_url: Input should be an http(s) or data URL",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "data:video/mp4;base64,AA=="}]},
            "input.1.content.0.file_data: a file should be a PDF or plain text",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "data:text/plain;base64,/w=="}]},
            "input.1.content.0.file_data: text should be base64 of UTF-8",
        ),
        (
            {"role": "developer", "content": [{"type": "input_image", "image_url": PNG}]},
            "input.1.content: instructions other than text",
        ),
        ({"type": "item_reference", "id": "msg_1"}, "input.1: an item of the type item_reference"),
        ({"type": "compaction", "encrypted_content": "x"}, "input.1: an item of the type compaction"),
        (call("f", "1", "nonsense"), "input.1.arguments: Input should be a JSON object"),
        (call("f", "1", "[]"), "input.1.arguments: Input should be a JSON object"),
        (call("f", ""), "input.1.call_id: field required"),
        ({"type": "function_call", "call_id": "1", "arguments": "{}"}, "input.1.name: field required"),
        (result("1"), "input.1.call_id: there is no such call before it"),
        (result(["1"]), "input.1.call_id: there is no such call before it"),
        ({"type": "custom_tool_call", "name": "f", "call_id": "1"}, "input.1.input: field required"),
        ({"type": "reasoning", "summary": [{"text": 5}]}, "input.1.summary.0.text: Input should be a valid string"),
        ({"type": "additional_tools"}, "input.1.tools: field required"),
        ({"type": "local_shell_call", "id": "1"}, "input.1.action: field required"),
    ],
)
def test_items_that_are_refused(item, message):
    with pytest.raises(ProblemError) as error:
        request(input=[USER, item])
    assert error.value.problem.message.startswith(message)


def test_calls_of_tools_that_clients_run():
    items = [
        USER,
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "1",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": None},
        },
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "a.txt"},
        {"type": "shell_call", "call_id": "2", "action": {"commands": ["ls", "pwd"]}},
        {"type": "shell_call_output", "call_id": "2", "output": [{"stdout": "a", "outcome": {"type": "timeout"}}]},
        {
            "type": "apply_patch_call",
            "call_id": "3",
            "status": "completed",
            "operation": {"type": "delete_file", "path": "a"},
        },
        {"type": "apply_patch_call_output", "call_id": "3", "status": "failed"},
    ]
    turns = request(input=items).body["messages"]
    assert turns[1:] == [
        assistant(use("local_shell", "1", {"command": ["ls"], "env": {}})),
        user(told("1", "a.txt")),
        assistant(use("shell", "2", {"commands": ["ls", "pwd"]})),
        user(told("2", '[{"stdout":"a","outcome":{"type":"timeout"}}]')),
        assistant(use("apply_patch", "3", {"type": "delete_file", "path": "a"})),
        user(told("3", "failed")),
    ]


def test_tools_found_by_a_search_can_be_called():
    items = [
        USER,
        {"type": "tool_search_call", "call_id": "1", "execution": "client", "arguments": {"query": "look"}},
        {"type": "tool_search_output", "call_id": "1", "execution": "client", "tools": [FUNCTION]},
    ]
    read = request(input=items, tools=[{"type": "tool_search", "execution": "client"}])
    assert [tool["name"] for tool in read.body["tools"]] == ["tool_search", "look"]
    assert read.body["messages"][1]["content"] == [use("tool_search", "1", {"query": "look"})]


def many_results(count):
    names = [f"c{n}" for n in range(count)]
    items = [USER, *(call("f", name) for name in names), USER, *(result(name) for name in names)]
    return lambda: request(input=items)


def test_results_cost_no_more_the_more_there_are():
    turns = many_results(300)().body["messages"]
    assert [block.get("tool_use_id") for block in turns[2]["content"]] == [*(f"c{n}" for n in range(300)), None]
    assert growth(many_results, 1_500) < LINEAR


def many_allowed_tools(count):
    tools = [FUNCTION | {"name": f"f{n}"} for n in range(count)]
    allowed = [{"type": "function", "name": f"g{n}"} for n in range(count)]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [*allowed, {"type": "function", "name": "f7"}]}
    return lambda: request(tools=tools, tool_choice=choice)


def test_tools_allowed_by_name_alone_cost_no_more_the_more_there_are():
    assert [tool["name"] for tool in many_allowed_tools(300)().body["tools"]] == ["f7"]
    assert growth(many_allowed_tools, 1_500) < LINEAR


def much_that_is_ignored(count):
    odd = [{"type": f"odd{n}"} for n in range(count)]
    return lambda: request(input=[*odd, *[USER | {"phase": "commentary"}] * count])


def test_what_is_ignored_costs_no_more_the_more_there_is():
    assert len(much_that_is_ignored(300)().ignored) == 301
    assert growth(much_that_is_ignored, 2_000) < LINEAR
