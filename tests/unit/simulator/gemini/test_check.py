"""What the real API refuses once it has read a request, with its words."""

import base64

import pytest

from penstock_simulator.gemini.check import check, check_count
from penstock_simulator.gemini.messages import COUNT, GENERATE
from penstock_simulator.gemini.models import Models
from penstock_simulator.gemini.proto import read
from penstock_simulator.gemini.signature import issue
from penstock_simulator.refusal import RefusalError

OLD, PRO, FLASH, LITE = "gemini-2.0-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"
PAINTER, THIRD_PAINTER = "gemini-2.5-flash-image", "gemini-3-pro-image"
THIRD, THIRD_FLASH = "gemini-3-pro-preview", "gemini-3-flash-preview"
SIGNED = issue(1, 0)
PIXEL = base64.b64encode(b"pixel").decode()
SEARCH = {"googleSearch": {}}


def request(*contents, **fields):
    return {"contents": list(contents) or [user("hi")], **fields}


def user(*parts):
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def model(*parts):
    return user(*parts) | {"role": "model"}


def call(name="f", signature="", **fields):
    part = {"functionCall": {"name": name, "args": {}, **fields}}
    return part | {"thoughtSignature": signature} if signature else part


def result(name="f", **fields):
    return {"functionResponse": {"name": name, "response": {"ok": True}, **fields}}


def blob(kind, data=PIXEL):
    return {"inlineData": {"mimeType": kind, "data": data}}


def file(uri, kind="image/png"):
    return {"fileData": {"fileUri": uri, "mimeType": kind}}


def functions(*declared, **fields):
    return {"tools": [{"functionDeclarations": [{"name": "f"} | one for one in declared or ({},)]}], **fields}


