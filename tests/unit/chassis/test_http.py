"""uvicorn on our own sockets."""

import asyncio
import socket

import httpx
import pytest

from penstock_chassis.http import AddressTakenError, HttpServer, listen


async def slow_app(scope, receive, send):
    await asyncio.sleep(float(scope["query_string"] or b"0"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_a_taken_port_is_a_clear_error() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressTakenError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


def test_an_address_that_is_empty_opens_nothing() -> None:
    with pytest.raises(AddressTakenError, match="empty address"):
        listen("", 0)


def test_a_port_can_be_shared_on_purpose() -> None:
    with listen("127.0.0.1", 0, reuse_port=True) as first:
        with listen("127.0.0.1", first.getsockname()[1], reuse_port=True) as second:
            assert second.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(("takes", "drain", "completes"), [(0.3, 3.0, True), (30, 0.2, False)])
async def test_the_end_waits_for_open_requests_up_to_its_deadline(takes: float, drain: float, completes: bool) -> None:
    server = HttpServer(slow_app, [listen("127.0.0.1", 0)])
    await server.begin()
    async with httpx.AsyncClient() as client:
        request = asyncio.create_task(client.get(f"http://127.0.0.1:{server.port}/?{takes}"))
        await asyncio.sleep(0.1)
        await server.end(drain)
        if completes:
            assert (await request).text == "done"
        else:
            with pytest.raises(httpx.HTTPError):
                await request
