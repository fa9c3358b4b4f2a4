"""Which wire format a request belongs to."""

import pytest

from penstock_simulator.connection import Request
from penstock_simulator.formats import bearer, models_form
from penstock_simulator.registry import FORMATS
from penstock_simulator.settings import SimulatorSettings


def request(method, target, **headers):
    return Request(method, target, [(k.replace("_", "-"), v) for k, v in headers.items()], b"", oversized=False)


@pytest.mark.parametrize(
    ("target", "headers", "form"),
    [
        ("/v1/models", {"x_api_key": "k"}, "anthropic"),
        ("/v1/models", {"authorization": "Bearer k", "anthropic_version": "2026-10-21"}, "anthropic"),
        ("/v1/models", {"authorization": "Bearer k", "x_api_key": "k"}, "anthropic"),
        ("/v1/models", {"authorization": "Bearer k"}, "openai"),
        ("/v1/models", {"authorization": "Bearer k", "x_goog_api_key": "k"}, "gemini"),
        ("/v1/models?key=k", {}, "gemini"),
        ("/v1/models?key=k", {"x_api_key": "k"}, "anthropic"),
        ("/v1/models?monkey=k", {"authorization": "Bearer k"}, "openai"),
        ("/v1/models", {}, "anthropic"),
    ],
)
def test_the_credential_tells_the_form_of_the_list_of_models(target, headers, form):
    assert models_form(request("GET", target, **headers)) == form


@pytest.mark.parametrize(
    ("given", "token"),
    [("Bearer k", "k"), ("bearer  k ", "k"), ("Bearer", ""), ("Basic k", None), ("", None)],
)
def test_bearer(given, token):
    assert bearer(request("GET", "/", authorization=given)) == token


@pytest.mark.parametrize(
    ("method", "target", "headers", "claimed"),
    [
        ("POST", "/v1/messages", {}, "anthropic"),
        ("POST", "/v1/messages?beta=true", {"authorization": "Bearer k"}, "anthropic"),
        ("POST", "/v1/messages/count_tokens", {}, "anthropic"),
        ("GET", "/v1/models", {"x_api_key": "k"}, "anthropic"),
        ("GET", "/v1/models/claude", {"x_api_key": "k"}, "anthropic"),
        ("GET", "/v1/messages", {"x_api_key": "k"}, None),
        ("POST", "/v1/models", {"x_api_key": "k"}, None),
        ("PUT", "/v1/chat/completions", {"authorization": "Bearer k"}, None),
        ("POST", "/v1/chat/completions", {"x_api_key": "k"}, "openai_chat"),
        ("POST", "/v1/responses?x=1", {}, "openai_responses"),
        ("POST", "/v1/responses/input_tokens", {}, "openai_responses"),
        ("POST", "/v1/embeddings", {"authorization": "Bearer k"}, "openai_embeddings"),
        ("GET", "/v1/models", {"authorization": "Bearer k"}, "openai_models"),
        ("GET", "/v1/models/gpt-4o", {"authorization": "Bearer k"}, "openai_models"),
    ],
)
def test_one_format_at_most_claims_a_request(method, target, headers, claimed):
    formats = [make(SimulatorSettings()) for make in FORMATS]
    drafts = [one.draft(request(method, target, **headers)) for one in formats]
    assert [draft.format for draft in drafts if draft is not None] == ([claimed] if claimed else [])
