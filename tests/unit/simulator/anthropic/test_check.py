"""What the real API refuses, with its words."""

import pytest

from penstock_simulator.accounts import Account
from penstock_simulator.anthropic.check import check
from penstock_simulator.anthropic.models import Models
from penstock_simulator.anthropic.signature import issue
from penstock_simulator.connection import Request
from penstock_simulator.refusal import RefusalError
from penstock_simulator.settings import AccountSettings

OLD, NEW = "claude-sonnet-4-5", "claude-opus-4-8"
TOOL = {"name": "t", "input_schema": {"type": "object", "properties": {}}}
CLOSED = {"type": "object", "additionalProperties": False}
CALL = {"type": "tool_use", "id": "tu1", "name": "t", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "tu1", "content": "ok"}
MARK = {"type": "ephemeral"}
HI = {"role": "user", "content": "hi"}


def text(value="x", **more):
    return {"type": "text", "text": value, **more}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def run(document, *, headers=(), version="2023-06-01", counting=False, models=("*",)):
    raw = [("anthropic-version", version)] if version else []
    request = Request("POST", "/v1/messages", raw + list(headers), b"", oversized=False)
    account = Account(AccountSettings(name="a", key="k", models=models), 0.0)
    return check(request, document, Models(), account, counting=counting)


def request(**fields):
    document = {"model": OLD, "max_tokens": 100, "messages": [HI]} | fields
    return {name: value for name, value in document.items() if value is not ...}


