"""Input items that are refused, alone or together."""

import pytest

from penstock_simulator.openai import identities
from penstock_simulator.openai.sealed import seal
from penstock_simulator.openai.stored import Stored
from penstock_simulator.refusal import RefusalError

from .conftest import account, read_responses, respond

HI = {"role": "user", "content": "hi"}
SEALED = seal(account().organization, "thought", 2)
TEXT = {"type": "input_text", "text": "x"}
SAID = {"type": "output_text", "text": "x", "annotations": []}
PNG = "data:image/png;base64,aW1nIGJ5dGVz"


def message(role, *content, **fields):
    return {"type": "message", "role": role, "content": list(content), **fields}


def call(identity="c1", **fields):
    return {"type": "function_call", "call_id": identity, "name": "t", "arguments": "{}", **fields}


def output(identity="c1", value="ok", **fields):
    return {"type": "function_call_output", "call_id": identity, "output": value, **fields}


def custom(identity="c1", **fields):
    return {"type": "custom_tool_call", "call_id": identity, "name": "t", "input": "x", **fields}


def custom_output(identity="c1", value="ok"):
    return {"type": "custom_tool_call_output", "call_id": identity, "output": value}


def reasoning(**fields):
    document = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SEALED} | fields
    return {name: value for name, value in document.items() if value is not ...}


FINE = [
    [HI],
    [message("developer", TEXT), message("system", TEXT), message("user", TEXT)],
    [HI, message("assistant", SAID, id="msg_1", status="completed", phase="commentary")],
    [HI, {"role": "assistant", "content": "said"}],
    [message("user", {"type": "input_image", "image_url": PNG, "detail": "auto"})],
    [message("user", {"type": "input_file", "file_url": "https://example.com/a.pdf"})],
    [HI, call(id="fc_1", status="completed", namespace="n"), output()],
    [HI, call("c1"), call("c2"), output("c2", [TEXT]), output("c1", ""), HI],
    [HI, custom(id="ctc_1"), custom_output()],
    [HI, reasoning(), call(), output()],
    [HI, reasoning(id=..., content=None), call(), output()],
    [HI, reasoning(summary=[{"type": "summary_text", "text": "s"}]), reasoning(id="rs_2"), message("assistant", SAID)],
    [HI, {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}],
    [HI, {"type": "compaction", "encrypted_content": "anything"}],
]


@pytest.mark.parametrize("items", FINE)
def test_what_is_fine(items):
    assert read_responses(respond(input=items)).items == [{"type": "message"} | item for item in items]


