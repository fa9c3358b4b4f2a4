"""Names, several addresses, and the guard over what is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge.upstream import AddressRefusedError, ConnectError, DeadlineError
from penstock_edge.upstream.racing import race
from penstock_edge.upstream.resolver import interleaved
from tests.unit.edge.upstream.servers import OK, QUICK, Server, ask, at, fetch, names, request, says


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        ([], []),
        (["1.1.1.1"], ["1.1.1.1"]),
        (["::1", "::2", "1.1.1.1", "1.1.1.2"], ["::1", "1.1.1.1", "::2", "1.1.1.2"]),
        (["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1"], ["1.1.1.1", "::1", "1.1.1.2", "1.1.1.3"]),
        (["1.1.1.1", "1.1.1.1", "::1", "::1"], ["1.1.1.1", "::1"]),
    ],
)
def test_families_take_turns(found, tried):
    assert interleaved(found) == tried


@given(st.lists(st.ip_addresses().map(str), max_size=12))
def test_every_address_is_tried_once_in_the_systems_order_within_its_family(found):
    tried = interleaved(found)
    assert sorted(tried) == sorted(set(found))
    for family in (4, 6):
        ours = [address for address in tried if ipaddress.ip_address(address).version == family]
        assert ours == [a for a in dict.fromkeys(found) if ipaddress.ip_address(a).version == family]
    assert tried[:1] == found[:1]


async def test_an_address_of_the_new_kind(client):
    async with Server(says(OK), host="::1") as server:
        assert (await fetch(client, server))[1] == b"hello"
        assert server.target.host_header == f"[::1]:{server.port}".encode()


async def test_a_name_with_both_kinds_of_addresses(client):
    names(client, {"api.example": ["::1", "127.0.0.1"]})
    async with Server(says(OK)) as server:
        # Nobody listens on ::1 at this port.
        assert (await ask(client, at("api.example", server)))[0] == 200


async def test_the_next_address_follows_a_refusal_at_once(client, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.racing._HEAD_START_SECONDS", 30.0)
    names(client, {"api.example": ["127.0.0.2", "127.0.0.3", "127.0.0.1"]})
    async with Server(says(OK)) as server:
        assert (await ask(client, at("api.example", server)))[0] == 200


@contextlib.contextmanager
def hanging(host, port=0):
    """An address where TCP connects hang: its queue is full."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def test_the_next_address_gets_its_chance_while_the_first_hangs(client, monkeypatch):
    names(client, {"api.example": ["127.0.0.2", "127.0.0.1"]})
    async with Server(says(OK)) as server:
        with hanging("127.0.0.2", server.port):
            target = at("api.example", server)
            began = time.monotonic()
            assert (await ask(client, target))[0] == 200
            assert time.monotonic() - began >= 0.2
            # And the one that answered is tried first from then on.
            monkeypatch.setattr("penstock_edge.upstream.racing._HEAD_START_SECONDS", 30.0)
            call = await client.send(target, request(), QUICK)
            assert (await ask(client, target))[0] == 200
            assert server.connections == 2
            call.abort()


async def test_a_race_leaves_no_socket_behind(monkeypatch):
    made = []
    real = socket.socket

    class Counted(real):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    async with Server(says(OK)) as server:
        with hanging("127.0.0.2", server.port), hanging("127.0.0.3", server.port):
            monkeypatch.setattr("penstock_edge.upstream.racing.socket.socket", Counted)
            monkeypatch.setattr("penstock_edge.upstream.racing._HEAD_START_SECONDS", 0.02)
            loop = asyncio.get_running_loop()
            addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"]
            won, address = await race(loop, addresses, server.port, lambda _: None)
            monkeypatch.undo()
            await asyncio.sleep(0.01)
            assert address == "127.0.0.1"
            assert [each.fileno() for each in made if each is not won] == [-1, -1, -1]
            won.close()


async def test_when_all_fail_the_last_reason_is_told(client):
    names(client, {"api.example": ["127.0.0.2", "127.0.0.3"]})
    async with Server(says(OK)) as server:
        with pytest.raises(ConnectError, match="ECONNREFUSED"):
            await ask(client, at("api.example", server))
    assert client.open_connections() == 0


async def test_when_all_hang_the_deadline_ends_it(client):
    names(client, {"api.example": ["127.0.0.2", "127.0.0.3"]})
    async with Server(says(OK)) as server:
        with hanging("127.0.0.2", server.port), hanging("127.0.0.3", server.port):
            began = time.monotonic()
            with pytest.raises(DeadlineError) as error:
                await ask(client, at("api.example", server), QUICK._replace(connect=0.4))
            assert error.value.phase == "connect"
            assert time.monotonic() - began < 1.9


# The guard