REFUSED = [
    # fields that must be there, and their types
    (request(model=...), "model: field required"),
    (request(max_tokens=...), "max_tokens: field required"),
    (request(messages=...), "messages: field required"),
    (request(model=3), "model: Input should be a valid string"),
    (request(max_tokens="100"), "max_tokens: Input should be a valid integer"),
    (request(max_tokens=True), "max_tokens: Input should be a valid integer"),
    (request(max_tokens=-1), "max_tokens: Input should be greater than or equal to 0"),
    (request(messages="hi"), "messages: Input should be a valid list"),
    (request(messages=[]), "messages: at least one message is required"),
    (request(messages=["hi"]), "messages.0: Input should be a valid dictionary"),
    (request(stream="yes"), "stream: Input should be a valid boolean"),
    ([], "The request body is not valid JSON: expected an object"),
    # unknown fields
    (request(xyz=1), "xyz: Extra inputs are not permitted"),
    (request(logit_bias={}), "logit_bias: Extra inputs are not permitted"),
    (request(n=1), "n: Extra inputs are not permitted"),
    (request(context_management={}), "context_management: Extra inputs are not permitted"),
    (request(mcp_servers=[]), "mcp_servers: Extra inputs are not permitted"),
    (request(metadata={"user_id": "u", "x": 1}), "metadata.x: Extra inputs are not permitted"),
    (request(metadata={"user_id": 1}), "metadata.user_id: Input should be a valid string"),
    (request(messages=[HI | {"name": "x"}]), "messages.0.name: Extra inputs are not permitted"),
    (request(messages=[user(text(x=1))]), "messages.0.content.0.text.x: Extra inputs are not permitted"),
    # limits
    (request(max_tokens=64_001), "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for"),
    # sampling
    (request(temperature=1.1), "temperature: range: 0..1"),
    (request(temperature="hot"), "temperature: Input should be a valid number"),
    (request(top_p=-0.1), "top_p: range: 0..1"),
    (request(top_k=1.5), "top_k: Input should be a valid integer"),
    (request(model=NEW, temperature=0.5), "`temperature` is deprecated for this model."),
    (request(model=NEW, top_k=5), "`top_k` is deprecated for this model."),
    # small ones
    (request(stop_sequences=[" "]), "stop_sequences: each stop sequence must contain non-whitespace"),
    (request(stop_sequences="END"), "stop_sequences: Input should be a valid list"),
    (request(service_tier="gold"), "service_tier: Input should be 'auto' or 'standard_only'"),
    (request(output_config={"effort": "maximal"}), "output_config.effort: Input should be"),
    (request(output_config={"format": {"type": "xml"}}), "output_config.format.type: Input should be 'json_schema'"),
    (request(output_config={"format": {"type": "json_schema"}}), "output_config.format.schema: field required"),
    # system
    (request(system=5), "system: Input should be a valid list"),
    (request(system=[text("")]), "system: text content blocks must be non-empty"),
    (request(system=[{"type": "image", "source": {"type": "url", "url": "x"}}]), "system.0.type: Input should be"),
    # roles and turns
    (request(messages=[{"role": "assistant", "content": "x"}]), 'first message must use the "user" role'),
    (request(messages=[{"role": "robot", "content": "x"}]), 'Unexpected role "robot"'),
    (request(messages=[HI, {"role": "system", "content": "x"}]), 'Unexpected role "system"'),
    (request(messages=[{"content": "x"}]), "messages.0.role: field required"),
    (request(messages=[{"role": "user"}]), "messages.0.content: field required"),
    (request(messages=[{"role": "user", "content": 5}]), "messages.0.content: Input should be a valid list"),
    (request(messages=[{"role": "user", "content": ""}]), "all messages must have non-empty content"),
    (request(messages=[user()]), "all messages must have non-empty content"),
    (
        request(messages=[HI, {"role": "assistant", "content": "so "}]),
        "final assistant content cannot end with trailing whitespace",
    ),
    (request(messages=[HI, assistant(text("so "))]), "final assistant content cannot end with trailing whitespace"),
    (request(model=NEW, messages=[HI, assistant(text("so"))]), "does not support assistant message prefill"),
    # blocks
    (request(messages=[user(text(""))]), "messages: text content blocks must be non-empty"),
    (request(messages=[user(text(" \n"))]), "messages: text content blocks must contain non-whitespace text"),
    (request(messages=[user(text("", cache_control=MARK))]), "cache_control cannot be set for empty text blocks"),
    (request(messages=[user({"type": "text"})]), "messages.0.content.0.text.text: field required"),
    (request(messages=[user({"text": "x"})]), "messages.0.content.0.type: field required"),
    (request(messages=[user({"type": "hologram"})]), "Input tag 'hologram' found using 'type' does not match"),
    (request(messages=[user(CALL)]), "`tool_use` blocks can only be in `assistant` messages"),
    (request(messages=[HI, assistant(RESULT), HI]), "`tool_result` blocks can only be in `user` messages"),
    (
        request(
            messages=[user({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "x"}})]
        ),
        "messages.0.content.0.image.source.base64.media_type: Input should be",
    ),
    (
        request(
            messages=[user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}})]
        ),
        "image cannot be empty",
    ),
    (request(messages=[user({"type": "image", "source": {"type": "url"}})]), "image.source.url.url: field required"),
    (request(messages=[user({"type": "document", "source": {"type": "tape"}})]), "Input tag 'tape'"),
    (
        request(messages=[HI, assistant({"type": "thinking", "thinking": "x"}), HI]),
        "messages.1.content.0.thinking.signature: field required",
    ),
    (
        request(
            messages=[HI, assistant({"type": "thinking", "thinking": "x", "signature": "s", "cache_control": MARK}), HI]
        ),
        "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
    ),
    # calls and results
    (
        request(messages=[user(RESULT)]),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: tu1.",
    ),
    (
        request(messages=[HI, assistant(CALL), HI], tools=[TOOL]),
        "`tool_use` ids were found without `tool_result` blocks",
    ),
    (request(messages=[HI, assistant(CALL)], tools=[TOOL]), "messages.1: `tool_use` ids were found without"),
    (request(messages=[HI, assistant(CALL), user(RESULT, RESULT)], tools=[TOOL]), "must have a single result"),
    (
        request(messages=[HI, assistant(CALL, CALL), user(RESULT)], tools=[TOOL]),
        "messages.1.content.1: `tool_use` ids must be unique",
    ),
    (
        request(messages=[HI, assistant(CALL), user(RESULT), assistant(text(), CALL), user(RESULT)], tools=[TOOL]),
        "messages.3.content.1: `tool_use` ids must be unique",
    ),
    (
        request(messages=[HI, assistant(CALL), user(RESULT | {"content": [text("")]})], tools=[TOOL]),
        "messages: text content blocks must be non-empty",
    ),
    (
        request(messages=[HI, assistant(CALL), user(RESULT | {"is_error": "yes"})], tools=[TOOL]),
        "messages.2.content.0.tool_result.is_error: Input should be a valid boolean",
    ),
    # cache marks
    (request(system=[text(cache_control={"type": "eternal"})]), "cache_control.type: Input should be 'ephemeral'"),
    (request(system=[text(cache_control=MARK | {"ttl": "2h"})]), "cache_control.ttl: Input should be '5m' or '1h'"),
    (
        request(system=[text(cache_control=MARK)] * 5),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        request(system=[text(cache_control=MARK), text(cache_control=MARK | {"ttl": "1h"})]),
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block",
    ),
    # tools
    (request(tools=[{"name": "t"}]), "tools.0.custom.input_schema: field required"),
    (request(tools=[TOOL | {"name": "not a name"}]), "tools.0.custom.name: String should match pattern"),
    (request(tools=[{"name": "t", "input_schema": {"type": "array"}}]), "input_schema.type: Input should be 'object'"),
    (request(tools=[{"name": "t", "input_schema": {}}]), "tools.0.custom.input_schema.type: field required"),
    (request(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (request(tools=[TOOL | {"parameters": {}}]), "tools.0.custom.parameters: Extra inputs are not permitted"),
    (
        request(tools=[TOOL | {"strict": True}]),
        "tools.0.custom: For 'object' type, 'additionalProperties' must be explicitly set to false",
    ),
    (request(tools=[TOOL | {"strict": "yes"}]), "tools.0.custom.strict: Input should be a valid boolean"),
    *(
        (
            request(output_config={"format": {"type": "json_schema", "schema": schema}}),
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        )
        for schema in (
            {"type": "object"},
            CLOSED | {"additionalProperties": {"type": "string"}},
            CLOSED | {"properties": {"a": {"type": ["object", "null"]}}},
            CLOSED | {"$defs": {"a": {"type": "array", "items": {"type": "object", "additionalProperties": True}}}},
            CLOSED | {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}}},
        )
    ),
    (request(tool_choice={"type": "auto"}), "tool_choice may only be specified while providing tools"),
    (request(tools=[TOOL], tool_choice={"type": "required"}), "tool_choice: Input tag 'required'"),
    (request(tools=[TOOL], tool_choice={"type": "tool", "name": "u"}), "Tool 'u' not found in provided tools"),
    (request(tools=[TOOL], tool_choice="any"), "tool_choice: Input should be a valid dictionary"),
    # thinking
    (request(thinking={"type": "enabled"}, max_tokens=2000), "thinking.enabled.budget_tokens: field required"),
    (
        request(thinking={"type": "enabled", "budget_tokens": 1000}, max_tokens=2000),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        request(thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=2000),
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    ),
    (request(thinking={"type": "adaptive"}), "adaptive thinking is not supported on this model"),
    (request(thinking={"type": "hard"}), "thinking: Input tag 'hard'"),
    (
        request(model=NEW, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000),
        '"thinking.type.enabled" is not supported for this model',
    ),
    (
        request(model=NEW, thinking={"type": "adaptive"}, tools=[TOOL], tool_choice={"type": "any"}),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    (
        request(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000, temperature=0.5),
        "`temperature` may only be set to 1 when thinking is enabled",
    ),
    (
        request(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000, top_k=5),
        "`top_k` must be unset when thinking is enabled",
    ),
]


