"""What OpenAI's errors and limit headers mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.providers import openai_failure as provider
from penstock_edge.providers.openai_head import request_head
from penstock_edge.upstream import parse_target
from penstock_routing.accounts import Hints


def body(**error):
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "cls"),
    [
        (429, body(message="m", type="insufficient_quota", code="insufficient_quota"), "QuotaExhausted"),
        (429, body(message="m", code="billing_hard_limit_reached"), "QuotaExhausted"),
        (402, b"", "QuotaExhausted"),
        (429, body(message="m", type="tokens", code="rate_limit_exceeded"), "ThrottledNoHint"),
        (429, b"<html>", "ThrottledNoHint"),
        (503, b"", "Overloaded"),
        (529, b"", "Overloaded"),
        (500, body(message="m", code="server_is_overloaded"), "Overloaded"),
        (500, body(message="m"), "Unstable"),
        (502, b"<html>", "Unstable"),
        (408, b"", "Unstable"),
        (409, b"", "Unstable"),
        (301, b"", "Unstable"),
        (401, body(message="Incorrect API key", code="invalid_api_key"), "CredentialInvalid"),
        (400, body(message="Incorrect API key", code="invalid_api_key"), "CredentialInvalid"),
        (403, body(message="country"), "Forbidden"),
        (404, body(message="The model `x` does not exist", code="model_not_found"), "ModelMissing"),
        (403, body(message="no access to model", code="model_not_found"), "ModelMissing"),
        (404, body(message="The model `x` does not exist.", type="NotFoundError", code=404), "ModelMissing"),
        (404, b'{"object":"error","message":"The model `x` does not exist.","code":404}', "ModelMissing"),
        (404, b'{"error":"model \'x\' not found"}', "ModelMissing"),
        (404, b'{"detail":"Not Found"}', "ClientFault"),
        (400, body(message="too long", code="context_length_exceeded"), "ClientFault"),
        (413, b"", "ClientFault"),
        (422, b"", "ClientFault"),
    ],
)
def test_classes(status, raw, cls):
    failure = provider.of_status(status, [], raw)
    assert (failure.cls, failure.status) == (cls, status)
    assert (failure.fault is not None) == (cls == "ClientFault")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_encrypted_content"),
        (400, "previous_response_not_found"),
        (404, "previous_response_not_found"),
    ],
)
def test_what_another_organization_made_may_be_known_to_the_next_account(status, code):
    """It is nobody's failure, and the client hears of it only when no account knows it."""
    error = {"message": "The encrypted content of model_1 could not be verified.", "code": code}
    failure = provider.of_status(status, [], body(**error))
    assert (failure.cls, failure.status, failure.blames_account) == ("Unstable", status, False)
    assert failure.repeatable
    assert (failure.fault.status, failure.fault.message) == (status, error["message"])
    assert json.loads(failure.fault.detail) == error
    within = provider.of_error_object(json.dumps(error).encode())
    assert (within.cls, within.status, within.blames_account) == ("Unstable", 400, False)
    assert within.fault.message == error["message"]


@pytest.mark.parametrize(
    "message",
    [
        "Item with id 'rs_0a1b' not found. Items are not persisted when `store` is set to false.",
        "Conversation with id 'conv_0a1b' not found.",
    ],
)
def test_what_another_organization_stored_is_known_by_words_alone(message):
    error = {"message": message, "type": "invalid_request_error", "code": None}
    failure = provider.of_status(404, [], body(**error))
    assert (failure.cls, failure.status, failure.blames_account) == ("Unstable", 404, False)
    assert (failure.fault.status, failure.fault.message) == (404, message)
    assert not provider.of_error_object(json.dumps(error).encode()).blames_account


def test_what_is_for_verified_organizations_may_be_done_by_the_next_account():
    message = "Your organization must be verified to stream this model. Please go to: https://platform.openai.com"
    error = {"message": message, "type": "invalid_request_error", "param": "stream", "code": "unsupported_value"}
    failure = provider.of_status(400, [], body(**error))
    assert (failure.cls, failure.status, failure.blames_account) == ("Unstable", 400, False)
    assert failure.fault.message == message


@pytest.mark.parametrize(
    ("status", "raw", "kind", "message", "detail"),
    [
        (
            400,
            b'{"error": {"message": "too long", "type":"t", "code":null, "more":1}}',
            "invalid_request_error",
            "too long",
            b'{"message": "too long", "type":"t", "code":null, "more":1}',
        ),
        (400, b'{"error":"too long"}', "invalid_request_error", "too long", None),
        (400, b'{"message":"too long"}', "invalid_request_error", "too long", None),
        (422, b'{"detail":"too long"}', "invalid_request_error", "too long", None),
        (
            413,
            b'{"error":{"type":"t"}}',
            "request_too_large",
            "the provider refused this request with status 413",
            None,
        ),
        (400, b"<html>", "invalid_request_error", "the provider refused this request with status 400", None),
        (
            400,
            b'{"error":{"message":["a"]}}',
            "invalid_request_error",
            "the provider refused this request with status 400",
            None,
        ),
        (400, b'{"error":null,"message":"m"}', "invalid_request_error", "m", None),
    ],
)
def test_a_clients_own_fault_in_the_upstreams_words(status, raw, kind, message, detail):
    fault = provider.of_status(status, [], raw).fault
    assert (fault.status, fault.kind, fault.message, fault.detail) == (status, kind, message, detail)