async def test_every_address_is_looked_at_in_the_moment_it_is_connected_to():
    looked_at = []
    async with Server(says(OK)) as server:
        loop = asyncio.get_running_loop()
        won, _ = await race(loop, ["127.0.0.2", "127.0.0.1", "127.0.0.3"], server.port, looked_at.append)
        won.close()
    assert looked_at == ["127.0.0.2", "127.0.0.1"]


async def test_a_name_that_moves_inside_is_refused(client, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.resolver._FRESH_SECONDS", 0.0)
    monkeypatch.setattr("penstock_edge.upstream.dialing.is_public", lambda address: address == "127.0.0.1")
    table = {"api.example": ["127.0.0.1"]}
    names(client, table)
    async with Server(says(OK)) as server:
        target = at("api.example", server, allow_private=False)
        target = target._replace(origin=target.origin._replace(scheme="https"))
        with pytest.raises(DeadlineError, match="tls"):
            # Connected to, though TLS goes nowhere with this server.
            await ask(client, target, QUICK._replace(connect=0.1))
        assert server.connections == 1
        for moved in (["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]):
            table["api.example"] = moved
            with pytest.raises(AddressRefusedError):
                await ask(client, target)
        assert server.connections == 1
    assert client.open_connections() == 0


# Names


async def test_a_name_that_moved_is_followed_by_new_connections(client, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.resolver._FRESH_SECONDS", 0.05)
    table = {"api.example": ["127.0.0.1"]}
    names(client, table)
    async with Server(says(OK)) as old:
        target = at("api.example", old)
        await ask(client, target)
        listener = socket.create_server(("127.0.0.2", old.port))
        table["api.example"] = ["127.0.0.2"]
        await asyncio.sleep(0.1)
        held = await client.send(target, request(), QUICK)  # on the kept connection
        call = await client.send(target, request(), QUICK)
        listener.accept()[0].close()
        assert (old.connections, len(old.requests)) == (1, 2)
        for each in (held, call):
            each.abort()
        listener.close()


async def test_a_name_is_asked_for_once_at_a_time_and_kept_for_a_while(client):
    async def slow():
        await asyncio.sleep(0.05)
        return ["127.0.0.1"]

    asked = names(client, {"api.example": slow})
    async with Server(says(OK)) as server:
        target = at("api.example", server)
        answers = await asyncio.gather(*(ask(client, target) for _ in range(4)))
    assert [status for status, _ in answers] == [200] * 4
    assert asked == ["api.example"]


async def test_who_leaves_does_not_end_the_question_of_others(client):
    async def slow():
        await asyncio.sleep(0.1)
        return ["127.0.0.1"]

    asked = names(client, {"api.example": slow})
    async with Server(says(OK)) as server:
        target = at("api.example", server)
        first = asyncio.create_task(ask(client, target))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(ask(client, target))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second)[0] == 200
    assert asked == ["api.example"]


async def test_a_question_without_an_answer_ends_at_the_deadline(client):
    names(client, {"api.example": lambda: asyncio.sleep(60)})
    async with Server(says(OK)) as server:
        began = time.monotonic()
        with pytest.raises(DeadlineError) as error:
            await ask(client, at("api.example", server), QUICK._replace(connect=0.1))
        assert (error.value.phase, error.value.sent) == ("resolve", False)
        assert time.monotonic() - began < 1.9


@pytest.mark.parametrize("trouble", ["fails", "hangs"])
async def test_when_names_fail_known_upstreams_stay_reachable(client, monkeypatch, trouble):
    monkeypatch.setattr("penstock_edge.upstream.resolver._FRESH_SECONDS", 0.0)
    monkeypatch.setattr("penstock_edge.upstream.resolver._PATIENCE_SECONDS", 0.05)
    table = {"api.example": ["127.0.0.1"]}
    names(client, table)
    async with Server(says(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))) as server:
        target = at("api.example", server)
        await ask(client, target)
        table["api.example"] = OSError("no") if trouble == "fails" else lambda: asyncio.sleep(60)
        assert (await ask(client, target))[0] == 200
        # But not for ever.
        monkeypatch.setattr("penstock_edge.upstream.resolver._STALE_SECONDS", 0.0)
        with pytest.raises((ConnectError, DeadlineError)):
            await ask(client, target, QUICK._replace(connect=0.1))


async def test_answers_that_are_old_are_dropped(client, monkeypatch):
    monkeypatch.setattr("penstock_edge.upstream.resolver._STALE_SECONDS", 0.0)
    monkeypatch.setattr("penstock_edge.upstream.client._SWEEP_SECONDS", 0.02)
    names(client, {"api.example": ["127.0.0.1"]})
    async with Server(says(OK)) as server:
        await ask(client, at("api.example", server))
        await asyncio.sleep(0.1)
    assert client._resolver._known == {}