def parameters(**schema):
    return functions({"parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}} | schema})


def calling(**fields):
    return {"toolConfig": {"functionCallingConfig": fields}}


def config(**fields):
    return {"generationConfig": fields}


def thinking(**fields):
    return config(thinkingConfig=fields)


def run(document, name=FLASH):
    return check(read(GENERATE, document), Models().find(name))


COUNT_WORDS = "Please ensure that the number of function response parts is equal to the number of function call parts"
CALL_TURN = (
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
)
RESPONSE_TURN = "Please ensure that function response turn comes immediately after a function call turn."
AT = "* GenerateContentRequest."
FUNCTION = f"{AT}tools[0].function_declarations[0]"

REFUSED = [
    # contents and parts
    ({}, f"{AT}contents: contents is not specified\n"),
    ({"contents": []}, f"{AT}contents: contents is not specified\n"),
    (request({"role": "user"}), f"{AT}contents[0].parts: contents.parts must not be empty.\n"),
    (request(user()), f"{AT}contents[0].parts: contents.parts must not be empty.\n"),
    (request(user("a"), user({})), f"{AT}contents[1].parts[0].data: required oneof field 'data' must have one"),
    (request(user({"thought": True})), f"{AT}contents[0].parts[0].data: required oneof field 'data' must have one"),
    (request(systemInstruction={"parts": []}), f"{AT}system_instruction.parts: contents.parts must not be empty."),
    (request(user({}), user()), f"initialized field\n{AT}contents[1].parts: contents.parts must not be empty.\n"),
    (request(user(result(name=""))), f"{AT}contents[0].parts[0].function_response.name: Name cannot be empty."),
    (request(user("a"), model({"functionCall": {}})), f"{AT}contents[1].parts[0].function_call.name: Name cannot be"),
    (request(user("a") | {"role": "system"}), "Please use a valid role: user, model."),
    (request(user("a"), user("b") | {"role": "assistant"}), "Please use a valid role: user, model."),
    (request(user(result()) | {"role": "function"}), "Please use a valid role: user, model."),
    # media
    (request(user(blob("image/gif"))), "Unsupported MIME type: image/gif"),
    (request(user(blob("png"))), "Unsupported MIME type: png"),
    (request(user(blob("application/msword"))), "Unsupported MIME type: application/msword"),
    (request(user({"inlineData": {"data": PIXEL}})), "Unsupported MIME type: "),
    (request(user(blob("image/png", ""))), "Unable to process input image."),
    (request(user(blob("application/pdf", ""))), "The application/pdf data is empty."),
    (request(user({"fileData": {}})), "Invalid or unsupported file uri: "),
    (request(user(file("gs://bucket/cat.png"))), "Invalid or unsupported file uri: gs://bucket/cat.png"),
    (request(user(file("data:image/png;base64,AAAA"))), "Invalid or unsupported file uri: data:"),
    (request(user(file("https://example.com/cat.gif", "image/gif"))), "Unsupported MIME type: image/gif"),
    (request(user(file("https://generativelanguage.googleapis.com/v1beta/files/abc"))),
     "You do not have permission to access the File abc or it may not exist."),
    (request(user("a"), model(call()), user(result(parts=[blob("image/gif")]))), "Unsupported MIME type: image/gif"),
    # the order of calls and responses
    (request(model(call()), user(result())), CALL_TURN),
    (request(user("a", call())), CALL_TURN),
    (request(user(result())), RESPONSE_TURN),
    (request(user("a"), model("b"), user(result())), RESPONSE_TURN),
    (request(user("a"), model(call()), model(result())), RESPONSE_TURN),
    (request(user("a"), model(call()), user(result()), model("b"), user(result())), RESPONSE_TURN),
    (request(user("a"), model(call()), user(result()), user(result())), COUNT_WORDS),
    (request(user("a"), model(call()), user("b")), COUNT_WORDS),
    (request(user("a"), model(call())), COUNT_WORDS),
    (request(user("a"), model(call(), call("g")), user(result())), COUNT_WORDS),
    (request(user("a"), model(call()), user(result(), result())), COUNT_WORDS),
    # signatures
    (request(user("a"), model({"text": "b", "thoughtSignature": PIXEL}), user("c")), "Corrupted thought signature."),
    (request(user("a"), model(call(signature=PIXEL)), user(result())), "Corrupted thought signature."),
    # functions
    (request(**functions({"name": ""})), f"{FUNCTION}.name: Invalid function name. Must start with a letter"),
    (request(**functions({"name": "1f"})), f"{FUNCTION}.name: Invalid function name."),
    (request(**functions({"name": "f/g"})), f"{FUNCTION}.name: Invalid function name."),
    (request(**functions({"name": "f" * 65})), f"{FUNCTION}.name: Invalid function name."),
    (request(**functions({}, {})), "Duplicate function declaration found: f"),
    (request(**parameters(properties={})), f"{FUNCTION}.parameters.properties: should be non-empty for OBJECT type"),
    (request(**parameters(required=["a", "b"])), f"{FUNCTION}.parameters.required[1]: property is not defined"),
    (request(**parameters(properties={"a": {}})), f"{FUNCTION}.parameters.properties[a].type: must be specified when"),
    (request(**parameters(properties={"a": {"type": "ARRAY"}})), f"{FUNCTION}.parameters.properties[a].items: missing"),
    (request(**parameters(properties={"a": {"type": "STRING", "items": {"type": "STRING"}}})),
     f"{FUNCTION}.parameters.properties[a].items: field predicate failed: $type == Type.ARRAY"),
    (request(**parameters(properties={"a": {"type": "STRING", "required": ["b"]}})),
     f"{FUNCTION}.parameters.properties[a].required: only allowed for OBJECT type"),
    (request(**parameters(properties={"a": {"type": "INTEGER", "enum": ["1"]}})),
     f"{FUNCTION}.parameters.properties[a].enum: only allowed for STRING type"),
    (request(**parameters(properties={"a": {"type": "STRING", "enum": ["x", ""]}})),
     f"{FUNCTION}.parameters.properties[a].enum[1]: cannot be empty"),
    (request(**parameters(properties={"a": {"type": "STRING", "format": "uri"}})),
     f"{FUNCTION}.parameters.properties[a].format: only 'enum' and 'date-time' are supported for STRING type"),
    (request(**parameters(properties={"a": {"anyOf": [{"type": "ARRAY", "items": {"type": "OBJECT"}}]}})),
     f"{FUNCTION}.parameters.properties[a].any_of[0].items.properties: should be non-empty"),
    (request(**functions({"parameters": {"type": "STRING"}, "parametersJsonSchema": {}})),
     f"{FUNCTION}.parameters: must not be set together with parameters_json_schema"),
    (request(**functions({"parametersJsonSchema": []})), f"{FUNCTION}.parameters_json_schema: must be a JSON schema"),
    # what goes together
    (request(tools=[SEARCH, *functions()["tools"]]), "Tool use with function calling is unsupported"),
    (request(**calling(mode="ANY")), "Function calling config is set without function_declarations."),
    (request(tools=[SEARCH], **calling()), "Function calling config is set without function_declarations."),
    (request(**functions(**calling(allowedFunctionNames=["f"]))), "allowed_function_names should be set only when"),
    (request(**functions(**calling(mode="NONE", allowedFunctionNames=["f"]))), "allowed_function_names should be set"),
    (request(**functions(**calling(mode="ANY", allowedFunctionNames=["g"]))), "allowed_function_names contains `g`"),
    (request(**functions(**config(responseMimeType="application/json"))),
     "Function calling with a response mime type: 'application/json' is unsupported"),
    (request(tools=[SEARCH], **config(responseMimeType="application/json")),
     "Tool use with a response mime type: 'application/json' is unsupported"),
    # generationConfig
    (request(**config(temperature=2.1)), f"{AT}generation_config.temperature: temperature must be in the range [0.0, 2.0]"),
    (request(**config(temperature=-0.1)), f"{AT}generation_config.temperature"),
    (request(**config(topP=1.1)), f"{AT}generation_config.top_p"),
    (request(**config(topK=0)), f"{AT}generation_config.top_k"),
    (request(**config(presencePenalty=2.5)), f"{AT}generation_config.presence_penalty"),
    (request(**config(maxOutputTokens=0)), f"{AT}generation_config.max_output_tokens"),
    (request(**config(maxOutputTokens=65_537)), "maxOutputTokens value of 65537 but the supported range is from 1"),
    (request(**config(candidateCount=0)), f"{AT}generation_config.candidate_count"),
    (request(**config(candidateCount=2)), "Multiple candidates is not enabled for this model"),
    (request(**config(stopSequences=list("abcdef"))), f"{AT}generation_config.stop_sequences: at most 5"),
    (request(**config(stopSequences=[""])), f"{AT}generation_config.stop_sequences"),
    (request(**config(presencePenalty=0.5)), f"Penalty is not enabled for models/{FLASH}"),
    (request(**config(frequencyPenalty=-0.5)), f"Penalty is not enabled for models/{FLASH}"),
    (request(**config(responseLogprobs=True)), f"Logprobs is not enabled for models/{FLASH}"),
    (request(**config(responseModalities=["TEXT", "AUDIO"])), "does not support the requested response modalities: audio"),
    (request(**config(responseModalities=["IMAGE"])), "does not support the requested response modalities: image"),
    (request(**config(responseMimeType="text/html")), f"{AT}generation_config.response_mime_type: allowed mimetypes are"),
    (request(**config(responseSchema={"type": "STRING"})), f"{AT}generation_config.response_schema: only supported with"),
    (request(**config(responseJsonSchema={})), f"{AT}generation_config.response_json_schema: only supported with"),
    (request(**config(responseMimeType="application/json", responseJsonSchema=[])), "must be a JSON schema object"),
    (request(**config(responseMimeType="application/json", responseSchema={"type": "OBJECT"})),
     f"{AT}generation_config.response_schema.properties: should be non-empty for OBJECT type"),
    (request(**config(responseMimeType="application/json", responseSchema={"type": "STRING"}, responseJsonSchema={})),
     "must not be set together with response_json_schema"),
    # thinking
    (request(**thinking(thinkingBudget=24_577)), "The thinking budget 24577 is invalid. Please choose a value between 0"),
    (request(**thinking(thinkingBudget=-2)), "The thinking budget -2 is invalid."),
    (request(**thinking(thinkingLevel="LOW")), "Thinking level is not supported for this model."),
    (request(**thinking(thinkingLevel="LOW", thinkingBudget=1)), "You can only set only one of thinking budget and"),
    (request(**thinking(includeThoughts=True, thinkingBudget=0)), "Thinking_config.include_thoughts is only enabled when"),
    # the rest
    (request(safetySettings=[{"threshold": "OFF"}]), f"{AT}safety_settings[0]: element predicate failed: $.category in"),
    (request(safetySettings=[{"category": "HARM_CATEGORY_TOXICITY"}]), "HarmCategory.HARM_CATEGORY_HATE_SPEECH"),
    (request(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT"}] * 2), f"{AT}safety_settings[1]"),
    (request(cachedContent="cachedContents/x"), "CachedContent not found (or permission denied)"),
    (request(cachedContent="x"), f"{AT}cached_content"),
    (request(cachedContent="cachedContents/x", **functions()), "CachedContent can not be used with GenerateContent"),
]  # fmt: skip

REFUSED_BY = [
    (OLD, request(**config(maxOutputTokens=8_193)), "to 8193 (exclusive)"),
    (OLD, request(**thinking(thinkingBudget=100)), "Thinking budget is not supported for this model."),
    (OLD, request(**thinking(includeThoughts=True)), "Thinking_config.include_thoughts is only enabled when"),
    (PRO, request(**thinking(thinkingBudget=0)), "Budget 0 is invalid. This model only works in thinking mode."),
    (PRO, request(**thinking(thinkingBudget=127)), "Please choose a value between 128 and 32768."),
    (LITE, request(**thinking(thinkingBudget=511)), "Please choose a value between 512 and 24576."),
    (LITE, request(**thinking(includeThoughts=True)), "Thinking_config.include_thoughts is only enabled when"),
    (PAINTER, request(**config(responseModalities=["AUDIO"])), "requested response modalities: audio"),
    (PAINTER, request(**config(responseMimeType="application/json")), f"JSON mode is not enabled for models/{PAINTER}"),
    (PAINTER, request(**functions()), f"Function calling is not enabled for models/{PAINTER}"),
    (THIRD_PAINTER, request(user("a"), model(blob("image/png")), user("b")), "content position 2, part position 1."),
    (THIRD, request(**thinking(thinkingBudget=0)), "Budget 0 is invalid."),
    (THIRD, request(**thinking(thinkingBudget=32_769)), "Please choose a value between 1 and 32768."),
    (THIRD, request(**thinking(thinkingLevel="MINIMAL")), "Thinking level MINIMAL is not supported for this model."),
    (THIRD, request(**thinking(thinkingLevel="MEDIUM")), "Thinking level MEDIUM is not supported for this model."),
    (THIRD, request(tools=[SEARCH, *functions()["tools"]]), "Please enable tool_config.include_server_side_tool"),
    (THIRD, request(user("a"), model(call()), user(result())), "function call `default_api:f` , position 2."),
    (THIRD, request(user("a"), model(call(signature=SIGNED)), user(result()), model(call("g")), user(result("g"))),
     "function call `default_api:g` , position 4."),
    (THIRD, request(user("a"), model(call(), call("g", SIGNED)), user(result(), result("g"))), "`default_api:f`"),
    (THIRD, request(model("a"), model("b"), user("c"), model(call()), user(result(), "and text")), "position 3."),
    (THIRD, request(user("a"), model(call(signature=SIGNED, id="1")), user(result(id="2"))), "the id of each function"),
    (THIRD, request(user("a"), model(call(signature=SIGNED)), user(result(id="2"))), "the id of each function"),
]  # fmt: skip

TAKEN = [
    (FLASH, request(user("a") | {"role": ""}, {"parts": [{"text": ""}]})),
    (FLASH, request(user("a"), user("b"), model("c"), model("d"))),
    (FLASH, request(user("a", blob("image/webp"), blob("application/pdf"), blob("audio/wav"), blob("text/plain")))),
    (FLASH, request(user(file("https://example.com/cat.png"), file("https://youtu.be/x", "")))),
    (FLASH, request(user("a"), model("b", call(), call("g")), user(result("g"), result()))),
    (FLASH, request(user("a"), model(call()), user(result(), "and text"), model("b"), user("c"))),
    # As the SDKs keep a stream: a content for each chunk.
    (FLASH, request(user("a"), model("b"), model(call()), model(call("g")), model(""), user(result()), user(result("g")))),
    (THIRD, request(user("a"), model(call(signature=SIGNED)), model(call("g")), user(result(), result("g")))),
    (FLASH, request(user("a"), model(call(id="1")), user(result(id="2")))),
    (FLASH, request(user("a"), model({"text": "t", "thought": True}, {"text": "b", "thoughtSignature": SIGNED}))),
    (FLASH, request(**functions(**calling(mode="VALIDATED", allowedFunctionNames=["f"])))),
    (FLASH, request(**functions({"name": "_a.b:c-1"}, {"parametersJsonSchema": {"$defs": {}}}))),
    (FLASH, request(tools=[SEARCH, {"codeExecution": {}}, {"urlContext": {}}])),
    (FLASH, request(**config(temperature=2, topP=0.5, topK=40, stopSequences=list("abcde"), seed=1, candidateCount=1))),
    (FLASH, request(**config(temperature=0, topP=1, topK=1, maxOutputTokens=1, presencePenalty=-0.0))),
    (FLASH, request(**config(presencePenalty=0, frequencyPenalty=0, responseModalities=["TEXT"]))),
    (FLASH, request(**thinking(thinkingBudget=0))),
    (FLASH, request(**thinking(thinkingBudget=-1, includeThoughts=True))),
    (LITE, request(**thinking(thinkingBudget=512, includeThoughts=True))),
    (OLD, request(**config(presencePenalty=0.5, maxOutputTokens=8_192))),
    (PRO, request(**thinking(thinkingBudget=128))),
    (THIRD, request(**thinking(thinkingLevel="low", includeThoughts=True))),
    (THIRD, request(**thinking(thinkingBudget=1))),
    (THIRD, request(model("a"), model("b"))),
    (THIRD_FLASH, request(**thinking(thinkingLevel="MINIMAL"))),
    (THIRD_FLASH, request(**thinking(thinkingBudget=0))),
    (THIRD, request(tools=[SEARCH, *functions()["tools"]], toolConfig={"includeServerSideToolInvocations": True})),
    (THIRD, request(**functions(**config(responseMimeType="application/json")))),
    # only the first of parallel calls is signed, and only those of the current turn need be
    (THIRD, request(user("a"), model(call(signature=SIGNED), call("g")), user(result(), result("g")))),
    (THIRD, request(user("a"), model(call()), user(result()), model("b"), user("c"))),
    (THIRD, request(user("a"), model(call(signature="skip_thought_signature_validator")), user(result()))),
    (THIRD, request(user("a"), model(call(signature=SIGNED, id="1")), user(result(id="1")))),
    (THIRD, request(user("a"), model(call(signature=SIGNED, id="1")), user(result()))),
    (PAINTER, request(**config(responseModalities=["TEXT", "IMAGE"]))),
    (PAINTER, request(user("a"), model(blob("image/png")), user("b", blob("image/png")))),
    (THIRD_PAINTER, request(user("a"), model(blob("image/png") | {"thoughtSignature": SIGNED}), user(blob("image/png")))),
    (FLASH, request(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}], store=True,
                    serviceTier="flex")),
]  # fmt: skip


@pytest.mark.parametrize(("document", "words"), REFUSED)
def test_refused(document, words):
    with pytest.raises(RefusalError) as caught:
        run(document)
    assert words in caught.value.message
    denied = "permission" in words
    assert (caught.value.status, caught.value.kind) == (
        (403, "PERMISSION_DENIED") if denied else (400, "INVALID_ARGUMENT")
    )


@pytest.mark.parametrize(("name", "document", "words"), REFUSED_BY)
def test_refused_by_a_model(name, document, words):
    with pytest.raises(RefusalError) as caught:
        run(document, name)
    assert (caught.value.status, words in caught.value.message) == (400, True), caught.value.message


@pytest.mark.parametrize(("name", "document"), TAKEN)
def test_taken(name, document):
    assert run(document, name).model.name == name


def test_all_complaints_are_told_at_once():
    with pytest.raises(RefusalError) as caught:
        run({"generationConfig": {"temperature": 3, "topP": 2}} | functions({"name": "-"}))
    assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
        f"{AT}contents",
        f"{AT}tools[0].function_declarations[0].name",
        f"{AT}generation_config.temperature",
        f"{AT}generation_config.top_p",
    ]


def test_what_it_has_read():
    given = run(
        request(
            **functions(
                {"parameters": {"type": "object", "properties": {"a": {"type": "integer", "nullable": True}}}},
                **calling(mode="any", allowedFunctionNames=["f"]),
                **config(maxOutputTokens=9, stopSequences=["x"], thinkingConfig={"thinkingBudget": 5}),
            )
        )
    )
    assert given.tools.functions[0].schema == {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
    assert (given.tools.mode, given.tools.allowed) == ("ANY", ["f"])
    assert (given.generation.max_tokens, given.generation.stop_sequences) == (9, ["x"])
    assert (given.generation.thinks, given.generation.thinking_budget, given.generation.thoughts_shown) == (
        True,
        5,
        False,
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "* CountTokensRequest.contents: contents is not specified\n"),
        ({"contents": [{}]}, "* CountTokensRequest.contents[0].parts: contents.parts must not be empty."),
        (request(generateContentRequest=request(model=f"models/{FLASH}")), "are mutually exclusive"),
        ({"generateContentRequest": request()}, "generate_content_request.model: unexpected model name format"),
        ({"generateContentRequest": request(model=f"models/{PRO}")}, "unexpected model name format"),
        ({"generateContentRequest": {"model": f"models/{FLASH}"}}, f"{AT}contents: contents is not specified"),
    ],
)
def test_refused_for_counting(document, words):
    with pytest.raises(RefusalError) as caught:
        check_count(read(COUNT, document), Models().find(FLASH))
    assert words in caught.value.message


def test_counting_takes_contents_or_a_whole_request():
    whole = request(user("hi"), model=f"models/{FLASH}", systemInstruction=user("s"))
    found = check_count(read(COUNT, {"generate_content_request": whole}), Models().find(FLASH))
    assert found["system_instruction"] == {"role": "user", "parts": [{"text": "s"}]}
    assert check_count(read(COUNT, request(user("hi"))), Models().find(FLASH))["contents"] == [user("hi")]
