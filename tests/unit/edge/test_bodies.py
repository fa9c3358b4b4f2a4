"""Request bodies: whole, within bounds, whatever the pieces."""

from __future__ import annotations

import asyncio

import pytest

from penstock_edge.bodies import ClientLeftError, drain, read_body
from penstock_edge.errors import ProblemError


def receiver(*messages, late=False):
    left = list(messages)

    async def receive():
        if late:
            await asyncio.sleep(0.001)
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    receive.left = left
    return receive


def piece(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize("late", [False, True])
async def test_pieces_are_joined(late):
    receive = receiver(piece(b"ab", more=True), piece(b"", more=True), piece(b"cd", more=False), late=late)
    assert await read_body(receive, []) == b"abcd"


async def test_one_piece_is_not_copied():
    body = b"x" * 1000
    assert await read_body(receiver(piece(body, more=False)), []) is body


async def test_a_body_that_is_announced_too_large_is_not_read():
    receive = receiver(piece(b"x", more=True))
    with pytest.raises(ProblemError) as error:
        await read_body(receive, [(b"content-length", b"101")], limit=100)
    assert (error.value.problem.status, error.value.problem.kind) == (413, "request_too_large")
    assert len(receive.left) == 1


async def test_a_length_may_begin_with_more_zeros_than_python_reads():
    zeros = b"0" * 5000
    assert await read_body(receiver(piece(b"x", more=False)), [(b"content-length", zeros + b"1")]) == b"x"
    with pytest.raises(ProblemError):
        await read_body(receiver(), [(b"content-length", zeros + b"18446744073709551615")])


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip,chunked", b"identity, chunked", b"chunked, chunked"])
async def test_a_body_in_other_transfer_codings_is_refused(coding):
    with pytest.raises(ProblemError) as error:
        await read_body(receiver(piece(b"x", more=False)), [(b"transfer-encoding", coding)])
    assert error.value.problem.status == 501


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" chunked ,"])
async def test_a_body_in_chunks_is_read(coding):
    assert await read_body(receiver(piece(b"x", more=False)), [(b"transfer-encoding", coding)]) == b"x"


@pytest.mark.parametrize("pieces", [[101], [100, 1], [50, 50, 50]])
async def test_a_body_is_counted_while_it_is_read(pieces):
    messages = [piece(b"x" * size, more=number < len(pieces) - 1) for number, size in enumerate(pieces)]
    with pytest.raises(ProblemError) as error:
        await read_body(receiver(*messages), [], limit=100)
    assert error.value.problem.status == 413


async def test_exactly_the_limit_is_allowed():
    messages = [piece(b"x" * 60, more=True), piece(b"x" * 40, more=False)]
    assert len(await read_body(receiver(*messages), [(b"content-length", b"100")], limit=100)) == 100


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("before", [[], [piece(b"x", more=True)]])
async def test_a_client_that_leaves(before, late):
    with pytest.raises(ClientLeftError):
        await read_body(receiver(*before, GONE, late=late), [])


@pytest.mark.parametrize("before", [[], [piece(b"x", more=True)]])
async def test_a_body_that_does_not_come(before):
    with pytest.raises(ProblemError) as error:
        await read_body(receiver(*before), [], seconds=0.02)
    assert error.value.problem.status == 408


async def test_a_cancelled_read_cancels_what_it_waits_for():
    ended = False

    async def receive():
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    task = asyncio.create_task(read_body(receive, []))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_an_error_while_waiting_is_raised():
    async def receive():
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await read_body(receive, [])


async def test_compressed_bodies_are_refused():
    with pytest.raises(ProblemError) as error:
        await read_body(receiver(), [(b"content-encoding", b"gzip")])
    assert error.value.problem.status == 415


@pytest.mark.parametrize("end", [GONE, piece(b"", more=False)])
async def test_the_drain_reads_to_the_end(end):
    receive = receiver(piece(b"x" * 1000, more=True), end, piece(b"never", more=True))
    await drain(receive)
    assert len(receive.left) == 1


async def test_the_drain_is_bounded(monkeypatch):
    monkeypatch.setattr("penstock_edge.bodies.DRAIN_BYTES", 2000)
    receive = receiver(*[piece(b"x" * 1000, more=True)] * 5)
    await drain(receive)
    assert len(receive.left) == 3
    monkeypatch.setattr("penstock_edge.bodies.DRAIN_SECONDS", 0.02)
    await drain(receiver())