@pytest.mark.parametrize(("document", "words"), REFUSED, ids=[words[:60] for _, words in REFUSED])
def test_refused(document, words):
    with pytest.raises(RefusalError) as refused:
        run(document)
    assert refused.value.status == 400
    assert refused.value.kind == "invalid_request_error"
    assert words in refused.value.message


CLAUDE_CODE_BETAS = (
    "claude-code-20250219, context-1m-2025-08-07, interleaved-thinking-2025-05-14, thinking-token-count-2026-05-13, "
    "context-management-2025-06-27, prompt-caching-scope-2026-01-05, mid-conversation-system-2026-04-07, "
    "effort-2025-11-24"
)

ACCEPTED = [
    (request(), ()),
    (request(max_tokens=0), ()),
    (request(system="s", stop_sequences=["END"], temperature=0.3, top_p=0.9, top_k=5, metadata={"user_id": "{}"}), ()),
    (request(system=None, tools=None, stream=None, thinking=None, tool_choice=None), ()),
    (request(container=None, diagnostics=None, inference_geo="us", service_tier="auto", speed="standard"), ()),
    (request(cache_control=MARK), ()),
    (request(messages=[HI, HI, assistant(text())]), ()),
    (request(messages=[HI, assistant(CALL), user(RESULT, text())], tools=[TOOL]), ()),
    (request(messages=[HI, assistant({"type": "redacted_thinking", "data": "x"}, text()), HI]), ()),
    (request(messages=[user({"type": "search_result", "source": "s", "title": "t", "content": []})]), ()),
    (request(messages=[user({"type": "image", "source": {"type": "file", "file_id": "f"}})]), ()),
    (request(tools=[{"type": "web_search_20260318", "name": "web_search", "max_uses": 3}]), ()),
    (
        request(
            tools=[TOOL | {"type": "custom", "input_schema": CLOSED, "strict": True, "cache_control": MARK}],
            tool_choice={"type": "none"},
        ),
        (),
    ),
    (request(tools=[TOOL | {"strict": False}]), ()),
    (request(output_config={"effort": "high", "format": {"type": "json_schema", "schema": CLOSED}}), ()),
    (
        request(
            output_config={
                "format": {
                    "type": "json_schema",
                    "schema": CLOSED | {"properties": {"type": {"type": "string"}}, "$defs": {"a": True}, "anyOf": 5},
                }
            }
        ),
        (),
    ),
    (request(thinking={"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, max_tokens=2000), ()),
    (request(thinking={"type": "disabled"}), ()),
    (request(context_management={"edits": []}), (("anthropic-beta", CLAUDE_CODE_BETAS),)),
    (
        request(mcp_servers=[]),
        (("anthropic-beta", "files-api-2025-04-14"), ("anthropic-beta", "mcp-client-2025-11-20")),
    ),
    (request(messages=[HI, {"role": "system", "content": "x"}]), (("anthropic-beta", CLAUDE_CODE_BETAS),)),
    (
        request(messages=[HI, assistant({"type": "compaction", "x": 1}), HI]),
        (("anthropic-beta", "compact-2026-01-12"),),
    ),
    (request(model=NEW, thinking={"type": "adaptive"}, temperature=1, output_config={"effort": "high"}), ()),
]


@pytest.mark.parametrize(("document", "headers"), ACCEPTED)
def test_accepted(document, headers):
    assert run(document, headers=headers).max_tokens == document["max_tokens"]


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
def test_the_new_version_knows_no_sampling_even_at_its_default(field):
    run(request(**{field: 1}))
    with pytest.raises(RefusalError, match=f"^{field}: Extra inputs are not permitted"):
        run(request(**{field: 1}), version="2026-10-21")


def test_the_new_version_has_system_messages_but_no_assistant_documents_nor_user_citations():
    run(request(messages=[HI, {"role": "system", "content": "x"}]), version="2026-10-21")
    document = {"type": "document", "source": {"type": "text", "data": "x", "media_type": "text/plain"}}
    cited = text(citations=[{"type": "char_location"}])
    run(request(messages=[user(document, cited), assistant(document), HI]))
    with pytest.raises(RefusalError, match="document"):
        run(request(messages=[HI, assistant(document), HI]), version="2026-10-21")
    with pytest.raises(RefusalError, match="citations: Extra inputs are not permitted"):
        run(request(messages=[user(cited)]), version="2026-10-21")


@pytest.mark.parametrize(
    ("version", "words"), [("", "anthropic-version: header is required"), ("2024-01-01", "is not a valid version")]
)
def test_the_version_is_required(version, words):
    with pytest.raises(RefusalError, match=words):
        run(request(), version=version)


def test_a_beta_that_cannot_be_one():
    with pytest.raises(RefusalError, match=r"Unexpected value\(s\) `nonsense` for the `anthropic-beta` header"):
        run(request(), headers=[("anthropic-beta", "context-1m-2025-08-07, nonsense")])


@pytest.mark.parametrize(("name", "models"), [("claude-opus-99", ("*",)), (OLD, ("claude-haiku-*",))])
def test_an_unknown_model_is_404(name, models):
    with pytest.raises(RefusalError, match=f"model: {name}") as refused:
        run(request(model=name), models=models)
    assert (refused.value.status, refused.value.kind) == (404, "not_found_error")


def test_count_tokens_knows_fewer_fields():
    run(request(max_tokens=..., thinking={"type": "enabled", "budget_tokens": 5000}), counting=True)
    with pytest.raises(RefusalError, match="max_tokens: Extra inputs are not permitted"):
        run(request(), counting=True)


@pytest.mark.parametrize(
    ("model", "display", "shown"),
    [
        ("claude-sonnet-4-6", {}, True),
        ("claude-sonnet-4-6", {"display": "omitted"}, False),
        (NEW, {}, False),
        (NEW, {"display": None}, False),
        (NEW, {"display": "summarized"}, True),
    ],
)
def test_the_newest_models_hide_their_thinking_unless_asked(model, display, shown):
    asked = request(model=model, thinking={"type": "adaptive", **display}, max_tokens=2000)
    assert run(asked).thinking_shown is shown


@pytest.mark.parametrize(
    ("thinking", "signed", "good"),
    [
        ("hm", issue("hm"), True),
        ("hm", issue("hm") + "=", False),
        ("hm!", issue("hm"), False),
        ("hm", "c2lnbmVkIGVsc2V3aGVyZQ==", False),
        ("", issue("hm"), True),
        ("", "", False),
    ],
)
def test_only_thinking_that_was_signed_here_is_taken_back(thinking, signed, good):
    thought = {"type": "thinking", "thinking": thinking, "signature": signed}
    asked = request(messages=[HI, assistant(thought, text()), HI])
    if good:
        run(asked)
        return
    with pytest.raises(RefusalError, match=r"^messages\.1\.content\.0: Invalid `signature` in `thinking` block$"):
        run(asked)


def test_how_thinking_is_shown_has_two_words():
    with pytest.raises(RefusalError, match=r"thinking\.adaptive\.display: Input should be"):
        run(request(model=NEW, thinking={"type": "adaptive", "display": "full"}))
