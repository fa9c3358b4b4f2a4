"""Which writes wait for the end of the loop's turn, and that nothing of them is lost or leaves out of order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import attempts
from penstock_edge.corking import AT_ONCE, CLOSE_SECONDS, MOST_BYTES, MOST_WRITES, Cork, CorkedTransport
from penstock_edge.upstream import UpstreamClient

SOON = CLOSE_SECONDS / 2
LATE = CLOSE_SECONDS * 2


class Loop:
    """What is left for the turn's end, and a clock."""

    def __init__(self):
        self.now = 100.0
        self.due = []

    def call_soon(self, callback):
        self.due.append(callback)

    def clock(self):
        return self.now

    def turn(self):
        due, self.due = self.due, []
        for callback in due:
            callback()


class Beneath:
    """A transport that keeps what is written."""

    def __init__(self, writes):
        self.writes = writes
        self.ended = ""
        self.broken = False

    def write(self, data):
        if self.broken:
            raise RuntimeError("closed")
        assert not self.ended
        self.writes.append((self, data))

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def is_closing(self):
        return bool(self.ended)

    def close(self):
        self.ended = self.ended or "closed"

    def abort(self):
        self.ended = "aborted"

    def get_write_buffer_size(self):
        return 5


class Desk:
    """Some transports with one cork."""

    def __init__(self, count=3):
        self.loop = Loop()
        self.writes = []
        self.cork = Cork(self.loop, self.loop.clock)
        self.beneath = [Beneath(self.writes) for _ in range(count)]
        self.transports = [CorkedTransport(each, self.cork) for each in self.beneath]

    def write(self, number, data, after=SOON):
        self.loop.now += after
        self.transports[number].write(data)

    @property
    def written(self):
        return [(self.beneath.index(each), data) for each, data in self.writes]


@pytest.fixture
def desk():
    return Desk()


