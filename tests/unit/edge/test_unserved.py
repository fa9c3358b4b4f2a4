"""What never became a request is answered like one: by its envelope, its id and its length."""

import msgspec
import pytest

from penstock_edge.unserved import CRASHED, MALFORMED, TOO_LARGE, whole_answer


@pytest.mark.parametrize(
    ("why", "status", "kind"),
    [(MALFORMED, 400, "invalid_request_error"), (TOO_LARGE, 431, "invalid_request_error"), (CRASHED, 500, "api_error")],
)
def test_it_is_a_whole_answer_that_ends_the_connection(why, status, kind):
    head, _, body = whole_answer(why, "req_1").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    assert {"connection: close", "request-id: req_1", f"content-length: {len(body)}"} <= set(lines)
    said = msgspec.json.decode(body)
    assert (said["type"], said["error"]["type"], said["request_id"]) == ("error", kind, "req_1")
