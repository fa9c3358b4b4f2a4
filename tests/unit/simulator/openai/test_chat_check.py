"""What Chat Completions refuses, with its words."""

import pytest

from penstock_simulator.refusal import RefusalError

from .conftest import CITY, CUSTOM, HI, STRICT, TOOL, chat, read_chat

PNG = "data:image/png;base64,aW1nIGJ5dGVz"
PDF = "data:application/pdf;base64,aW1nIGJ5dGVz"
FUNCTION = {"name": "weather", "parameters": CITY}


def parts(*given, **fields):
    return chat(messages=[{"role": "user", "content": list(given)}], **fields)


def tool(**function):
    return chat(tools=[{"type": "function", "function": {"name": "weather", **function}}])


def named(name, kind="function"):
    return {"type": kind, kind: {"name": name}}


def schema(inner, **more):
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": inner, **more}})


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def file(**fields):
    return {"type": "file", "file": fields}


FINE = [
    chat(),
    chat(temperature=2, top_p=0.5, presence_penalty=-2, frequency_penalty=2, seed=1, n=3, stop="x", user="u"),
    chat(max_tokens=16_384, stop=["a", "b", "c", "d"], logit_bias={"1": 2}, logprobs=True, top_logprobs=20),
    chat(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}),
    chat(store=True, metadata={"a": "b"}, service_tier="flex", safety_identifier="s", prompt_cache_key="k"),
    chat(max_tokens=None, temperature=None, tools=None, stop=None, stream=None, response_format=None),
    chat(response_format={"type": "text"}),
    chat("give me json", response_format={"type": "json_object"}),
    chat(tools=[TOOL, CUSTOM], tool_choice="required", parallel_tool_calls=False),
    chat(tools=[TOOL], tool_choice=named("weather")),
    chat(tools=[CUSTOM], tool_choice=named("patch", "custom")),
    chat(functions=[FUNCTION], function_call={"name": "weather"}),
    chat(
        tools=[TOOL],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("weather")]}},
    ),
    tool(),
    tool(parameters=STRICT, strict=True),
    schema(CITY),
    schema(STRICT, strict=True),
    parts(
        {"type": "text", "text": "x"},
        image("https://example.com/a.png"),
        image(PNG),
        file(file_data=PDF, filename="a.pdf"),
    ),
    chat(
        messages=[{"role": "developer", "content": "d"}, {"role": "system", "content": [{"type": "text", "text": ""}]}]
    ),
    chat(model="gpt-5", max_completion_tokens=128_000, temperature=1, top_p=1, reasoning_effort="minimal"),
    chat(model="gpt-5.1", temperature=0.5, logprobs=True),
    chat(model="gpt-5.2", temperature=0.5, reasoning_effort="none", verbosity="low"),
    chat(model="o3", reasoning_effort="high", presence_penalty=0),
    chat(model="gpt-4.1", prediction={"type": "content", "content": "x"}, verbosity="medium"),
]


@pytest.mark.parametrize("document", FINE)
def test_what_is_fine(document):
    assert read_chat(document).document is document


