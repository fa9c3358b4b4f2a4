"""What stands around the hot paths: errors of the wrong path and method, health, the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from penstock_edge.routes.inference import Inference


@pytest.fixture
async def edge(gateway, play):
    return await gateway([play.answer()])


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not_found_error"),
        ("POST", "/v1/message", 404, "not_found_error"),
        ("POST", "/v1/messages/", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("DELETE", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", 405, "invalid_request_error"),
        ("POST", "/v1/models", 405, "invalid_request_error"),
        ("PUT", "/v1/usage/req_1", 405, "invalid_request_error"),
    ],
)
async def test_wrong_paths_and_methods(edge, method, path, status, kind):
    answer = await edge.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers["request-id"] == answer.json()["request_id"]
    assert answer.headers["x-should-retry"] == "false"
    if status == 405:
        assert answer.headers["allow"] in {"POST", "GET"}


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/v1/models", 200), ("/v1/messages", 405), ("/", 404)]
)
async def test_what_can_be_got_can_be_asked_about(edge, path, status):
    asked, got = await edge.http.head(path), await edge.http.get(path)
    assert (asked.status_code, asked.content) == (status, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert got.status_code == status


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/healthz", "/nothing"])
async def test_every_answer_has_one_request_id(edge, path):
    answer = await edge.http.get(path)
    assert answer.headers["request-id"].startswith("req_")
    assert len(answer.headers.get_list("request-id")) == 1
    assert answer.headers.get_list("x-request-id") == [answer.headers["request-id"]]


@pytest.mark.parametrize("body", [{"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "a"}]}, {}])
async def test_the_request_id_is_where_openais_clients_look_for_it_too(edge, body):
    answer = await edge.http.post("/v1/chat/completions", json=body)
    assert answer.headers.get_list("x-request-id") == [answer.headers["request-id"]]


async def test_health(edge):
    assert (await edge.http.get("/healthz")).json() == {"alive": True}
    assert (await edge.http.get("/readyz")).status_code == 200
    edge.ready = (False, "draining")
    answer = await edge.http.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "draining")


async def test_the_document_describes_the_hot_endpoints_too(edge):
    document = (await edge.http.get("/openapi.json")).json()
    assert {
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1beta/models/{model}:generateContent",
        "/v1beta/models/{model}:streamGenerateContent",
        "/v1beta/models/{model}:countTokens",
        "/v1/models",
        "/v1beta/models",
        "/v1/usage/{name}",
        "/healthz",
    } <= set(document["paths"])
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert {"AnthropicError", "OpenAIError", "GeminiError"} <= named <= set(document["components"]["schemas"])
    post = document["paths"]["/v1/messages"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["required"] == [
        "model",
        "max_tokens",
        "messages",
    ]
    assert "529" in post["responses"]
    assert (await edge.http.get("/openapi.json")).json() == document


async def test_the_page_needs_nothing_from_elsewhere(edge):
    page = await edge.http.get("/docs")
    assert page.status_code == 200
    assert "/v1/messages" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_a_crash_of_an_ordinary_endpoint_says_nothing(edge, monkeypatch):
    def crash():
        raise RuntimeError("secret")

    monkeypatch.setattr(edge.view, "models", crash)
    answer = await edge.http.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "api_error")
    assert "secret" not in answer.text


@pytest.mark.parametrize("begun", [False, True])
async def test_a_crash_of_a_request_that_passes_through_asgi_says_nothing(edge, monkeypatch, caplog, begun):
    async def crash(self, exchange, door):
        if begun:
            await exchange.reply.begin(200, [])
            await exchange.reply.piece(b"a")
        raise ValueError("a secret")

    monkeypatch.setattr(Inference, "_serve", crash)
    monkeypatch.setattr(Inference, "_try_prepare", lambda *_: False)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}")
    said = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    if begun:
        assert said.endswith(b"\r\n\r\n1\r\na\r\n")
    else:
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in head
        error = json.loads(body)
        assert error["error"]["type"] == "api_error"
        assert f"request-id: {error['request_id']}".encode() in head
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HELLO\r\n\r\n", 400),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n", 400),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    ],
)
async def test_what_is_no_http_gets_the_envelope_too(edge, sent, status):
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.server.port)
    writer.write(sent)
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    error = json.loads(body)
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert f"request-id: {error['request_id']}".encode() in head
