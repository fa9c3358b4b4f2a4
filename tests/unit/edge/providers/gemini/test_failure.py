"""What Google's errors mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.providers.gemini import WIRE
from penstock_edge.providers.gemini.failure import of_error_object, stray_error

RPC = "type.googleapis.com/google.rpc."
BAD_KEY = {"@type": RPC + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
QUOTA = {
    "@type": RPC + "QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}


def error(status, message="m", *details, code=None):
    found = {"code": code or 0, "message": message, "status": status}
    return {**found, "details": list(details)} if details else found


def retry(delay):
    return {"@type": RPC + "RetryInfo", "retryDelay": delay}


def failed(status, told, headers=()):
    return WIRE.of_status(status, list(headers), json.dumps({"error": told}).encode())


@pytest.mark.parametrize(
    ("status", "told", "cls"),
    [
        (
            400,
            error("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", BAD_KEY),
            "CredentialInvalid",
        ),
        (400, error("INVALID_ARGUMENT", "API key expired. Please renew the API key."), "CredentialInvalid"),
        (401, error("UNAUTHENTICATED"), "CredentialInvalid"),
        (403, error("PERMISSION_DENIED", "Your project has been denied access."), "Forbidden"),
        (
            403,
            error("PERMISSION_DENIED", "You do not have permission to access the File abc or it may not exist."),
            "ClientFault",
        ),
        (403, error("PERMISSION_DENIED", "CachedContent not found (or permission denied)"), "ClientFault"),
        (400, error("FAILED_PRECONDITION", "User location is not supported for the API use."), "Forbidden"),
        (400, error("FAILED_PRECONDITION", "Gemini API free tier is not available in your country."), "Forbidden"),
        (400, error("FAILED_PRECONDITION", "The File abc is not in an ACTIVE state."), "ClientFault"),
        (400, error("INVALID_ARGUMENT", "User location is not a number"), "ClientFault"),
        (404, error("NOT_FOUND", "models/gemini-x is not found for API version v1beta"), "ModelMissing"),
        (404, error("NOT_FOUND", "This model models/x is no longer available to new users."), "ModelMissing"),
        (404, error("NOT_FOUND", "Requested entity was not found."), "ClientFault"),
        (429, error("RESOURCE_EXHAUSTED", "m", QUOTA, retry("26s")), "Throttled"),
        (429, error("RESOURCE_EXHAUSTED"), "ThrottledNoHint"),
        (429, error("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), "QuotaExhausted"),
        (402, error("FAILED_PRECONDITION"), "QuotaExhausted"),
        (503, error("UNAVAILABLE", "The model is overloaded."), "Overloaded"),
        (500, error("INTERNAL"), "Unstable"),
        (502, error("UNAVAILABLE"), "Unstable"),
        (504, error("DEADLINE_EXCEEDED"), "Unstable"),
        (499, error("CANCELLED"), "Unstable"),
        (409, error("ABORTED"), "Unstable"),
        (413, error("INVALID_ARGUMENT"), "ClientFault"),
        # What a client wrote, and Google repeats, must not put an account out.
        (400, error("INVALID_ARGUMENT", "Invalid value: 'API key not valid'"), "ClientFault"),
        (400, error("INVALID_ARGUMENT", "Unknown name: your prepayment credits"), "ClientFault"),
    ],
)
def test_statuses(status, told, cls):
    failure = failed(status, told)
    assert (failure.cls, failure.status) == (cls, status)
    assert (failure.fault is not None) is (cls == "ClientFault")
    # Streams that are no SSE tell it as a list of one.
    listed = WIRE.of_status(status, [], json.dumps([{"error": told}]).encode())
    assert listed.cls == cls


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([retry("26s")], [], 26),
        ([retry("26.5s")], [], 26.5),
        ([retry({"seconds": 4})], [], 4),
        ([QUOTA, retry("0s")], [], 0),
        ([retry("26s")], [(b"retry-after", b"7")], 7),
        ([retry("soon")], [], None),
        ([retry("-3s")], [], None),
        ([retry("xs")], [], None),
        ([retry(5)], [], None),
        (["x"], [], None),
    ],
)
def test_how_long_to_wait(details, headers, seconds):
    failure = failed(429, error("RESOURCE_EXHAUSTED", "m", *details), headers)
    assert failure.retry_after == seconds
    assert failure.cls == ("ThrottledNoHint" if seconds is None else "Throttled")


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "INVALID_ARGUMENT", "invalid_request_error"),
        (404, "NOT_FOUND", "not_found_error"),
        (413, "INVALID_ARGUMENT", "request_too_large"),
    ],
)
def test_a_clients_own_fault_in_googles_words(status, name, kind):
    told = error(name, "words", {"@type": RPC + "BadRequest"}, code=status)
    fault = failed(status, told).fault
    assert (fault.status, fault.kind, fault.message) == (status, kind, "words")
    assert json.loads(fault.detail) == told


UNSOUND = b'{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"no","near":"\xff"}}'


@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[]", b"{}", b'{"error":5}', b'{"error":{"message":["x"]}}', b"[[]]", b"[", UNSOUND]
)
def test_errors_that_say_nothing(raw):
    assert WIRE.of_status(500, [], raw).cls == "Unstable"
    fault = WIRE.of_status(400, [], raw).fault
    assert (fault.message, fault.detail) == ("the provider refused this request with status 400", None)


@pytest.mark.parametrize(
    ("told", "cls", "status"),
    [
        (error("UNAVAILABLE", code=503), "Overloaded", 503),
        (error("UNAVAILABLE"), "Overloaded", 503),
        (error("RESOURCE_EXHAUSTED", "m", retry("3s")), "Throttled", 429),
        (error("INVALID_ARGUMENT"), "ClientFault", 400),
        (error("SOMETHING_NEW"), "Unstable", 500),
        (error("INTERNAL", code=13), "Unstable", 500),
        ({"code": "x", "status": 5}, "Unstable", 500),
    ],
)
def test_errors_within_streams(told, cls, status):
    failure = of_error_object(json.dumps(told).encode())
    assert (failure.cls, failure.status) == (cls, status)
    raw = json.dumps({"error": told}, indent=2).encode() + b"\n\n"
    for stray in (stray_error(raw), stray_error(b"[" + raw.strip() + b"\n]\n\n")):
        assert (stray.cls, stray.status, stray.retry_after) == (cls, status, failure.retry_after)


@pytest.mark.parametrize("raw", [b"\n\n", b": comment\n\n", b"{}\n\n", b'{"a":1}\n\n', b"{\n\n", b"event: x\n\n"])
def test_what_is_no_stray_error(raw):
    assert stray_error(raw) is None


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text(max_size=4)
    | st.sampled_from(["26s", "NOT_FOUND"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "status", "details", "retryDelay", "seconds", "reason"]), inner
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from([400, 403, 404, 429, 500]), st.dictionaries(st.just("error"), _JSON) | _JSON)
def test_any_error_means_something(status, told):
    raw = json.dumps(told).encode()
    assert WIRE.of_status(status, [], raw).status == status
    assert of_error_object(raw).cls
    stray_error(raw)
