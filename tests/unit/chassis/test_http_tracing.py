"""Server spans of ordinary HTTP apps."""

import httpx
from fastapi import APIRouter, FastAPI

from penstock_chassis.http_tracing import Traced
from penstock_chassis.tracing import CURRENT, TraceContext

CALLER = TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)


def app():
    made, keys, all_of_it = FastAPI(), APIRouter(), APIRouter(prefix="/admin")

    @keys.get("/keys/{key_id}")
    async def show(key_id: str):
        if key_id == "broken":
            raise RuntimeError
        return {"trace": CURRENT.get().trace_id if CURRENT.get() else 0}

    all_of_it.include_router(keys)
    made.include_router(all_of_it)
    return Traced(made)


async def ask(path, headers=None):
    transport = httpx.ASGITransport(app=app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=headers)


async def test_a_span_is_named_by_its_route_and_shows_no_path(kept):
    answer = await ask("/admin/keys/psk_abc?token=s3cr3t", {"traceparent": CALLER.header()})
    (span,) = kept.spans
    assert answer.json() == {"trace": CALLER.trace_id}
    assert (span.name, span.kind, span.parent_id) == ("GET /admin/keys/{key_id}", "server", CALLER.span_id)
    assert span.attributes["http.response.status_code"] == 200
    assert "psk_abc" not in repr(span)
    assert "s3cr3t" not in repr(span)


async def test_a_crash_is_an_error(kept):
    await ask("/admin/keys/broken", {"traceparent": CALLER.header()})
    assert [(span.error, span.attributes["http.response.status_code"]) for span in kept.spans] == [("500", 500)]


async def test_an_unknown_path_has_no_route(kept):
    await ask("/psk_abc", {"traceparent": CALLER.header()})
    assert [span.name for span in kept.spans] == ["GET"]


async def test_who_is_not_traced_has_none(kept):
    assert (await ask("/admin/keys/a")).json() == {"trace": 0}
    assert kept.spans == []


async def test_who_leaves_before_the_answer_is_no_failure(kept):
    async def leaves(scope, receive, send):
        return None

    headers = [(b"traceparent", CALLER.header().encode())]
    await Traced(leaves)({"type": "http", "method": "POST", "path": "/", "headers": headers}, None, None)
    assert [(span.error, span.attributes["http.response.status_code"]) for span in kept.spans] == [("", 499)]