FOREIGN = seal("another organization", "thought", 2)
REFUSED = [
    ([3], 400, "input[0]", "invalid_type", "expected an object, but got an integer"),
    ([{"content": "x"}], 400, "input[0].type", "missing_required_parameter", "Missing required parameter"),
    ([{"type": "text"}], 400, "input[0].type", "invalid_value", "Supported values are: 'additional_tools'"),
    ([{"type": {}}], 400, "input[0].type", "invalid_type", "expected a string, but got an object"),
    ([HI | {"x": 1}], 400, "input[0].x", "unknown_parameter", "Unknown parameter: 'input[0].x'."),
    ([HI | {"role": "tool"}], 400, "input[0].role", "invalid_value", "Invalid value: 'tool'"),
    ([{"role": "user"}], 400, "input[0].content", "missing_required_parameter", "Missing required parameter"),
    ([message("user")], 400, "input[0].content", "empty_array", "empty array"),
    (
        [message("user", {"type": "text", "text": "x"})],
        400,
        "input[0].content[0].type",
        "invalid_value",
        "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', 'input_file', and 'input_audio'.",
    ),
    ([message("assistant", TEXT)], 400, "input[0].content[0].type", "invalid_value", "'output_text' and 'refusal'"),
    (
        [message("user", {"type": "input_image", "image_url": {"url": PNG}})],
        400,
        "input[0].content[0].image_url",
        "invalid_type",
        "expected a string, but got an object",
    ),
    (
        [message("user", {"type": "input_image"})],
        400,
        "input[0].content[0].image_url",
        "missing_required_parameter",
        "",
    ),
    ([message("user", {"type": "input_image", "file_id": "f"})], 404, "file_id", None, "were not found"),
    (
        [message("assistant", SAID, id="x1")],
        400,
        "input[0].id",
        "invalid_value",
        "Expected an ID that begins with 'msg'.",
    ),
    ([call(id="call_1"), output()], 400, "input[0].id", "invalid_value", "Expected an ID that begins with 'fc'."),
    ([call(id="fc_" + "1" * 62), output()], 400, "input[0].id", "string_above_max_length", "maximum length 64"),
    ([call("c" * 65), output("c" * 65)], 400, "input[0].call_id", "string_above_max_length", "maximum length 64"),
    ([call(arguments={}), output()], 400, "input[0].arguments", "invalid_type", "expected a string"),
    ([call(), output(value=3)], 400, "input[1].output", "invalid_type", "one of a string or array of objects"),
    (
        [call(), {"type": "function_call_output", "call_id": "c1"}],
        400,
        "input[1].output",
        "missing_required_parameter",
        "",
    ),
    ([call(), output(value=[SAID])], 400, "input[1].output[0].type", "invalid_value", "Invalid value: 'output_text'"),
    ([HI, call()], 400, "input", None, "No tool output found for function call c1."),
    ([HI, call("c1"), call("c2"), output("c1")], 400, "input", None, "No tool output found for function call c2."),
    ([HI, output()], 400, "input", None, "No tool call found for function call output with call_id c1."),
    ([HI, output(), call()], 400, "input", None, "No tool call found for function call output"),
    ([HI, custom()], 400, "input", None, "No tool output found for custom tool call c1."),
    ([HI, call(), custom_output()], 400, "input", None, "No tool call found for custom tool call output"),
    ([reasoning(summary=...), HI], 400, "input[0].summary", "missing_required_parameter", "Missing required parameter"),
    (
        [HI, reasoning()],
        400,
        "input",
        None,
        "Item 'rs_1' of type 'reasoning' was provided without its required following",
    ),
    ([reasoning(), HI], 400, "input", None, "without its required following item"),
    ([reasoning(id="r1"), call(), output()], 400, "input[0].id", "invalid_value", "begins with 'rs'"),
    ([reasoning(encrypted_content=None), call(), output()], 404, "input", None, "Item with id 'rs_1' not found."),
    (
        [reasoning(encrypted_content=..., id=...), call(), output()],
        400,
        "input[0].id",
        "missing_required_parameter",
        "",
    ),
    (
        [reasoning(encrypted_content="gAAAAABnonsense"), call(), output()],
        400,
        None,
        "invalid_encrypted_content",
        "The encrypted content gAAA...ense could not be verified. Reason: Encrypted content could not be decrypted or parsed.",
    ),
    (
        [reasoning(encrypted_content=FOREIGN), call(), output()],
        400,
        None,
        "invalid_encrypted_content",
        "Reason: Encrypted content organization_id did not match the target organization.",
    ),
    ([HI, call(id="fc_1"), call("c2", id="fc_1"), output()], 400, "input", None, "Duplicate item found with id fc_1."),
    (
        [{"type": "item_reference", "id": "msg_1"}],
        404,
        "input",
        None,
        "Items are not persisted when `store` is set to false",
    ),
    ([{"id": "msg_1"}], 404, "input", None, "Item with id 'msg_1' not found."),
]


@pytest.mark.parametrize(("items", "status", "param", "code", "words"), REFUSED)
def test_what_is_refused(items, status, param, code, words):
    with pytest.raises(RefusalError) as refused:
        read_responses(respond(input=items))
    error = refused.value
    assert words in error.message
    assert (error.status, error.kind, error.param, error.code) == (status, "invalid_request_error", param, code)


def test_references_are_followed():
    stored = Stored()
    said = message("assistant", SAID, id="msg_1")
    thought = reasoning(id="rs_9")
    stored.add("resp_1", [], [thought, said], 1)
    items = [HI, {"type": "reasoning", "id": "rs_9", "summary": []}, {"type": "item_reference", "id": "msg_1"}]
    assert read_responses(respond(input=items), stored).items[2] is said


def test_a_call_needs_the_reasoning_that_it_came_with():
    identity = identities.item_id("fc", "x", 1, reasoned=True)
    thought = reasoning(id=identities.item_id("rs", "x", 0, reasoned=False))
    read_responses(respond(input=[HI, thought, call(id=identity), output()]))
    read_responses(respond(input=[HI, thought | {"id": None}, call(id=identity), output()]))
    read_responses(respond(input=[HI, call(id=identities.item_id("fc", "x", 1, reasoned=False)), output()]))
    with pytest.raises(
        RefusalError, match=f"'{identity}' of type 'function_call' was provided without its required 'reas"
    ):
        read_responses(respond(input=[HI, call(id=identity), output()]))


def test_results_are_noticed():
    assert read_responses(respond(input=[HI, call(), output()])).answered
    assert read_responses(respond(input=[HI, custom(), custom_output()])).answered
    assert not read_responses(respond(input=[HI, call(), output(), HI])).answered