REFUSED = [
    # fields that must be there, and their types
    (chat(model=...), None, None, "you must provide a model parameter"),
    (
        chat(model=3),
        "model",
        "invalid_type",
        "Invalid type for 'model': expected a string, but got an integer instead.",
    ),
    (chat(messages=...), "messages", "missing_required_parameter", "Missing required parameter: 'messages'."),
    (chat(messages="hi"), "messages", "invalid_type", "expected an array of objects, but got a string instead."),
    (chat(messages=[]), "messages", "empty_array", "Expected an array with minimum length 1, but got an empty array"),
    (chat(messages=["hi"]), "messages[0]", "invalid_type", "expected an object, but got a string instead."),
    ([], None, None, "expected an object"),
    (chat(stream="yes"), "stream", "invalid_type", "expected a boolean, but got a string instead."),
    (chat(max_tokens=1.5), "max_tokens", "invalid_type", "expected an integer, but got a decimal number instead."),
    (chat(n=True), "n", "invalid_type", "expected an integer, but got a boolean instead."),
    # unknown fields
    (chat(xyz=1), "xyz", "unknown_parameter", "Unrecognized request argument supplied: xyz"),
    (chat(thinking={"type": "enabled"}), "thinking", "unknown_parameter", "Unrecognized request argument supplied"),
    (chat(top_k=3), "top_k", "unknown_parameter", "Unrecognized request argument supplied: top_k"),
    (chat(reasoning_effort="low"), "reasoning_effort", "unknown_parameter", "Unrecognized request argument supplied"),
    (chat(messages=[HI | {"x": 1}]), "messages[0].x", "unknown_parameter", "Unknown parameter: 'messages[0].x'."),
    # bounds
    (chat(temperature=2.1), "temperature", "decimal_above_max_value", "Expected a value <= 2, but got 2.1 instead."),
    (chat(top_p=-1), "top_p", "decimal_below_min_value", "Expected a value >= 0, but got -1 instead."),
    (chat(n=0), "n", "integer_below_min_value", "Expected a value >= 1, but got 0 instead."),
    (chat(n=129), "n", "integer_above_max_value", "Expected a value <= 128"),
    (chat(max_tokens=0), "max_tokens", "integer_below_min_value", "Expected a value >= 1"),
    (
        chat(max_tokens=16_385),
        "max_tokens",
        "invalid_value",
        "max_tokens is too large: 16385. This model supports at most",
    ),
    (chat(max_tokens=1, max_completion_tokens=1), "max_tokens", "invalid_parameter_combination", "at the same time"),
    (
        chat(stop=list("abcde")),
        "stop",
        "array_above_max_length",
        "array too long. Expected an array with maximum length 4",
    ),
    (chat(stop=[""]), "stop[0]", "empty_string", "empty string"),
    (chat(stop=3), "stop", "invalid_type", "expected one of a string or array of strings"),
    (chat(top_logprobs=3), "top_logprobs", None, "only allowed when 'logprobs' is enabled"),
    (chat(logprobs=True, top_logprobs=21), "top_logprobs", "integer_above_max_value", "<= 20"),
    (chat(stream_options={"include_usage": True}), "stream_options", None, "only allowed when 'stream' is enabled"),
    (chat(stream=True, stream_options={"x": True}), "stream_options.x", "unknown_parameter", "Unknown parameter"),
    (chat(metadata={"a": "b"}), "metadata", None, "only allowed when 'store' is enabled"),
    (chat(store=True, metadata={"a": 1}), "metadata.a", "invalid_type", "expected a string"),
    (
        chat(store=True, metadata={str(i): "" for i in range(17)}),
        "metadata",
        "object_above_max_properties",
        "at most 16",
    ),
    (chat(service_tier="best"), "service_tier", "invalid_value", "Supported values are: 'auto', 'default'"),
    (chat(web_search_options={}), "web_search_options", None, "Web search options not supported with this model."),
    (chat(modalities=["text", "audio"]), "modalities", "invalid_value", "does not support audio output"),
    (chat(verbosity="low"), "verbosity", "unsupported_value", "Supported values are: 'medium'"),
    # what reasoning models do not take
    (
        chat(model="gpt-5", max_tokens=5),
        "max_tokens",
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    (
        chat(model="o4-mini", temperature=0.2),
        "temperature",
        "unsupported_value",
        "'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
    ),
    (
        chat(model="gpt-5.1", temperature=0, reasoning_effort="low"),
        "temperature",
        "unsupported_value",
        "Only the default",
    ),
    (chat(model="gpt-5", top_p=0.9), "top_p", "unsupported_parameter", "'top_p' is not supported with this model"),
    (chat(model="gpt-5", presence_penalty=1), "presence_penalty", "unsupported_parameter", "not supported"),
    (chat(model="gpt-5", logit_bias={"1": 1}), "logit_bias", "unsupported_parameter", "not supported"),
    (chat(model="gpt-5", logprobs=True), "logprobs", "unsupported_parameter", "not supported"),
    (chat(model="gpt-5", stop=["x"]), "stop", "unsupported_parameter", "not supported"),
    (chat(model="gpt-5", reasoning_effort="none"), "reasoning_effort", "unsupported_value", "does not support 'none'"),
    (chat(model="gpt-5", reasoning_effort="most"), "reasoning_effort", "invalid_value", "Invalid value: 'most'"),
    # tools
    (chat(tools=[]), "tools", "empty_array", "empty array"),
    (chat(tools=[TOOL] * 129), "tools", "array_above_max_length", "maximum length 128"),
    (
        chat(tools=[{"type": "web_search"}]),
        "tools[0].type",
        "invalid_value",
        "Supported values are: 'function' and 'custom'.",
    ),
    (chat(tools=[{"type": "function", "name": "x"}]), "tools[0].name", "unknown_parameter", "Unknown parameter"),
    (
        chat(tools=[{"type": "function"}]),
        "tools[0].function",
        "missing_required_parameter",
        "Missing required parameter",
    ),
    (tool(name=""), "tools[0].function.name", "empty_string", "empty string"),
    (tool(name="a b"), "tools[0].function.name", "invalid_value", "string does not match pattern"),
    (tool(name="a" * 65), "tools[0].function.name", "string_above_max_length", "maximum length 64"),
    (
        tool(parameters={"type": "object"}),
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'weather': In context=(), object schema missing properties.",
    ),
    (
        tool(parameters=CITY, strict=True),
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "additionalProp",
    ),
    (tool(input_schema=CITY), "tools[0].function.input_schema", "unknown_parameter", "Unknown parameter"),
    (chat(tool_choice="auto"), "tool_choice", None, "'tool_choice' is only allowed when 'tools' are specified."),
    (chat(parallel_tool_calls=True), "parallel_tool_calls", None, "only allowed when 'tools' are specified."),
    (chat(tools=[TOOL], tool_choice="any"), "tool_choice", "invalid_value", "'none', 'auto', and 'required'"),
    (chat(tools=[TOOL], tool_choice=named("x")), "tool_choice", None, "'x' not found in 'tools' parameter"),
    (chat(tools=[TOOL], tool_choice={"type": "tool", "name": "x"}), "tool_choice.type", "invalid_value", "'tool'"),
    (chat(tools=[TOOL], tool_choice=3), "tool_choice", "invalid_type", "one of a string or object"),
    (chat(functions=[FUNCTION | {"strict": True}]), "functions[0].strict", "unknown_parameter", "Unknown parameter"),
    # structured output
    (
        chat(response_format={"type": "json"}),
        "response_format.type",
        "invalid_value",
        "'json_object', 'json_schema', and 'text'",
    ),
    (chat(response_format={"type": "json_object"}), "messages", None, "must contain the word 'json' in some form"),
    (
        chat(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        "missing_required_parameter",
        "Missing",
    ),
    (schema(CITY, strict=True), "response_format", None, "Invalid schema for response_format 's': In context=()"),
    (schema({"type": "array", "items": CITY}), "response_format", None, "got 'type: \"array\"'"),
    (schema(CITY, name="a b"), "response_format.json_schema.name", "invalid_value", "string does not match pattern"),
    (schema(None, strict=True), "response_format.json_schema.schema", "missing_required_parameter", "Missing required"),
    # content
    (parts(), "messages[0].content", "empty_array", "empty array"),
    (parts("x"), "messages[0].content[0]", "invalid_type", "expected an object"),
    (
        parts({"type": "input_text", "text": "x"}),
        "messages[0].content[0].type",
        "invalid_value",
        "Invalid value: 'input_text'",
    ),
    (
        parts({"type": "text"}),
        "messages[0].content[0].text",
        "missing_required_parameter",
        "Missing required parameter",
    ),
    (
        parts({"type": "text", "text": "x", "cache_control": {}}),
        "messages[0].content[0].cache_control",
        "unknown_parameter",
        "",
    ),
    (
        parts({"type": "image_url", "image_url": PNG}),
        "messages[0].content[0].image_url",
        "invalid_type",
        "expected an object, but got a string instead.",
    ),
    (parts(image("ftp://x")), "messages[0].content[0].image_url.url", "invalid_value", "Expected a valid URL"),
    (parts(image(PDF)), "messages[0].content[0].image_url.url", "invalid_image_format", "unsupported image"),
    (
        parts(image("data:image/png;base64,%%%")),
        "messages[0].content[0].image_url.url",
        "invalid_base64",
        "invalid base64",
    ),
    (
        parts(file(file_data="JVBERi0=", filename="a")),
        "messages[0].content[0].file.file_data",
        "invalid_value",
        "'data:' prefix",
    ),
    (
        parts(file(file_data=PNG, filename="a")),
        "messages[0].content[0].file.file_data",
        "invalid_value",
        "MIME type 'image/png'",
    ),
    (parts(file(file_data=PDF)), "messages[0].content[0].file.filename", "missing_required_parameter", "Missing"),
    (parts(file(filename="a")), "messages[0].content[0].file.file_id", "missing_required_parameter", "Missing"),
    (parts({"type": "input_audio", "input_audio": {}}), "messages", "invalid_value", "either text or image_url type"),
]


@pytest.mark.parametrize(("document", "param", "code", "words"), REFUSED)
def test_what_is_refused(document, param, code, words):
    with pytest.raises(RefusalError) as refused:
        read_chat(document)
    error = refused.value
    assert words in error.message
    assert (error.status, error.kind, error.param, error.code) == (400, "invalid_request_error", param, code)


@pytest.mark.parametrize(
    ("name", "param", "code", "words"),
    [
        ("nope", None, "model_not_found", "The model `nope` does not exist or you do not have access to it."),
        ("gpt-5.3-codex", "model", None, "only supported in v1/responses and not in v1/chat/completions"),
        ("text-embedding-3-small", "model", None, "This is not a chat model"),
        ("gpt-image-1", "model", None, "This is not a chat model"),
    ],
)
def test_models_that_do_not_chat(name, param, code, words):
    with pytest.raises(RefusalError) as refused:
        read_chat(chat(model=name))
    error = refused.value
    assert words in error.message
    assert (error.status, error.param, error.code) == (404, param, code)


def test_an_account_may_be_kept_from_a_model():
    read_chat(chat(model="gpt-4o-mini"), models=("gpt-4o-*",))
    with pytest.raises(RefusalError, match="does not exist or you do not have access"):
        read_chat(chat(), models=("gpt-4o-*",))


def test_a_file_that_was_never_given():
    with pytest.raises(RefusalError, match="file-1") as refused:
        read_chat(parts(file(file_id="file-1")))
    assert refused.value.status == 404


def test_a_compatible_server_knows_no_manners():
    document = chat(model="gpt-5", max_tokens=7, temperature=0.3, stop=["x"], reasoning_effort="high", logprobs=True)
    asked = read_chat(document, compatible=True)
    assert (asked.model.name, asked.max_tokens, asked.stops) == ("gpt-5", 7, ["x"])
    read_chat(
        chat(model="org/some-model:free", messages=[{"role": "assistant", "content": "", "reasoning_content": "r"}]),
        compatible=True,
    )
    with pytest.raises(RefusalError, match="does not exist"):
        read_chat(chat(model="other"), compatible=True, models=("llama-*",))
    with pytest.raises(RefusalError, match="Unrecognized request argument supplied: xyz"):
        read_chat(chat(xyz=1), compatible=True)


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
SPEAK = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (parts(AUDIO), ""),
        (chat(**SPEAK), ""),
        (chat(**SPEAK | {"audio": {"voice": "alloy", "format": "pcm16"}}, stream=True), ""),
        (chat(), "requires that either input content or output modality contain audio"),
        (chat(**SPEAK, stream=True), "Supported values are: 'pcm16'"),
        (chat(modalities=["audio"]), "Missing required parameter: 'audio'"),
        (chat(**SPEAK | {"audio": {"format": "wav"}}), "Missing required parameter: 'audio.voice'"),
        (chat(**SPEAK | {"modalities": ["text"]}), "only allowed when 'modalities' contains 'audio'"),
        (chat(**SPEAK | {"modalities": [{}]}), "expected a string"),
        (parts({"type": "input_audio", "input_audio": {"data": "%", "format": "wav"}}), "could not be decoded"),
        (parts({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "ogg"}}), "'wav' and 'mp3'"),
    ],
)
def test_audio(document, words):
    document |= {"model": "gpt-4o-audio-preview"}
    if not words:
        read_chat(document)
        return
    with pytest.raises(RefusalError) as refused:
        read_chat(document)
    assert words in refused.value.message


def test_what_is_read():
    asked = read_chat(chat(tools=[TOOL, CUSTOM], n=2, logprobs=True, parallel_tool_calls=False, max_tokens=9))
    assert [(tool.name, tool.kind, tool.schema) for tool in asked.tools] == [
        ("weather", "function", CITY),
        ("patch", "custom", None),
    ]
    assert (asked.choices, asked.top_logprobs, asked.parallel, asked.choice, asked.max_tokens) == (
        2,
        0,
        False,
        "auto",
        9,
    )
    chosen = read_chat(chat(tools=[TOOL, CUSTOM], tool_choice=named("patch", "custom")))
    assert ([tool.name for tool in chosen.tools], chosen.choice) == (["patch"], "required")
    assert read_chat(chat(model="gpt-5")).effort == "medium"
    assert read_chat(chat(model="gpt-5.2")).effort == "none"
    assert read_chat(chat()).max_tokens == 16_384