def test_a_write_that_follows_nothing_goes_at_once(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b", LATE)
    assert desk.written == [(0, b"a"), (1, b"b")]
    assert not desk.loop.due


def test_writes_that_follow_closely_go_at_the_turns_end_in_their_order(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.write(2, b"c", LATE)
    desk.write(1, b"d")
    assert desk.written == [(0, b"a")]
    desk.loop.turn()
    assert desk.written == [(0, b"a"), (1, b"bd"), (2, b"c")]


def test_after_one_that_waited_alone_some_go_at_once(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.loop.turn()
    for number in range(AT_ONCE):
        desk.write(2, b"%d" % number, 0)
    assert len(desk.written) == 2 + AT_ONCE
    desk.write(2, b"x", 0)
    assert len(desk.written) == 2 + AT_ONCE


def test_after_several_that_waited_the_next_wait_too(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.write(2, b"c")
    desk.loop.turn()
    desk.write(0, b"d")
    assert desk.written == [(0, b"a"), (1, b"b"), (2, b"c")]
    desk.loop.turn()
    assert desk.written[-1] == (0, b"d")


def test_what_waits_is_written_before_work_that_takes_long(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.write(2, b"c")
    desk.transports[0].release()
    assert desk.written == [(0, b"a"), (1, b"b"), (2, b"c")]
    desk.loop.turn()
    assert len(desk.written) == 3


def test_no_more_than_a_bound_waits_on_one_connection(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b" * MOST_BYTES)
    assert desk.written == [(0, b"a")]
    desk.write(1, b"c")
    assert desk.written == [(0, b"a"), (1, b"b" * MOST_BYTES + b"c")]
    desk.write(1, b"d")
    desk.loop.turn()
    assert desk.written[-1] == (1, b"d")


def test_no_more_than_a_bound_waits_in_one_turn():
    desk = Desk(MOST_WRITES + 2)
    desk.write(0, b"a", LATE)
    for number in range(1, MOST_WRITES + 1):
        desk.write(number, b"b")
    assert desk.written == [(0, b"a")]
    desk.write(MOST_WRITES + 1, b"c")
    assert desk.written[1:] == [(number, b"b") for number in range(1, MOST_WRITES + 1)]
    desk.loop.turn()
    assert desk.written[-1] == (MOST_WRITES + 1, b"c")
    assert not desk.loop.due


def test_much_goes_at_once_after_what_waits(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.transports[1].writelines([b"c", b"d"])
    assert desk.written == [(0, b"a"), (1, b"b"), (1, b"cd")]


def test_closing_writes_what_waits_first(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.transports[1].close()
    assert desk.written == [(0, b"a"), (1, b"b")]
    assert desk.beneath[1].ended == "closed"
    desk.loop.turn()
    assert len(desk.written) == 2


def test_aborting_drops_what_waits(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.transports[1].abort()
    desk.loop.turn()
    assert desk.written == [(0, b"a")]
    assert desk.beneath[1].ended == "aborted"


def test_a_peer_that_has_left_is_written_nothing(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.write(2, b"c")
    desk.beneath[1].ended = "lost"
    desk.loop.turn()
    assert desk.written == [(0, b"a"), (2, b"c")]


def test_one_that_cannot_be_written_to_holds_up_no_other(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"b")
    desk.write(2, b"c")
    desk.beneath[1].broken = True
    desk.loop.turn()
    assert desk.written == [(0, b"a"), (2, b"c")]
    assert desk.beneath[1].ended == "aborted"


def test_what_never_went_out_stays_counted(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"bc")
    desk.write(2, b"def")
    desk.transports[1].abort()
    desk.beneath[2].ended = "lost"
    desk.loop.turn()
    assert [each.held for each in desk.transports] == [0, 2, 3]


def test_what_waits_counts_as_not_written(desk):
    desk.write(0, b"a", LATE)
    desk.write(1, b"bcd")
    assert desk.transports[1].get_write_buffer_size() == 3 + 5
    desk.loop.turn()
    assert desk.transports[1].get_write_buffer_size() == 5


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.integers(0, 3), st.binary(min_size=1, max_size=4), st.sampled_from([SOON, LATE])
        ),
        st.tuples(st.just("lines"), st.integers(0, 3), st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("turn")),
        st.tuples(st.just("release")),
    ),
    max_size=60,
)


@given(STEPS)
def test_each_peer_gets_all_of_its_bytes_in_order(steps):
    desk, sent = Desk(4), [b""] * 4
    for kind, *what in steps:
        if kind == "write":
            desk.write(*what)
        elif kind == "lines":
            desk.transports[what[0]].writelines([what[1]])
        elif kind == "turn":
            desk.loop.turn()
        else:
            desk.cork.release()
        if kind in ("write", "lines"):
            sent[what[0]] += what[1]
    desk.loop.turn()
    got = [b"".join(data for each, data in desk.written if each == number) for number in range(4)]
    assert got == sent


class Echo(asyncio.Protocol):
    """Answers through a corked transport, and closes."""

    def __init__(self, cork):
        self.cork = cork

    def connection_made(self, transport):
        self.transport = CorkedTransport(transport, self.cork)

    def data_received(self, data):
        self.transport.write(data)
        self.transport.write(b"!")
        self.transport.close()


async def test_over_sockets_answers_are_whole_though_connections_close_behind_them():
    loop = asyncio.get_running_loop()
    cork = Cork(loop)
    server = await loop.create_server(lambda: Echo(cork), "127.0.0.1", 0)

    async def ask(number):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"%d" % number)
        answer = await reader.read()
        writer.close()
        return answer

    async with server, asyncio.timeout(20):
        assert await asyncio.gather(*(ask(number) for number in range(50))) == [b"%d!" % each for each in range(50)]


@pytest.mark.parametrize("size", [1_000, 100_000])
async def test_before_a_large_answer_is_read_what_waits_for_other_peers_goes_out(gateway, play, monkeypatch, size):
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": "a" * size}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    edge = await gateway([play.answer(body=body)])
    steps = []
    real = attempts.read_whole

    def read(attempt, body):
        steps.append("read")
        return real(attempt, body)

    monkeypatch.setattr(attempts, "read_whole", read)
    monkeypatch.setattr(UpstreamClient, "release", lambda _: steps.append("release"))
    assert (await edge.post()).status_code == 200
    assert steps == (["release", "read"] if size > 64 * 1024 else ["read"])
