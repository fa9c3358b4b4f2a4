"""Which path speaks which dialect, and whose errors an unknown path gives."""

from __future__ import annotations

import json

import pytest

from penstock_edge.routes import doors
from penstock_routing import outcomes

ASKED = json.dumps({"contents": [{"parts": [{"text": "hi"}]}]}).encode()


def door(path, query=""):
    return doors.gemini_door(path, query.encode())


@pytest.mark.parametrize("base", ["/v1", "/v1beta", "/v3/compat", "/v3/compat/v1", "/v3/compat/v1beta"])
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gcp/gemini-2.5-flash-eu", "local:7b", "a/b:c"])
def test_a_gemini_path_names_model_and_method(base, model):
    for method, streamed, counting in (
        ("generateContent", False, False),
        ("streamGenerateContent", True, False),
        ("countTokens", False, True),
    ):
        found = door(f"{base}/models/{model}:{method}")
        head = found.read(ASKED)
        assert (head.model, head.stream, head.counting) == (model, streamed, counting)
        assert found.operation == (outcomes.COUNT_TOKENS if counting else outcomes.MESSAGES)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/x",
        "/v1/models/x:embedContent",
        "/v1/models/:generateContent",
        "/v2/models/x:generateContent",
        "/v1/tunedModels/x:generateContent",
        "/v1/models/x:generateContent/",
        "/x/v1/models/x:generateContent",
        "/v1/interactions",
    ],
)
def test_other_paths_are_no_doors(path):
    assert door(path) is None


@pytest.mark.parametrize(
    ("query", "sse", "credential"),
    [
        ("", False, b""),
        ("alt=sse", True, b""),
        ("%24alt=sse", True, b""),
        ("alt=json", False, b""),
        ("key=psk_a&alt=sse", True, b"psk_a"),
        ("alt=sse&key=p%73k_b", True, b"psk_b"),
        ("key=%E2%82%AC", False, b"?"),
    ],
)
def test_the_query_says_how_to_stream_and_may_hold_the_key_and_goes_no_further(query, sse, credential):
    found = door("/v1beta/models/m:streamGenerateContent", query)
    assert (found.read(ASKED).sse, found.credential, found.query) == (sse, credential, b"")


def test_every_fixed_path_is_there_in_three_places():
    paths = [path for path, _ in doors.fixed()]
    assert len(paths) == len(set(paths)) == 15
    for path in paths:
        if path.startswith("/v1/"):
            assert {f"/v3/compat{path}", f"/v3/compat{path.removeprefix('/v1')}"} <= set(paths)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/messages", "anthropic"),
        ("/v1/messages/batches", "anthropic"),
        ("/v3/compat/messages/count_tokens", "anthropic"),
        ("/v1/chat/completions/x", "openai_chat"),
        ("/v3/compat/v1/chat/completions", "openai_chat"),
        ("/v1/responses/resp_1", "openai_responses"),
        ("/v3/compat/embeddings", "openai_embeddings"),
        ("/v1/completions", "openai_chat"),
        ("/v1/images/generations", "openai_chat"),
        ("/v3/compat/conversations/conv_1/items", "openai_chat"),
        ("/v1beta/anything", "gemini"),
        ("/v1alpha/models", "gemini"),
        ("/v3/compat/v1beta/files", "gemini"),
        ("/v1/models/x:embedContent", "gemini"),
        ("/v1/tunedModels/x:generateContent", "gemini"),
        ("/v1/interactions", "gemini"),
        ("/upload/v1beta/files", "gemini"),
        ("/v1/models/x", "anthropic"),
        ("/nowhere", "anthropic"),
    ],
)
def test_an_unknown_path_answers_as_its_neighbours_do(path, name):
    assert doors.dialect_at(path).name == name


@pytest.mark.parametrize("path", ["/v1/models/none", "/v1/files", "/v3/compat/batches"])
@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([], "anthropic"),
        ([b"x-api-key"], "anthropic"),
        ([b"authorization", b"anthropic-version"], "anthropic"),
        ([b"authorization"], "openai_chat"),
        ([b"x-goog-api-key"], "gemini"),
    ],
)
def test_where_several_apis_have_a_path_the_headers_tell_whose_client_asks(path, headers, name):
    assert doors.dialect_at(path, [(header, b"x") for header in headers]).name == name