@pytest.mark.parametrize(
    ("detail", "cls", "status"),
    [
        ({"message": "m", "type": "server_error", "code": None}, "Unstable", 500),
        ({"message": "m"}, "Unstable", 500),
        ("m", "Unstable", 500),
        (7, "Unstable", 500),
        ({"message": "m", "code": "rate_limit_exceeded"}, "ThrottledNoHint", 429),
        ({"message": "m", "type": "tokens", "code": "something"}, "ThrottledNoHint", 429),
        ({"message": "m", "code": 429}, "ThrottledNoHint", 429),
        ({"message": "m", "code": "429"}, "ThrottledNoHint", 429),
        ({"message": "m", "code": 10**40}, "Unstable", 500),
        ({"message": "m", "code": "insufficient_quota"}, "QuotaExhausted", 429),
        ({"message": "m", "code": "server_is_overloaded"}, "Overloaded", 503),
        ({"message": "m", "type": "invalid_request_error"}, "ClientFault", 400),
        ({"message": "m", "code": 502}, "Unstable", 502),
    ],
)
def test_errors_inside_a_stream(detail, cls, status):
    failure = provider.of_error_object(json.dumps(detail).encode())
    assert (failure.cls, failure.status) == (cls, status)


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_error_is_too_strange(raw):
    assert provider.of_error_object(raw).cls
    assert provider.of_status(400, [], raw).cls == "ClientFault"
    assert provider.of_status(400, [], b'{"error":' + raw + b"}").cls
    assert provider.of_status(500, [], b"[" * 100_000).cls == "Unstable"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ([(b"retry-after", b"7")], 7),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"7")], 1.5),
        ([(b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"6m0s")], 360),
        (
            [
                (b"x-ratelimit-remaining-tokens", b"5"),
                (b"x-ratelimit-reset-tokens", b"6m0s"),
                (b"x-ratelimit-remaining-requests", b"0"),
                (b"x-ratelimit-reset-requests", b"20ms"),
            ],
            0.02,
        ),
        ([(b"retry-after", b"x"), (b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"1s")], None),
        ([], None),
    ],
)
def test_how_long_to_wait(headers, wait):
    assert provider.retry_after(headers) == wait
    failure = provider.of_status(429, headers, b"")
    assert (failure.cls, failure.retry_after) == ("ThrottledNoHint" if wait is None else "Throttled", wait)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1s", 1),
        (b"6m0s", 360),
        (b"1h2m3.5s", 3723.5),
        (b"250ms", 0.25),
        (b"1.5s", 1.5),
        (b" 12 ", 12),
        (b"0", 0),
        (b"1763900000", None),
        (b"", None),
        (b"soon", None),
        (b"-1s", None),
        (b"9" * 5000 + b"h", None),
    ],
)
def test_durations(text, value):
    assert provider.seconds(text) == value


def test_hints():
    headers = [
        (b"x-ratelimit-limit-requests", b"500"),
        (b"x-ratelimit-remaining-requests", b"499"),
        (b"x-ratelimit-reset-requests", b"120ms"),
        (b"x-ratelimit-remaining-tokens", b"junk"),
        (b"x-ratelimit-limit-tokens", b"30000"),
    ]
    assert provider.hints(headers) == Hints(
        requests_limit=500, requests_remaining=499, requests_reset_ms=120, tokens_limit=30000
    )
    assert provider.hints([(b"content-type", b"x")]) is None
    assert provider.hints([(b"x-ratelimit-other", b"1")]) is None


def test_the_request_head():
    target = parse_target("https://api.example.com/v1/", allow_private=False)
    client = [(b"openai-beta", b"a"), (b"authorization", b"Bearer client"), (b"cookie", b"c"), (b"openai-beta", b"b")]
    raw = request_head(target, b"/chat/completions", b"", b"sk", client, "req_1", 7)
    assert raw.split(b"\r\n") == [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: api.example.com",
        b"accept-encoding: identity",
        b"content-type: application/json",
        b"user-agent: penstock",
        b"authorization: Bearer sk",
        b"x-request-id: req_1",
        b"x-client-request-id: req_1",
        b"openai-beta: a",
        b"openai-beta: b",
        b"content-length: 7",
        b"",
        b"",
    ]
    assert request_head(target, b"/p", b"a=b", b"sk", [], "r", 0).startswith(b"POST /v1/p?a=b HTTP/1.1\r\n")
