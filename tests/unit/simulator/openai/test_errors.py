import json

import pytest

from penstock_simulator.openai import errors
from penstock_simulator.refusal import RefusalError


def shown(refusal):
    return json.loads(errors.body(refusal))["error"]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (403, "permission_error", "insufficient_permissions"),
        (422, "invalid_request_error", None),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "server_error", None),
        (520, "server_error", None),
    ],
)
def test_usual(status, kind, code):
    refusal = errors.usual(status)
    error = shown(refusal)
    assert (refusal.status, error["type"], error["code"]) == (status, kind, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


@pytest.mark.parametrize(
    ("status", "word", "kind", "code"),
    [
        (429, "insufficient_quota", "insufficient_quota", "insufficient_quota"),
        (429, "tokens", "tokens", None),
        (400, "context_length_exceeded", "invalid_request_error", "context_length_exceeded"),
        (500, "vector_store_timeout", "server_error", "vector_store_timeout"),
        (500, "my_error", "my_error", None),
    ],
)
def test_a_directives_word_is_a_type_or_a_code(status, word, kind, code):
    error = shown(errors.usual(status).altered(word, "so it is", (("a", "b"),)))
    assert (error["type"], error["code"], error["message"]) == (kind, code, "so it is")


def test_fields_of_a_refusal():
    error = shown(RefusalError(400, errors.INVALID, "no", param="input", code="empty_array"))
    assert error == {"message": "no", "type": "invalid_request_error", "param": "input", "code": "empty_array"}
    assert shown(errors.unknown_model("x"))["code"] == "model_not_found"
    assert shown(errors.quota_exceeded())["type"] == "insufficient_quota"
    assert json.loads(errors.no_such_url("GET", "/v1/x"))["error"]["message"] == "Invalid URL (GET /v1/x)"


def test_within_a_stream():
    assert errors.mid_stream("", "")["type"] == "server_error"
    assert errors.mid_stream("rate_limit_exceeded", "slow")["code"] == "rate_limit_exceeded"
    assert errors.mid_stream("", "words")["message"] == "words"
